"""What a surface is fitted to minimise: a sum over runs of a function of f = log Lhat and L."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.solver.huber_line import lowest_huber_point

Array = NDArray[np.float64]

LONGEST = 10.0
"""Lengths of Newton's step beyond which a line search would trust it too far."""

HUBER_DELTA = 1e-3
"""Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3."""


@dataclass(frozen=True, slots=True)
class HuberLog:
    """Huber loss of u = log Lhat - log L: u^2/2 within delta, delta (|u| - delta/2) outside."""

    delta: float = HUBER_DELTA

    has_kinks: ClassVar[bool] = True
    """The second derivative jumps, so that a step of Newton's method may be far too long."""

    def value(self, f: Array, L: Array) -> Array:
        """Return the loss of each run; `f` is log Lhat."""
        size = np.abs(f - np.log(L))
        return np.where(size <= self.delta, size**2 / 2, self.delta * (size - self.delta / 2))

    def derivatives(self, f: Array, L: Array) -> tuple[Array, Array, Array]:
        """Return the first and second derivative by f, and the curvature of a majorant.

        The majorant (derivative / u) is what iteratively reweighted least squares minimises.
        """
        u = f - np.log(L)
        size = np.abs(u)
        inside = size <= self.delta
        return (
            np.clip(u, -self.delta, self.delta),
            inside.astype(float),
            np.where(inside, 1.0, self.delta / np.maximum(size, self.delta)),
        )

    def best_lengths(
        self, f: Array, slope: Array, curvature: Array, L: Array, weights: Array
    ) -> Array:
        """Return how far to go along each row's step, whose derivative of log Lhat is `slope`.

        The minimum of the objective of f + t slope, found among its kinks: where most residuals lie
        outside of delta, a step that Newton's method expects to be whole passes many of them. What
        the second derivative of the objective has beyond that of the straight line, the bend of
        the surface, is kept.

        Parameters
        ----------
        f, L, weights : ndarray, shapes that broadcast to (n_rows, n_runs)
        slope : ndarray, shape (..., n_rows, n_runs)
            Several steps of each row.
        curvature : ndarray, shape (..., n_rows)
            Second derivative of the objective along each step.

        Returns
        -------
        ndarray, shape (..., n_rows)
            Between 0 and `LONGEST`.
        """
        u = f - np.log(L)
        inside = weights * (np.abs(u) <= self.delta)
        bend = curvature - (inside * slope * slope).sum(-1)
        return lowest_huber_point(u, slope, weights, self.delta, LONGEST, bend)


@dataclass(frozen=True, slots=True)
class SquaredLoss:
    """The square (L - Lhat)^2."""

    has_kinks: ClassVar[bool] = False

    def value(self, f: Array, L: Array) -> Array:
        """Return the loss of each run; `f` is log Lhat."""
        return (L - np.exp(f)) ** 2

    def derivatives(self, f: Array, L: Array) -> tuple[Array, Array, Array]:
        """As `HuberLog.derivatives`."""
        fitted = np.exp(f)
        first = 2 * (fitted - L) * fitted
        square = 2 * fitted**2
        return first, square + first, square


Objective = HuberLog | SquaredLoss
