"""FLOPs per unit as a function of N, from the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_SIZES = 64
"""Largest number of sizes kept apart: a table may hold as many sizes as runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsPerUnit:
    """Training FLOPs per unit of data, C/D, interpolated in log N between measured sizes.

    Beyond the measured sizes flops_per_unit/N keeps its end value, because the cost of a large
    model grows in proportion to its parameters.

    Parameters
    ----------
    log_N : ndarray, shape (n_sizes,)
        Natural logs of the measured N, ascending.
    log_flops : ndarray, shape (n_sizes,)
        Natural logs of C/D at these sizes.
    k : float
        Median of C/(N D) over the runs: the constant of C = k N D where one describes them.
    """

    log_N: NDArray[np.float64]
    log_flops: NDArray[np.float64]
    k: float

    @classmethod
    def from_runs(cls, N: ArrayLike, D: ArrayLike, C: ArrayLike) -> FlopsPerUnit:
        """Take the accounting from runs: N, D, C of shape (n_runs,), positive.

        Runs of the same N enter with the mean of their log(C/D); with more than `MAX_SIZES` sizes,
        neighbours are averaged as well.
        """
        N, D, C = (np.asarray(values, dtype=float) for values in (N, D, C))
        sizes, group = np.unique(N, return_inverse=True)
        log_flops = np.bincount(group, weights=np.log(C / D)) / np.bincount(group)
        log_N, log_flops = _thinned(np.log(sizes), log_flops)
        return cls(log_N=log_N, log_flops=log_flops, k=float(np.median(C / D / N)))

    def flops_per_unit(self, N: ArrayLike) -> NDArray[np.float64]:
        """Return training FLOPs per unit at `N` parameters (any shape)."""
        log_N = np.log(np.asarray(N, dtype=float))
        nearest = np.clip(log_N, self.log_N[0], self.log_N[-1])
        return np.exp(np.interp(nearest, self.log_N, self.log_flops) + (log_N - nearest))

    def D_at(self, C: ArrayLike, N: ArrayLike) -> NDArray[np.float64]:
        """Return the units on which a model of `N` parameters spends exactly `C` FLOPs."""
        return np.asarray(C, dtype=float) / self.flops_per_unit(N)

    def covers(self, N: ArrayLike) -> NDArray[np.bool_]:
        """Say for each `N` whether it lies within the measured sizes."""
        log_N = np.log(np.asarray(N, dtype=float))
        return (log_N >= self.log_N[0]) & (log_N <= self.log_N[-1])


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most `MAX_SIZES` points: the two ends, and means over neighbours between them."""
    if x.size <= MAX_SIZES:
        return x, y
    groups = np.array_split(np.arange(1, x.size - 1), MAX_SIZES - 2)
    means = [[values[group].mean() for group in groups] for values in (x, y)]
    return (
        np.array([x[0], *means[0], x[-1]]),
        np.array([y[0], *means[1], y[-1]]),
    )
