"""Approach 1: the lower envelope of training curves (Hoffmann et al. 2022, section 3.1).

At each compute the run with the lowest loss shows the best size. Points along a curve can be
compared only if the training could have ended at any of them: under a schedule that decays towards
each run's own end, a run lags behind until it is over, so only the end points may be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.approach import Approach, ApproachOptions, Curves
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.grouping import MAX_SPAN
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.judgements import judge_laws
from flops_fit.laws.evidence.resampling import (
    Chunk,
    Resampler,
    Resampling,
    draw_run_counts,
)
from flops_fit.laws.forms.quantities import Draws, law_quantities
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.judgement.phrases import WHY_END_POINTS
from flops_fit.laws.optima import Laws, loss_law, optima_laws, shift_above_0
from flops_fit.laws.results import ApproachResult, Point

Array = NDArray[np.float64]

N_GRID = 500
"""Values of C at which the envelope is read, evenly spaced in log C."""

SMOOTHING = 0.05
"""Standard deviation in log D of the kernel that smooths a curve: 5% of the tokens so far."""

MIN_POINTS = 2
MIN_SIZES = 2
MIN_CURVES = 3


def fit_envelope(
    runs: RunTable, *, curves: Curves | None = None, decays: bool = True, E: float | None = None
) -> ApproachResult:
    """Fit approach 1.

    Parameters
    ----------
    runs : RunTable
        Completed runs at their best learning rates.
    curves : mapping of run id to rows [step, D, train_loss, lr], optional
        Training curves; runs without one do not enter.
    decays : bool
        Whether the learning rate decays towards each run's own end. Then, and without curves, the
        end points of the runs are used instead.
    E : float, optional
        The offset of L_opt; without it the offset is fitted.

    Returns
    -------
    ApproachResult
        `unsupported` if the envelope holds fewer than two points or sizes, or if most of its end
        points are the only size at their compute: with a single size there is nothing to compare.
    """
    known = _comparable_curves(runs, curves, decays)
    if known:
        points = _curve_points(runs, known)
        found = (
            f"the envelope of {len(known)} training curves passes through {len(points)} size(s) "
            "between the smallest and the largest"
        )
        note = judge("training_losses", n=len(known))
    else:
        points = _end_points(runs)
        why = "decaying_schedule" if decays and curves else "no_curves"
        found = (
            f"{WHY_END_POINTS[why]}, and the lower envelope of the runs' end points holds "
            f"{len(points)} point(s)"
        )
        note = judge("end_points_only", why=why)
    reason = _too_few(points, found) or (None if known else _not_compared(runs, points, found))
    if reason is not None:
        return ApproachResult(status="unsupported", reason=reason, points=points)
    try:
        laws = optima_laws(points)
    except ValueError as error:
        return ApproachResult(status="failed", reason=str(error).rstrip("."), points=points)
    return _finished(points, laws, [note], E)


def _too_few(points: Sequence[Point], found: str) -> str | None:
    """Say, following the text `found`, why these points give no law; None if they do."""
    if len({point.C for point in points}) < MIN_POINTS:
        return f"{found}, but a law needs {MIN_POINTS}"
    if len({point.N_opt for point in points}) < MIN_SIZES:
        return (
            f"{found}, all of one size (N = {points[0].N_opt:.4g}), which says nothing of how the "
            "best size grows"
        )
    return None


def _not_compared(runs: RunTable, points: Sequence[Point], found: str) -> str | None:
    """Say, following the text `found`, why end points are no optima; None if they may be.

    A run that no cheaper run beats is the best size at its C only where others were tried there: at
    its budget, or without one, a smaller and a larger size.
    """
    alone = sum(not _is_compared(runs, point) for point in points)
    if len(points) - alone >= max(MIN_POINTS, alone):
        return None
    return (
        f"{found}, of which {alone} have no smaller and larger size within 10% of their C, so that "
        "nothing says which size is the best there"
    )


def _is_compared(runs: RunTable, point: Point) -> bool:
    own = runs.profiled & (runs.C == point.C) & (runs.N == point.N_opt)
    if own.any():
        at_budget = runs.profiled & np.isin(runs.budget, runs.budget[own])
        return np.unique(runs.N[at_budget]).size >= MIN_SIZES
    N = runs.N[np.abs(np.log(runs.C / point.C)) <= np.log(MAX_SPAN) * (1 + 1e-9)]
    return bool(N.min() < point.N_opt < N.max())


@dataclass(frozen=True, kw_only=True)
class Envelope(Approach):
    """Approach 1; it resamples runs, with their curves."""

    def fit(self, runs: RunTable, flops: FlopsPerUnit, options: ApproachOptions) -> ApproachResult:
        """Fit it, see `fit_envelope`."""
        return fit_envelope(runs, curves=options.curves, decays=options.decays, E=options.E)

    def resampler(
        self,
        result: ApproachResult,
        runs: RunTable,
        flops: FlopsPerUnit,
        C: Array,
        options: ApproachOptions,
        resampling: Resampling,
    ) -> Resampler:
        """Draw laws through the envelopes of resampled runs."""
        shift = 0.0 if options.E is not None else shift_above_0([p.L_opt for p in result.points])

        def draw(chunks: Sequence[Chunk]) -> Draws:
            counts = draw_run_counts(runs, chunks, resampling)
            table = resampled_envelopes(runs, counts, curves=options.curves, decays=options.decays)
            mask = np.isfinite(table[..., 0])
            logs = np.log(np.where(mask[..., np.newaxis], table[..., :3], 1.0))
            L = np.where(mask, table[..., 3], 1.0)
            return law_quantities(
                *np.moveaxis(logs, -1, 0),
                L,
                mask,
                np.log(C),
                flops,
                offset=options.E,
                shift=shift,
            )

        return Resampler(draw=draw, what=resampling.rows(runs))


ENVELOPE = Envelope(
    name="1",
    called="approach 1",
    does="training-curve envelope",
    colour="#D55E00",
    marker="s",
    rank=3,
)


def _comparable_curves(runs: RunTable, curves: Curves | None, decays: bool) -> dict[str, ArrayLike]:
    if curves is None or decays:
        return {}
    known = {name: curves[name] for name in runs.id if name in curves}
    return known if len(known) >= MIN_CURVES else {}


def resampled_envelopes(
    runs: RunTable, counts: Array, *, curves: Curves | None = None, decays: bool = True
) -> Array:
    """Return C, N, D, L of the points that `fit_envelope` finds in each resample.

    Parameters
    ----------
    counts : ndarray, shape (n_rows, n_runs)
        How often each resample holds each run.

    Returns
    -------
    ndarray, shape (n_rows, most points, 4)
        Rows with fewer points end in NaN.
    """
    found = []
    if _comparable_curves(runs, curves, decays):
        for row in counts:
            own = runs.take(np.flatnonzero(row))
            known = _comparable_curves(own, curves, decays)
            points = _curve_points(own, known) if known else _end_points(own)
            found.append(np.array([(p.C, p.N_opt, p.D_opt, p.L_opt) for p in points]))
    else:
        columns = np.stack([runs.C, runs.N, runs.D, runs.L], axis=-1)
        found = [columns[front] for front in _fronts(_envelope_C(runs), runs.L, counts > 0)]
    table = np.full((len(counts), max(len(rows) for rows in found), 4), np.nan)
    for i, rows in enumerate(found):
        if len(rows):
            table[i, : len(rows)] = rows
    return table


def smooth_curve(D: ArrayLike, L: ArrayLike) -> Array:
    """Return the losses of a curve, smoothed by a Gaussian kernel in log D of width `SMOOTHING`.

    A local line, not a local mean: a mean would lift the falling curve at its end.
    """
    x, y = np.log(np.asarray(D, dtype=float)), np.asarray(L, dtype=float)
    weights = np.exp(-0.5 * ((x[:, np.newaxis] - x) / SMOOTHING) ** 2)
    total = weights.sum(-1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    dx = x - mean_x[:, np.newaxis]
    spread = (weights * dx**2).sum(-1)
    slope = (weights * dx * (y - mean_y[:, np.newaxis])).sum(-1)
    slope = np.divide(slope, spread, out=np.zeros_like(slope), where=spread > 1e-12)
    return mean_y + slope * (x - mean_x)


def _curve_points(runs: RunTable, curves: Mapping[str, ArrayLike]) -> tuple[Point, ...]:
    """Return the middle of the range of C in which each inner size is the best."""
    rows = [i for i, name in enumerate(runs.id) if name in curves]
    log_C, losses = [], []
    for i in rows:
        curve = np.asarray(curves[runs.id[i]], dtype=float)
        curve = curve[np.isfinite(curve[:, 2]) & (curve[:, 1] > 0)]
        # FLOPs are spent evenly over the units of a run
        log_C.append(np.log(runs.C[i] * curve[:, 1] / runs.D[i]))
        losses.append(smooth_curve(curve[:, 1], curve[:, 2]))
    # Where at least two runs can be compared
    starts, ends = sorted(c[0] for c in log_C), sorted(c[-1] for c in log_C)
    grid = np.linspace(starts[1], ends[-2], N_GRID)
    table = np.array(
        [
            np.interp(grid, c, y, left=np.inf, right=np.inf)
            for c, y in zip(log_C, losses, strict=True)
        ]
    )
    best = np.argmin(table, axis=0)
    N, C = runs.N[rows][best], np.exp(grid)
    L = table[best, np.arange(N_GRID)]
    D = runs.D[rows][best] * C / runs.C[rows][best]
    # The smallest and the largest size win wherever better ones were not tried
    inner = (runs.N[rows].min() < N) & (runs.N[rows].max() > N) & np.isfinite(L)
    # A range that the grid cuts off is not centred on its size's optimum
    inner &= (N != N[0]) & (N != N[-1])
    sizes = np.unique(N[inner])
    return tuple(
        Point(
            C=float(np.exp(grid[inner & (N == size)].mean())),
            N_opt=float(size),
            D_opt=float(np.exp(np.log(D[inner & (N == size)]).mean())),
            L_opt=float(L[inner & (N == size)].mean()),
            at_edge=False,
            n=int((runs.N[rows] == size).sum()),
        )
        for size in sizes
    )


def _end_points(runs: RunTable) -> tuple[Point, ...]:
    """Return the runs that no cheaper run beats, at most one per budget."""
    grouped = runs.profiled.any()
    (front,) = _fronts(_envelope_C(runs), runs.L, np.ones((1, len(runs)), dtype=bool))
    points = []
    for i in front:
        own = runs.N[runs.budget == runs.budget[i]] if grouped else runs.N
        points.append(
            Point(
                C=float(runs.C[i]),
                N_opt=float(runs.N[i]),
                D_opt=float(runs.D[i]),
                L_opt=float(runs.L[i]),
                at_edge=bool(runs.N[i] in (own.min(), own.max())),
                n=int(own.size),
            )
        )
    return tuple(points)


def _envelope_C(runs: RunTable) -> Array:
    return np.where(runs.profiled, runs.budget, runs.C)


def _fronts(C: Array, L: Array, present: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return, for each row of `present`, its runs that none of at most the same C beats."""
    order = np.lexsort((L, C))
    losses = np.where(present[:, order], L[order], np.inf)
    lowest = np.minimum.accumulate(losses, axis=1)
    # Sorted by C and then L, at most one run of each C is lower than all before it
    leads = losses < np.column_stack([np.full(len(losses), np.inf), lowest[:, :-1]])
    return [order[np.flatnonzero(row)] for row in leads]


def _finished(
    points: tuple[Point, ...], laws: Laws, judgements: list[Judgement], E: float | None
) -> ApproachResult:
    laws["L_opt"], notes = loss_law(points, E)
    judgements += notes
    edge = [point.C for point in points if point.at_edge]
    if edge:
        judgements.append(judge("best_run_at_edge", C=edge))
    judgements += judge_laws(laws["N_opt"], laws["D_opt"], points)
    return ApproachResult(status="ok", points=points, judgements=tuple(judgements), **laws)
