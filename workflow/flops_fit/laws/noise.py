"""How much the loss of a run scatters by itself, from runs that differ in their seed alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flops_fit.laws.table import RunTable

MIN_FREEDOM = 4
"""Degrees of freedom from which replicates tell the noise better than a fit's own residuals."""


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
        A standard deviation that single wild runs do not move: 1.4826 times the median deviation
        from the mean of the cell, each divided by sqrt(1 - 1/n) for a cell of n runs.
    """

    variance: float
    freedom: int
    scale: float


def replicate_noise(runs: RunTable) -> Noise | None:
    """Return the noise that replicates show, None without `MIN_FREEDOM` degrees of freedom.

    Copies of a run, equal to the last digit, are one run: they show no scatter.
    """
    if not len(runs) or runs.L.min() <= 0:
        return None
    keys = [runs.budget, runs.N, runs.D, np.where(np.isnan(runs.lr), -1.0, runs.lr)]
    keys.append(np.unique(runs.size.astype(str), return_inverse=True)[1].astype(float))
    rows = np.unique(np.stack([*keys, np.log(runs.L)]), axis=1)
    cell = np.unique(rows[:-1], axis=1, return_inverse=True)[1].ravel()
    log_L = rows[-1]
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
