"""Budgets for a table without any: groups of runs that spent nearly the same compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_SPAN = 1.10
"""Largest ratio of C within a group: over 10% the loss hardly changes, and the change is fitted."""

MIN_SIZES = 4
"""Distinct N of a group: a parabola and one run that tests it."""

MIN_GROUPS = 2

MIN_GROUPED = 1 / 3
"""Share of the runs that stand in groups from which these are budgets. All runs of an IsoFLOP sweep
do; in a grid of N and D a few meet at one C by chance, with sizes on one side of their optimum."""

MIN_STRATA = 2
"""A law of the optima needs two C at which a surface is read."""

MAX_STRATA = 5
MIN_STRATUM = 6
"""Runs of a stratum that is only a quantile of C, where there are enough for more than two."""

MIN_TIED = 2
"""Runs needed at each C for the few C of a table to be its strata: a single run has no scatter for
a resample to show."""


def group_budgets(N: Array, C: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Find budgets among runs, and say which runs stand at one.

    The fullest window of C that spans at most 10% becomes a group, and so on among the remaining
    runs, as long as a window holds four distinct N. Runs outside all groups get the nearest group's
    budget, but do not count as standing at it. A single group is a budget only if it holds all
    runs. If there is none, or the groups hold less than a third of the runs, there are no budgets:
    every run gets the middle of its stratum, which is one of few C or a quantile of many.

    Parameters
    ----------
    N, C : ndarray, shape (n_runs,)
        Parameters and FLOPs, positive.

    Returns
    -------
    budget : ndarray, shape (n_runs,)
        Geometric mean C of the group, or a C that was run amid the stratum, FLOPs.
    profiled : ndarray of bool, shape (n_runs,)
        Whether the run belongs to a group.
    """
    log_C = np.log(C)
    order = np.argsort(log_C, kind="stable")
    free = np.ones(len(C), dtype=bool)
    group = np.full(len(C), -1)
    n_groups = 0
    while free.any():
        rows = order[free[order]]
        window = _fullest_window(log_C[rows], N[rows])
        if window is None:
            break
        group[rows[window]] = n_groups
        free[rows[window]] = False
        n_groups += 1
    profiled = group >= 0
    if profiled.mean() < (MIN_GROUPED if n_groups >= MIN_GROUPS else 1):
        return C[_strata_middles(log_C)], np.zeros(len(C), dtype=bool)
    centres = np.array([_geometric_mean(C[group == i]) for i in range(n_groups)])
    nearest = np.argmin(np.abs(log_C[:, np.newaxis] - np.log(centres)), axis=1)
    return centres[np.where(profiled, group, nearest)], profiled


def _geometric_mean(values: Array) -> float:
    """Return the geometric mean; for equal values, exactly that value."""
    return float(values[0] * np.exp(np.log(values / values[0]).mean()))


def _fullest_window(log_C: Array, N: Array) -> slice | None:
    """Return the window with the most runs among those with enough sizes; `log_C` ascends."""
    ends = np.searchsorted(log_C, log_C + np.log(MAX_SPAN) * (1 + 1e-9), side="right")
    counts = ends - np.arange(log_C.size)
    for start in np.argsort(-counts, kind="stable"):
        if counts[start] < MIN_SIZES:
            return None
        if np.unique(N[start : ends[start]]).size >= MIN_SIZES:
            return slice(int(start), int(ends[start]))
    return None


def _strata_middles(log_C: Array) -> NDArray[np.intp]:
    """Return for each run the one in the middle of its stratum: the nearest to its mean log C.

    Runs within 10% in C stay in one stratum. Few such C that all hold several runs are the strata;
    else these are quantiles, into which each C falls whole, by the middle of its ranks.
    """
    level = numbered_levels(log_C, np.log(MAX_SPAN))
    counts = np.bincount(level)
    if 1 < counts.size <= MAX_STRATA and counts.min() >= MIN_TIED:
        stratum = level
    else:
        n_strata = int(np.clip(log_C.size // MIN_STRATUM, MIN_STRATA, MAX_STRATA))
        middle_rank = np.cumsum(counts) - counts / 2
        stratum = (middle_rank * n_strata / log_C.size).astype(int)[level]
    middles = np.empty(log_C.size, dtype=int)
    for i in np.unique(stratum):
        own = np.flatnonzero(stratum == i)
        middles[own] = own[np.argmin(np.abs(log_C[own] - log_C[own].mean()))]
    return middles


def numbered_levels(values: Array, span: float) -> NDArray[np.intp]:
    """Number the different values, from the smallest: each takes what lies within `span` of it.

    Parameters
    ----------
    values : ndarray, shape (n,)
        In any order; NaN are one level, the last.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    level = np.zeros(values.size, dtype=int)
    start = 0
    while start < values.size:
        limit = ascending[start] + span * (1 + 1e-9)
        end = int(np.searchsorted(ascending, limit, side="right"))
        level[order[end:]] += 1
        start = end
    return level
