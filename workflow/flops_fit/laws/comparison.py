"""Which of two studies is better at which compute, by how much compute, and where they cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.reading import FittedLaws
from flops_fit.laws.readouts.landscape import Landscape, shuffled_rows
from flops_fit.laws.readouts.optimum import log_C_for_loss
from flops_fit.laws.readouts.summary import Estimate, summarised

Array = NDArray[np.float64]

FURTHER = 1000.0
"""Crossings are sought up to this many times beyond the measured budgets, on both sides."""

N_GRID = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two studies at the same compute; `difference` is L_opt of the first minus the second."""

    C: Array
    L: tuple[Array, Array]
    difference: Array
    interval: tuple[Array, Array] | None
    """Of the difference, at the level of the fits; None without draws of both."""
    gain: tuple[Estimate | None, ...]
    """At each C, the multiple of C that the worse study needs for the loss of the better one:
    infinite if no compute below 1e30 FLOPs suffices. An interval that reaches below 1 says that
    the better one may be the worse."""
    crossing: float | None
    """FLOPs at which the two are equally good, the one nearest to the measured budgets."""
    crossing_interval: tuple[float, float] | None
    """Of the crossing, over the resamples that have one."""
    share_crossing: float | None
    """Share of resamples that cross at all."""


def compare(first: FittedLaws, second: FittedLaws, C: Array) -> Comparison:
    """Compare two studies' L_opt at each `C` (FLOPs); both in the same unit of loss.

    The studies are independent, so their draws must be, too. Two studies of the same design and
    seed resample the same rows, draw by draw, so the second study's draws are put into a random
    order (the same every time). The draws are those behind each study's own intervals, so that the
    intervals of the difference, of the gain and of the crossing agree with them.

    Raises
    ------
    UserError
        If a fit has no law of the loss, or their losses are stated in different units.
    """
    units = (first.loss_unit, second.loss_unit)
    if None not in units and units[0] != units[1]:
        raise UserError(
            f"The losses of {first.study} are in {units[0]}, those of {second.study} in "
            f"{units[1]}: they cannot be compared; runs_table.loss_unit states a table's unit."
        )
    budgets = [first.budgets, second.budgets]
    low, high = min(b[0] for b in budgets) / FURTHER, max(b[1] for b in budgets) * FURTHER
    grid = np.exp(np.linspace(np.log(low), np.log(high), N_GRID))
    middle = float(np.mean([np.log(b) for b in budgets]))
    found = [laws.losses(np.concatenate([C, grid])) for laws in (first, second)]
    for laws, (estimate, _) in zip((first, second), found, strict=True):
        if not np.all(np.isfinite(estimate)):
            raise UserError(f"The fit of {laws.study} has no law of the loss to compare.")
    (one, draws_1), (two, draws_2) = found
    gap = one - two
    crossing = _crossing(np.log(grid), gap[C.size :], middle)
    n = min(len(draws_1), len(draws_2))
    interval = crossing_interval = share = None
    if n:
        gaps = draws_1[:n] - draws_2[shuffled_rows(len(draws_2))[:n]]
        level = min(first.level, second.level)
        tails = ((1 - level) / 2, (1 + level) / 2)
        bounds = np.nanquantile(gaps[:, : C.size], tails, axis=0)
        interval = (bounds[0], bounds[1])
        places = [_crossing(np.log(grid), row, middle) for row in gaps[:, C.size :]]
        there = np.array([place for place in places if place is not None])
        share = there.size / n
        if there.size:
            ends = np.exp(np.quantile(np.log(there), tails))
            crossing_interval = (float(ends[0]), float(ends[1]))
    return Comparison(
        C=C,
        L=(one[: C.size], two[: C.size]),
        difference=gap[: C.size],
        interval=interval,
        gain=tuple(_gain(first, second, c, one[i], two[i]) for i, c in enumerate(C)),
        crossing=crossing,
        crossing_interval=crossing_interval,
        share_crossing=share,
    )


def _gain(
    first: FittedLaws, second: FittedLaws, C: float, L_first: float, L_second: float
) -> Estimate | None:
    """Return the multiple of C that the worse study needs for the loss of the better one.

    L_first and L_second are the estimates, which say which one is better.
    """
    worse, better = (second, first) if L_first <= L_second else (first, second)
    level = min(first.level, second.level)
    log_C = float(np.log(C))
    estimate = None
    if worse.estimate is not None and better.estimate is not None:
        L = better.estimate.L_opt(np.array([log_C]))[:, 0]
        estimate = {"log gain": log_C_for_loss(worse.estimate, L, log_C) - log_C}
    if worse.draws is None or better.draws is None:
        if estimate is None:
            L = np.array([min(L_first, L_second)])
            middle = np.median(_log_C_for(worse.all_draws, L, log_C))
            estimate = {"log gain": np.array([middle - log_C])}
        return summarised({"log gain": np.empty(0)}, level=level, estimate=estimate)["gain"]
    found = _paired(worse.draws, better.draws, log_C, swapped=worse is first)
    return summarised({"log gain": found - log_C}, level=level, estimate=estimate)["gain"]


def _log_C_for(landscape: Landscape, L: Array, near: float) -> Array:
    n = len(landscape.L_opt(np.array([near])))
    return log_C_for_loss(landscape, np.broadcast_to(L, (n,)), near)


def _paired(worse: Landscape, better: Landscape, log_C: float, *, swapped: bool) -> Array:
    """Return the log C at which each draw of the worse has the loss of its draw of the better.

    Draw i of the first study is paired with draw order[i] of the second, see `compare`; `swapped`
    if the worse one is the first.
    """
    n = len(worse.L_opt(np.array([log_C])))
    L = better.L_opt(np.array([log_C]))[:, 0]
    order = shuffled_rows(len(L) if swapped else n)
    wanted = np.full(n, np.nan)
    both = min(n, len(L))
    if swapped:
        wanted[:both] = L[order[:both]]
    else:
        wanted[order[:both]] = L[:both]
    found = log_C_for_loss(worse, wanted, log_C)
    return found[~np.isnan(wanted)]


def _crossing(log_C: Array, gap: Array, middle: float) -> float | None:
    """Return where `gap` changes its sign, nearest to `middle`, by interpolation in log C."""
    changes = np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
    if not changes.size:
        return None
    share = gap[changes] / (gap[changes] - gap[changes + 1])
    places = log_C[changes] + share * (log_C[changes + 1] - log_C[changes])
    return float(np.exp(places[np.argmin(np.abs(places - middle))]))
