"""Budgets of a table that names none: groups of runs that spent nearly the same compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_SPAN = 1.10
"""Largest ratio of C within a group: over 10% the loss hardly changes, and the change is fitted."""

MIN_SIZES = 4
"""Distinct N of a group: a parabola and one run that tests it."""

MIN_GROUPS = 2
MIN_STRATA = 2
"""A law of the optima needs two C at which a surface is read."""

MAX_STRATA = 5
MIN_STRATUM = 6
"""Runs of a stratum that is only a quantile of C, where there are enough for more than two."""


def group_budgets(N: Array, C: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Find budgets among runs, and say which runs stand at one.

    The fullest window of C that spans at most 10% becomes a group, and again among the rest, as
    long as a window holds four distinct N. Runs that no group takes get the nearest group's
    budget, but stand at none. Fewer than two groups are none: then every run gets the centre of
    its quantile of C.

    Parameters
    ----------
    N, C : ndarray, shape (n_runs,)
        Parameters and FLOPs, positive.

    Returns
    -------
    budget : ndarray, shape (n_runs,)
        Geometric mean C of the group or quantile, FLOPs.
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
    if n_groups < MIN_GROUPS:
        return _quantile_centres(log_C), np.zeros(len(C), dtype=bool)
    profiled = group >= 0
    centres = np.array([log_C[group == i].mean() for i in range(n_groups)])
    nearest = np.argmin(np.abs(log_C[:, np.newaxis] - centres), axis=1)
    return np.exp(centres[np.where(profiled, group, nearest)]), profiled


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


def _quantile_centres(log_C: Array) -> Array:
    n_strata = int(np.clip(log_C.size // MIN_STRATUM, MIN_STRATA, MAX_STRATA))
    edges = np.quantile(log_C, np.linspace(0, 1, n_strata + 1)[1:-1])
    stratum = np.searchsorted(edges, log_C, side="right")
    counts = np.maximum(np.bincount(stratum, minlength=n_strata), 1)
    centres = np.bincount(stratum, weights=log_C, minlength=n_strata) / counts
    return np.exp(centres[stratum])
