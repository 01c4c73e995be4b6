"""Which of two studies is better at which compute, and where they cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.reading import FittedLaws

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
    order (the same every time). The draws include each study's small-sample factor, so that the
    intervals of the difference and of the crossing agree with the study's own.

    Raises
    ------
    UserError
        If a fit has no law of the loss.
    """
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
        crossing=crossing,
        crossing_interval=crossing_interval,
        share_crossing=share,
    )


def shuffled_rows(n: int) -> NDArray[np.intp]:
    """Return the order in which a second study's draws are paired with the first's, shape (n,)."""
    return np.random.default_rng(0).permutation(n)


def _crossing(log_C: Array, gap: Array, middle: float) -> float | None:
    """Return where `gap` changes its sign, nearest to `middle`, by interpolation in log C."""
    changes = np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
    if not changes.size:
        return None
    share = gap[changes] / (gap[changes] - gap[changes + 1])
    places = log_C[changes] + share * (log_C[changes + 1] - log_C[changes])
    return float(np.exp(places[np.argmin(np.abs(places - middle))]))
