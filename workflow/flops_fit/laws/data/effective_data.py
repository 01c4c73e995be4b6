"""Repeated data, counted as the fresh data that would be worth as much.

A run that passes U distinct units D / U times learns less than from D fresh units. Muennighoff et
al. 2023 (arXiv 2305.16264, equation 5) give the effective data

    D' = U + U R* (1 - exp(-R / R*)),  R = D / U - 1,

which saturates at (1 + R*) U. A run is then replaced by the run on fresh data that it equals: D'
units at the FLOPs that these cost. All laws, and the optima that they predict, are for fresh data.
Their second form, for parameters in excess of what U needs, is not used: it takes the optimum that
is only fitted here, and their constants of it fit no better on their own runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.grouping import MAX_SPAN
from flops_fit.laws.data.table import RunTable, ordered, with_budgets

Array = NDArray[np.float64]

PUBLISHED_R_STAR = 15.387756
"""R_D* of Muennighoff et al. 2023, as published with their code: a repeated unit is worth exp(-1)
of a fresh one after this many repetitions."""

ROUNDING = 1e-9
"""Relative excess of D over U up to which nothing is repeated."""

SAME_UNITS = 1e-3
"""Relative difference of U between runs up to which they share their data: files round."""


def effective_units(D: ArrayLike, U: ArrayLike, R_star: float) -> Array:
    """Return the fresh units that are worth as much as `D` units of which `U` are distinct.

    Parameters
    ----------
    D, U : array_like, shapes that broadcast
        U is NaN where it is not known: then, and where D is not above U, all units are fresh.
    R_star : float
        Repetitions after which a unit is worth exp(-1) of a fresh one.
    """
    D, U = np.broadcast_arrays(np.asarray(D, dtype=float), np.asarray(U, dtype=float))
    repeats = np.where(D > U * (1 + ROUNDING), D / U - 1, 0.0)
    return np.where(repeats > 0, U * (1 - R_star * np.expm1(-repeats / R_star)), D)


def repeating(runs: RunTable) -> NDArray[np.bool_]:
    """Say which runs saw some of their data more than once, shape (n_runs,)."""
    return runs.D > runs.unique * (1 + ROUNDING)


def as_fresh(runs: RunTable, R_star: float, *, planned: bool) -> RunTable:
    """Return the runs on fresh data that these runs equal; without repeats, the same table.

    Parameters
    ----------
    runs : RunTable
    R_star : float
        See `effective_units`.
    planned : bool
        Whether the runs named their budgets. A run then leaves the profile of its budget if it is
        worth over 10% less, as far as a group may span; without names, groups are found anew.
    """
    if not repeating(runs).any():
        return runs
    D = effective_units(runs.D, runs.unique, R_star)
    C = runs.C * (D / runs.D)
    fresh = replace(runs, D=D, C=C, profiled=runs.profiled & (C * MAX_SPAN >= runs.C))
    return ordered(fresh if planned else with_budgets(fresh))


def fresh_curves(
    curves: Mapping[str, ArrayLike] | None, runs: RunTable, R_star: float
) -> Mapping[str, ArrayLike] | None:
    """Return training curves, rows [step, D, train_loss, lr], with D in effective units.

    Parameters
    ----------
    runs : RunTable
        The runs as they were made; curves of others stay as they are.
    """
    if not curves:
        return curves
    fresh = dict(curves)
    rows = np.flatnonzero(repeating(runs))
    for name, U in zip(runs.id[rows], runs.unique[rows], strict=True):
        if name in fresh:
            curve = np.array(fresh[name], dtype=float)
            curve[:, 1] = effective_units(curve[:, 1], U, R_star)
            fresh[name] = curve
    return fresh


def common_units(runs: RunTable) -> float | None:
    """Return the distinct units of the data that all runs share, None where there are none."""
    if not len(runs) or not np.isfinite(runs.unique).all():
        return None
    if runs.unique.max() > runs.unique.min() * (1 + SAME_UNITS):
        return None
    return float(np.median(runs.unique))
