"""The parabola of an IsoFLOP profile, by least squares: c0 + c1 (x - centre) + c2 (x - centre)^2.

x is log N, and what is fitted the loss (Hoffmann et al. 2022, arXiv 2203.15556, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_SIZES = 3
"""Distinct x that a parabola needs."""

MAX_LEVERAGE = 1 - 1e-9
"""Leverage above which a parabola passes through the point, so that its residual is meaningless."""

ROUNDING = 1e-12
"""Curvature, as a share of the largest |y|, below which a parabola is a line up to rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parabola:
    """One parabola, or many around the same centre.

    Parameters
    ----------
    centre : float
        The x from which the powers are counted.
    coefficients : array_like, shape (..., 3)
        c0, c1, c2.
    """

    centre: float
    coefficients: ArrayLike

    def at(self, x: ArrayLike) -> Array:
        """Return y at `x`, shape (n,): of shape (..., n)."""
        c0, c1, c2 = (c[..., np.newaxis] for c in self._terms())
        v = np.asarray(x, dtype=float) - self.centre
        return c0 + c1 * v + c2 * v**2

    @property
    def vertex(self) -> Array:
        """The x at which y is lowest, shape (...); NaN where the parabola does not open upwards."""
        _, c1, c2 = self._terms()
        return self.centre - c1 / (2 * _positive(c2))

    @property
    def lowest(self) -> Array:
        """The lowest y, shape (...); NaN where the parabola does not open upwards."""
        c0, c1, c2 = self._terms()
        return c0 - c1**2 / (4 * _positive(c2))

    def _terms(self) -> Array:
        return np.moveaxis(np.asarray(self.coefficients, dtype=float), -1, 0)


def _positive(c2: Array) -> Array:
    return np.where(c2 > 0, c2, np.nan)


def has_minimum(coefficients: ArrayLike, half_range: float, y: Array) -> NDArray[np.bool_]:
    """Return whether parabolas open upwards by more than the rounding of their points.

    Parameters
    ----------
    coefficients : array_like, shape (..., 3)
    half_range : float
        Half of the range of x.
    y : ndarray, shape (..., n)
    """
    rise = np.asarray(coefficients)[..., 2] * half_range**2
    return rise > ROUNDING * np.abs(y).max(-1)


@dataclass(frozen=True, slots=True)
class ParabolaDesign:
    """The points of a parabola without their y, so that many sets of y can be fitted.

    Parameters
    ----------
    centre, half_range : float
        The middle of the range of x, and half of its length.
    u : ndarray, shape (n,)
        x scaled to [-1, 1]: log N near 20 would make the columns nearly parallel.
    weights : ndarray, shape (n,)
        How much each point counts in the squares.
    Q, R : ndarray, shapes (n, 3) and (3, 3)
        QR decomposition of the columns 1, u, u^2, each row times the root of its weight.
    """

    centre: float
    half_range: float
    u: Array
    weights: Array
    Q: Array
    R: Array

    @classmethod
    def of(cls, x: ArrayLike, weights: ArrayLike | None = None) -> ParabolaDesign:
        """Take points at `x`, shape (n,), that count the same or by positive `weights`.

        Raises
        ------
        ValueError
            If fewer than three x are distinct.
        """
        x = np.asarray(x, dtype=float)
        n_distinct = np.unique(x).size
        if n_distinct < MIN_SIZES:
            raise ValueError(f"A parabola needs {MIN_SIZES} distinct N, but got {n_distinct}.")
        weights = np.ones_like(x) if weights is None else np.asarray(weights, dtype=float)
        centre, half_range = float(x.min() + x.max()) / 2, float(np.ptp(x)) / 2
        u = (x - centre) / half_range
        columns = np.sqrt(weights)[:, np.newaxis] * np.vander(u, 3, increasing=True)
        return cls(centre, half_range, u, weights, *np.linalg.qr(columns))

    def fit(self, y: Array) -> Parabola:
        """Return the parabolas of least weighted squares through `y`, shape (..., n)."""
        mean = y.mean(-1, keepdims=True)
        coefficients = (y - mean) @ self._solution().T
        coefficients[..., :1] += mean
        return Parabola(centre=self.centre, coefficients=coefficients)

    def residuals(self, y: Array) -> Array:
        """Return y less its parabola, each times the root of its weight, shape (..., n)."""
        scaled = np.sqrt(self.weights) * (y - y.mean(-1, keepdims=True))
        return scaled - scaled @ self.Q @ self.Q.T

    def studentised_residuals(self, y: Array) -> Array:
        """Return the residuals, each over sqrt(1 - leverage), of all points that have one.

        So all have the variance of the noise, even the ends of a profile, to which its parabola
        bends. Points through which it always passes are left out.

        Returns
        -------
        ndarray, shape (..., at most n)
        """
        leverages = (self.Q**2).sum(-1)
        told = leverages < MAX_LEVERAGE
        return self.residuals(y)[..., told] / np.sqrt(1 - leverages[told])

    def covariance(self, variances: ArrayLike) -> Array:
        """Return the covariance of c0, c1, c2, shape (3, 3).

        Parameters
        ----------
        variances : array_like, shape (n,)
            Of the y of each point, which are independent.
        """
        solution = self._solution()
        return solution * variances @ solution.T

    def _solution(self) -> Array:
        """Return the matrix, shape (3, n), that turns y into coefficients."""
        scaled = np.linalg.solve(self.R, self.Q.T * np.sqrt(self.weights))
        return scaled / self.half_range ** np.arange(3)[:, np.newaxis]
