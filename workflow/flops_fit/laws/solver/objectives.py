"""Objectives of a surface: each is a sum over runs of a function of f = log Lhat and L."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HUBER_DELTA = 1e-3
"""Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3."""


@dataclass(frozen=True, slots=True)
class HuberLog:
    """Huber loss of u = log Lhat - log L: u^2/2 within delta, delta (|u| - delta/2) outside."""

    delta: float | Array = HUBER_DELTA
    """One for all runs, or one for each."""

    def scaled(self, scale: Array) -> HuberLog:
        """Return what, weighted by scale^-2, is the loss of u / scale; scale of shape (n_runs,)."""
        return HuberLog(self.delta * scale)

    def part(self, rows: Array) -> HuberLog:
        """Return the loss of some of the runs."""
        return self if np.ndim(self.delta) == 0 else HuberLog(self.delta[rows])

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


@dataclass(frozen=True, slots=True)
class SquaredLoss:
    """The square (L - Lhat)^2."""

    def scaled(self, scale: Array) -> SquaredLoss:
        """As `HuberLog.scaled`: a square needs the weights alone."""
        return self

    def part(self, rows: Array) -> SquaredLoss:
        """As `HuberLog.part`."""
        return self

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
