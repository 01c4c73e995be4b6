"""FLOPs per unit as a function of N, from the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.cost_noise import alternation, cost_noise, smoothed
from flops_fit.laws.data.table import RunTable

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
    def of(cls, runs: RunTable) -> FlopsPerUnit:
        """Take the accounting from completed runs, see `from_runs`."""
        return cls.from_runs(runs.N, runs.D, runs.C, counted=bool(runs.counted.all()))

    @classmethod
    def from_runs(
        cls, N: ArrayLike, D: ArrayLike, C: ArrayLike, *, counted: bool = False
    ) -> FlopsPerUnit:
        """Take the accounting from runs: N, D, C of shape (n_runs,), positive.

        Runs of the same N enter with the mean of their log(C/D); with more than `MAX_SIZES` sizes,
        neighbours are averaged as well.

        Where runs of a size agree on C/D, or it is a smooth function of N, these means are kept to
        the last digit: they are what a model costs. Where C/D scatters (see `cost_noise`), the
        curve behind the scatter takes their place. Otherwise N_opt of a surface, which seeks the
        lowest loss along D = C / flops_per_unit(N), would stay at sizes that seem cheap by chance.
        What an architecture adds or saves at single sizes is kept if runs of a size repeat it, or
        as far as it exceeds the scatter; no value moves by more than C/(N D) is uneven.

        `counted` says that C is stated to be counted from the architecture, as in planned studies:
        then sizes that alternate are no scatter, only runs of one size that disagree are.
        """
        N, D, C = (np.asarray(values, dtype=float) for values in (N, D, C))
        sizes, group = np.unique(N, return_inverse=True)
        log_flops = np.bincount(group, weights=np.log(C / D)) / np.bincount(group)
        n, within, freedom = _scatter(N, D, C)
        between = 0.0 if counted else alternation(np.log(sizes), log_flops, n)
        variance = cost_noise(between, within, freedom)
        log_N, log_flops, per_run = _thinned(np.log(sizes), log_flops, 1 / n)
        if variance > 0:
            log_flops = smoothed(log_N, log_flops, variance * per_run)
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


def _scatter(
    N: NDArray[np.float64], D: NDArray[np.float64], C: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, int]:
    """Return the different runs of each size, (n_sizes,), and the variance of log(C/D) within sizes
    with its degrees of freedom.

    Runs of equal N, D and C are one: a seed's cost is no new one.
    """
    N, D, C = np.unique(np.stack([N, D, C]), axis=1)
    group = np.unique(N, return_inverse=True)[1]
    n = np.bincount(group).astype(float)
    log_cost = np.log(C / D)
    away = log_cost - (np.bincount(group, weights=log_cost) / n)[group]
    freedom = N.size - n.size
    return n, float((away**2).sum() / freedom) if freedom else 0.0, freedom


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return at most `MAX_SIZES` points: the two ends, and means over neighbours between them.

    `variance` is that of y; the variance of their means comes back with them.
    """
    if x.size <= MAX_SIZES:
        return x, y, variance
    groups = np.array_split(np.arange(1, x.size - 1), MAX_SIZES - 2)
    means = [[values[group].mean() for group in groups] for values in (x, y)]
    variances = [variance[group].mean() / group.size for group in groups]
    return (
        np.array([x[0], *means[0], x[-1]]),
        np.array([y[0], *means[1], y[-1]]),
        np.array([variance[0], *variances, variance[-1]]),
    )
