"""What repeated data are worth in a study, which runs say nothing of it, and where data run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.effective_data import (
    PUBLISHED_R_STAR,
    as_fresh,
    common_units,
    effective_units,
    fresh_curves,
    repeating,
)
from flops_fit.laws.data.table import Exclusion, RunTable
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.solver.newton import minimise_rows
from flops_fit.laws.solver.objectives import HuberLog
from flops_fit.laws.solver.search import search_surface
from flops_fit.laws.solver.terms import SurfaceData

Array = NDArray[np.float64]

MAX_REPEATS = PUBLISHED_R_STAR
"""Repetitions up to which a run is used. Beyond, a unit is worth less than exp(-1) of a fresh one,
and losses rise again in runs of Muennighoff et al., which no effective data can describe."""

MAX_RISE = 0.01
"""Share of L by which a run may lie above one of the same N and U with fewer epochs: seeds differ
by less."""

SPREAD = 1.0
"""Standard deviation of log R* around the published value before any run is seen: data other than
its web text may be worth repeating 2.7 times as often, or as rarely."""

REACH = 3.0
"""R* is searched within a factor e^3 = 20 of the published value."""

N_TRIED = 9
"""Values of log R* that are searched anew; between them the best surface is followed."""

N_SECTIONS = 24
"""Golden sections: they narrow two steps of these values to 1e-5 in log R*."""

ROUNDING = 1e-9
"""Residuals of log L below this are rounding."""

TOLD_APART = 3.84
"""Deviance, chi-square with one degree of freedom at 5%, by which both ends of the search must be
worse for the runs to determine R*."""


class AnyPrediction(Protocol):
    """An optimum that is predicted, of the answer or of an approach."""

    C: float
    D_opt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """A study's runs as they were made, and as the runs on fresh data that they equal."""

    spent: RunTable
    fresh: RunTable
    R_star: float = PUBLISHED_R_STAR
    excluded: tuple[Exclusion, ...] = ()
    judgements: tuple[Judgement, ...] = ()

    def curves(self, curves: Mapping[str, ArrayLike] | None) -> Mapping[str, ArrayLike] | None:
        """Return training curves in effective units, see `fresh_curves`."""
        return fresh_curves(curves, self.spent, self.R_star)

    def judged(self, predictions: Iterable[AnyPrediction]) -> list[Judgement]:
        """Return the judgements of the data, with that of predictions that need more of them."""
        return [*self.judgements, *judge_data_end(self.spent, predictions)]


def count_as_fresh(runs: RunTable, *, planned: bool) -> Repeats:
    """Set aside runs that repeat too much, find R*, and replace the others by runs on fresh data.

    Parameters
    ----------
    runs : RunTable
        Completed runs. Without repeats they stay exactly as they are.
    planned : bool
        Whether the runs named their budgets, see `as_fresh`.
    """
    n_all = int(repeating(runs).sum())
    if not n_all:
        return Repeats(spent=runs, fresh=runs)
    most, of = float(runs.epochs[repeating(runs)].max()), len(runs)
    reasons = _beyond_the_form(runs)
    excluded = tuple(Exclusion(id=runs.id[i], reason=reasons[i]) for i in sorted(reasons))
    keep = np.ones(len(runs), dtype=bool)
    keep[list(reasons)] = False
    kept = runs.take(keep)
    R_star, identified = find_R_star(kept)
    judgements = [
        judge(
            "repeated_data",
            n=n_all,
            of=of,
            most=most,
            R_star=R_star,
            identified=identified,
            published=PUBLISHED_R_STAR,
        )
    ]
    if excluded:
        values = {"n": len(excluded), "of": of, "limit": 1 + MAX_REPEATS}
        judgements.append(judge("repeats_set_aside", **values))
    return Repeats(
        spent=kept,
        fresh=as_fresh(kept, R_star, planned=planned),
        R_star=R_star,
        excluded=excluded,
        judgements=tuple(judgements),
    )


def _beyond_the_form(runs: RunTable) -> dict[int, str]:
    """Return why runs are set aside, by their rows."""
    repeats = repeating(runs)
    reasons = {}
    for i in np.flatnonzero(repeats):
        if runs.epochs[i] - 1 > MAX_REPEATS:
            reasons[int(i)] = (
                f"repeats its data {runs.epochs[i]:.4g} times, more than effective data describe "
                f"({1 + MAX_REPEATS:.3g})"
            )
            continue
        same = (runs.N == runs.N[i]) & np.isclose(runs.unique, runs.unique[i], rtol=1e-3)
        fewer = same & (runs.epochs < runs.epochs[i])
        if fewer.any() and runs.L[i] > runs.L[fewer].min() + MAX_RISE * abs(runs.L[fewer].min()):
            reasons[int(i)] = (
                f"its loss has risen again after {runs.epochs[i]:.4g} epochs, which effective data "
                "do not describe"
            )
    return reasons


def find_R_star(runs: RunTable) -> tuple[float, bool]:
    """Return R* of the runs, and whether they determine it; else it rests on the published value.

    R* minimises n log(objective) of the best surface in effective data (the deviance of n normal
    errors) plus (log R* - log 15.4)^2 / SPREAD^2: a compromise that moves smoothly from the
    published value to that of the runs, the more they say. Later fits take R* as known.
    """
    cells = np.unique(np.stack([runs.N, runs.D, runs.unique]), axis=1).shape[1] if len(runs) else 0
    if cells < 7 or np.unique(runs.N).size < 3 or runs.L.min() <= 0 or not repeating(runs).any():
        return PUBLISHED_R_STAR, False
    x = np.linspace(-REACH, REACH, N_TRIED)
    surfaces, values = zip(*(_searched(runs, at) for at in x), strict=True)
    deviance = _deviance(runs, np.array(values))
    best = int(np.argmin(deviance + (x / SPREAD) ** 2))
    rows = np.stack([surface.to_row() for surface in surfaces])
    low, high = x[max(best - 1, 0)], x[min(best + 1, N_TRIED - 1)]
    start = rows[best : best + 1]

    def trial(at: float) -> float:
        return float(_deviance(runs, _followed(runs, at, start)) + (at / SPREAD) ** 2)

    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = trial(left), trial(right)
    for _ in range(N_SECTIONS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = trial(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = trial(right)
    found = (low + high) / 2
    least = min(float(deviance.min()), float(_deviance(runs, _followed(runs, found, start))))
    identified = min(deviance[0], deviance[-1]) - least > TOLD_APART
    return float(PUBLISHED_R_STAR * np.exp(found)), bool(identified)


def _effective(runs: RunTable, at: float) -> Array:
    return effective_units(runs.D, runs.unique, PUBLISHED_R_STAR * np.exp(at))


def _searched(runs: RunTable, at: float) -> tuple[Surface, float]:
    return search_surface(runs.N, _effective(runs, at), runs.L, HuberLog())


def _followed(runs: RunTable, at: float, rows: Array) -> Array:
    """Return the objective of the best surface near given ones."""
    data = SurfaceData.of(runs.N, _effective(runs, at), runs.L)
    start = np.maximum(data.centred(rows), [data.lowest_log] * 3 + [-np.inf] * 2)
    return minimise_rows(start, data, HuberLog())[1].min()


def _deviance(runs: RunTable, objective: Array) -> Array:
    n = len(runs)
    return n * np.log(objective + n * ROUNDING**2)


def judge_data_end(runs: RunTable, predictions: Iterable[AnyPrediction]) -> list[Judgement]:
    """Say which predicted D_opt need more distinct units than the data that all runs share hold."""
    units = common_units(runs)
    if units is None:
        return []
    short = [(p.C, p.D_opt) for p in predictions if p.D_opt > units]
    if not short:
        return []
    most = max(D for _, D in short) / units
    return [judge("data_run_out", C=[C for C, _ in short], units=units, epochs=most)]
