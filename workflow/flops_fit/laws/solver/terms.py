"""Surfaces in logs: the runs, the shares of the terms, and all derivatives of an objective.

A surface in logs is a log-sum-exp: log Lhat = log(e^zA + e^zB + e^zE) with zA = log A - alpha
log N, zB = log B - beta log D, zE = log E (Hoffmann et al. 2022, arXiv 2203.15556, section D.2).
Its derivatives are the shares p = e^z / Lhat, its Hessian in z is diag(p) - p p'. Many surfaces,
the starting points of a search or bootstrap resamples, are worked on as the rows of one array.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.solver.bracket import (
    GAMMA,
    BracketTerms,
    from_separate,
    to_separate,
    weighted_squares,
)
from flops_fit.laws.solver.objectives import Objective

Array = NDArray[np.float64]

SMALLEST_SHARE = 1e-12
"""A term below this share of the losses at the middle of the data is 0: it lies on its bound."""


@dataclass(frozen=True, slots=True)
class SurfaceData:
    """The runs that surfaces are fitted to.

    Parameters
    ----------
    x, y : ndarray, shape (n_runs,)
        log N and log D, less their means `x0` and `y0`: uncentred, log A and alpha are nearly
        collinear.
    L : ndarray, shape (n_runs,) or (n_rows, n_runs)
        Losses, the same for all rows or each row's own.
    weights : ndarray, shape (n_runs,) or (n_rows, n_runs)
        How often a run counts.
    """

    x: Array
    y: Array
    x0: float
    y0: float
    L: Array
    weights: Array
    moments: Array = field(init=False)
    """1, x, x^2, y, y^2, x y: shape (n_runs, 6)."""

    def __post_init__(self) -> None:
        x, y = self.x, self.y
        moments = np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], axis=-1)
        object.__setattr__(self, "moments", moments)

    @classmethod
    def of(cls, N: Array, D: Array, L: Array, weights: Array | None = None) -> SurfaceData:
        """Take runs as they are: N, D of shape (n_runs,)."""
        log_N, log_D = np.log(N), np.log(D)
        x0, y0 = float(log_N.mean()), float(log_D.mean())
        if weights is None:
            weights = np.ones(log_N.size)
        return cls(log_N - x0, log_D - y0, x0, y0, L, weights)

    def rows(self, index: Array) -> tuple[Array, Array]:
        """Return L and the weights of the given rows."""
        return (
            self.L[index] if self.L.ndim == 2 else self.L,
            self.weights[index] if self.weights.ndim == 2 else self.weights,
        )

    def centred(self, rows: Array) -> Array:
        """Turn log A and log B into the logs of the terms at the middle of the data.

        Rows with a sixth column, gamma, become those of `bracket`.
        """
        moved = to_separate(rows) if rows.shape[1] > GAMMA else rows.copy()
        moved[:, 0] -= moved[:, 3] * self.x0
        moved[:, 1] -= moved[:, 4] * self.y0
        return moved

    def uncentred(self, rows: Array) -> Array:
        """Undo `centred`; a term on its lower bound becomes exactly 0."""
        moved = rows.copy()
        on_bound = rows[:, :3] <= self.lowest_log + 1e-9
        moved[:, :3] = np.where(on_bound, -np.inf, rows[:, :3])
        moved[:, 0] += rows[:, 3] * self.x0
        moved[:, 1] += rows[:, 4] * self.y0
        return from_separate(moved) if rows.shape[1] > GAMMA else moved

    @property
    def lowest_log(self) -> float:
        """Log of the smallest term that counts as different from 0."""
        return float(np.log(np.median(self.L)) + np.log(SMALLEST_SHARE))


def shares(theta: Array, data: SurfaceData) -> tuple[Array, Array]:
    """Return log Lhat, shape (n_rows, n_runs), and the shares of A, B and E, (3, n_rows, n_runs).

    Parameters
    ----------
    theta : ndarray, shape (n_rows, 5)
        log A, log B (both at the middle of the data), log E, alpha, beta.
    """
    z = np.empty((3, len(theta), data.x.size))
    np.multiply(theta[:, 3, np.newaxis], -data.x, out=z[0])
    np.multiply(theta[:, 4, np.newaxis], -data.y, out=z[1])
    z[0] += theta[:, 0, np.newaxis]
    z[1] += theta[:, 1, np.newaxis]
    z[2] = theta[:, 2, np.newaxis]
    top = np.maximum(np.maximum(z[0], z[1]), z[2])
    z -= top
    np.exp(z, out=z)
    total = z[0] + z[1] + z[2]
    z /= total
    return top + np.log(total), z


def jacobian(theta: Array, data: SurfaceData) -> Array:
    """Return the derivatives of log Lhat by log A, log B, log E, alpha, beta.

    Parameters
    ----------
    theta : ndarray, shape (n_rows, 5) or, with log gamma, (n_rows, 6)

    Returns
    -------
    ndarray, shape (n_rows, n_runs, 5) or (n_rows, n_runs, 6)
    """
    if theta.shape[1] > GAMMA:
        return BracketTerms.of(theta, data.x, data.y).jacobian(data.x, data.y)
    pA, pB, pE = shares(theta, data)[1]
    return np.stack([pA, pB, pE, -pA * data.x, -pB * data.y], axis=-1)


def log_losses(theta: Array, data: SurfaceData) -> Array:
    """Return log Lhat of each row, shape (n_rows, n_runs)."""
    if theta.shape[1] > GAMMA:
        return BracketTerms.of(theta, data.x, data.y).f
    return shares(theta, data)[0]


def objective_values(
    theta: Array, data: SurfaceData, objective: Objective, index: Array | None = None
) -> Array:
    """Return the objective of each row, shape (n_rows,); `index` are the rows of `data`."""
    L, weights = data.rows(np.arange(len(theta)) if index is None else index)
    return (weights * objective.value(log_losses(theta, data), L)).sum(-1)


@dataclass(frozen=True, slots=True)
class Expansion:
    """An objective around each row: all shapes start with n_rows.

    Parameters
    ----------
    gradient : ndarray, shape (n_rows, n_columns)
        By log A, log B (both at the middle of the data), log E, alpha, beta, and log gamma where
        rows have it.
    hessian, gauss_newton : ndarray, shape (n_rows, n_columns, n_columns)
        The second is positive semi-definite: it leaves out the curvature of the surface itself and
        takes the objective's majorant.
    """

    gradient: Array
    hessian: Array
    gauss_newton: Array


def expand(
    theta: Array, data: SurfaceData, objective: Objective, index: Array | None = None
) -> Expansion:
    """Return gradient, Hessian and Gauss-Newton matrix of the objective at each row.

    With z = Z theta the matrices are sums over runs of Z' (c p p' + d diag(p)) Z. Every entry is a
    sum of a product of shares times 1, x, x^2, y, y^2 or x y: one matrix product gives all.
    """
    L, weights = data.rows(np.arange(len(theta)) if index is None else index)
    if theta.shape[1] > GAMMA:
        return _expand_bracket(theta, data, objective, L, weights)
    f, p = shares(theta, data)
    first, second, majorant = objective.derivatives(f, L)
    first = first * weights
    products = np.empty((15, *f.shape))
    np.multiply(p, first, out=products[:3])
    _pairs(p, second * weights - first, products[3:9])
    products[3:6] += products[:3]
    _pairs(p, majorant * weights, products[9:])
    sums = (products.reshape(-1, data.x.size) @ data.moments).reshape(15, len(theta), 6)
    sums = sums.transpose(1, 0, 2)
    return Expansion(
        gradient=sums[:, :3].reshape(-1, 18)[:, _GRADIENT] * _GRADIENT_SIGNS,
        hessian=_symmetric(sums[:, 3:9]),
        gauss_newton=_symmetric(sums[:, 9:]),
    )


def _expand_bracket(
    theta: Array, data: SurfaceData, objective: Objective, L: Array, weights: Array
) -> Expansion:
    terms = BracketTerms.of(theta, data.x, data.y)
    J = terms.jacobian(data.x, data.y)
    first, second, majorant = (weights * part for part in objective.derivatives(terms.f, L))
    curvature = terms.curvature(first, data.x, data.y)
    return Expansion(
        gradient=(first[..., np.newaxis] * J).sum(-2),
        hessian=weighted_squares(J, second) + curvature,
        gauss_newton=weighted_squares(J, majorant),
    )


def _pairs(p: Array, c: Array, out: Array) -> None:
    """Write c pA pA, c pB pB, c pE pE, c pA pB, c pA pE, c pB pE to the rows of `out`."""
    np.multiply(p, c, out=out[:3])
    np.multiply(out[0], p[1], out=out[3])
    np.multiply(out[0], p[2], out=out[4])
    np.multiply(out[1], p[2], out=out[5])
    out[:3] *= p


_ENTRIES = (
    # row, column, pair of shares in the order of `_pairs`, moment in 1 x xx y yy xy, sign
    (0, 0, 0, 0, 1),
    (0, 3, 0, 1, -1),
    (3, 3, 0, 2, 1),
    (1, 1, 1, 0, 1),
    (1, 4, 1, 3, -1),
    (4, 4, 1, 4, 1),
    (2, 2, 2, 0, 1),
    (0, 1, 3, 0, 1),
    (1, 3, 3, 1, -1),
    (0, 4, 3, 3, -1),
    (3, 4, 3, 5, 1),
    (0, 2, 4, 0, 1),
    (2, 3, 4, 1, -1),
    (1, 2, 5, 0, 1),
    (2, 4, 5, 3, -1),
)
_MATRIX, _MATRIX_SIGNS = np.zeros((5, 5), dtype=int), np.zeros((5, 5))
for _i, _j, _pair, _moment, _sign in _ENTRIES:
    _MATRIX[_i, _j] = _MATRIX[_j, _i] = 6 * _pair + _moment
    _MATRIX_SIGNS[_i, _j] = _MATRIX_SIGNS[_j, _i] = _sign
_GRADIENT, _GRADIENT_SIGNS = np.array([0, 6, 12, 1, 9]), np.array([1.0, 1.0, 1.0, -1.0, -1.0])


def _symmetric(sums: Array) -> Array:
    return sums.reshape(-1, 36)[:, _MATRIX] * _MATRIX_SIGNS
