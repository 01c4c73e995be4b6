"""The noise of a run's loss, from runs that differ only in their seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.table import RunTable

Array = NDArray[np.float64]

MIN_FREEDOM = 4
"""Degrees of freedom from which replicates measure the noise better than a fit's residuals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The scatter of log L within cells of one budget, size, D and learning rate.

    Parameters
    ----------
    variance : float
        Pooled over the cells: the sum of squares around their means over `freedom`.
    freedom : int
        Runs less cells.
    scale : float
        A standard deviation that a few outliers do not move: 1.4826 times the median deviation
        from the mean of the cell, each divided by sqrt(1 - 1/n) for a cell of n runs.
    """

    variance: float
    freedom: int
    scale: float


def replicate_noise(runs: RunTable) -> Noise | None:
    """Return the noise of replicates, None with fewer than `MIN_FREEDOM` degrees of freedom.

    Copies of a run, equal to the last digit, are one run: they show no scatter.
    """
    if not len(runs) or runs.L.min() <= 0:
        return None
    lr = np.where(np.isnan(runs.lr), -1.0, runs.lr)
    cell, order = _numbered(runs.budget, runs.N, runs.D, lr)
    if len(runs) - (cell.max() + 1) < MIN_FREEDOM:
        return None
    size = np.unique(runs.size.astype(str), return_inverse=True)[1].astype(float)
    log_L = np.log(runs.L)
    # Every different loss of a cell once
    copy, order = _numbered(runs.budget, runs.N, runs.D, lr, size, log_L)
    first = order[np.diff(copy, prepend=-1) > 0]
    keys = [values[first] for values in (runs.budget, runs.N, runs.D, lr, size)]
    cell, order = _numbered(*keys)
    log_L = log_L[first][order]
    n = np.bincount(cell)
    freedom = int(log_L.size - n.size)
    if freedom < MIN_FREEDOM:
        return None
    deviation = log_L - (np.bincount(cell, weights=log_L) / n)[cell]
    replicated = n[cell] > 1
    inflated = np.abs(deviation[replicated]) / np.sqrt(1 - 1 / n[cell][replicated])
    return Noise(
        variance=float((deviation**2).sum() / freedom),
        freedom=freedom,
        scale=float(1.4826 * np.median(inflated)),
    )


def _numbered(*keys: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of equal rows, ascending, and the order that makes them so."""
    order = np.lexsort(keys[::-1])
    changes = np.zeros(order.size, dtype=bool)
    for key in keys:
        ordered = key[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    return np.cumsum(changes), order
