"""Minimise the objective of many surfaces at once: Newton's method with exact derivatives.

A surface in logs is a log-sum-exp: log Lhat = log(e^zA + e^zB + e^zE) with zA = log A - alpha
log N, zB = log B - beta log D, zE = log E (Hoffmann et al. 2022, arXiv 2203.15556, section D.2).
Its derivatives are the shares p = e^z / Lhat, its Hessian in z is diag(p) - p p'. All of a fit
with five parameters is cheap but the shares, so that what pays is to work on all starting points,
or all bootstrap resamples, as the rows of one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.objectives import Objective

Array = NDArray[np.float64]

EXPONENT_BOUNDS = (0.01, 5.0)
"""Below, a term is a second E over any range of N or D that runs span; above, nobody has found."""

SMALLEST_SHARE = 1e-12
"""A term below this share of the losses at the middle of the data is 0: it lies on its bound."""

MAX_ITERATIONS = 300
TOLERANCE = 1e-13
"""A row has converged when Newton's method expects less than this relative decrease."""


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
        """Turn log A and log B into the logs of the terms at the middle of the data."""
        moved = rows.copy()
        moved[:, 0] -= rows[:, 3] * self.x0
        moved[:, 1] -= rows[:, 4] * self.y0
        return moved

    def uncentred(self, rows: Array) -> Array:
        """Undo `centred`; a term on its lower bound becomes exactly 0."""
        moved = rows.copy()
        on_bound = rows[:, :3] <= self.lowest_log + 1e-9
        moved[:, :3] = np.where(on_bound, -np.inf, rows[:, :3])
        moved[:, 0] += rows[:, 3] * self.x0
        moved[:, 1] += rows[:, 4] * self.y0
        return moved

    @property
    def lowest_log(self) -> float:
        """Log of the smallest term that is told from 0."""
        return float(np.log(np.median(self.L)) + np.log(SMALLEST_SHARE))


def shares(theta: Array, data: SurfaceData) -> tuple[Array, Array, Array, Array]:
    """Return log Lhat and the shares of the terms A, B and E, each of shape (n_rows, n_runs)."""
    zA = theta[:, 0, np.newaxis] - theta[:, 3, np.newaxis] * data.x
    zB = theta[:, 1, np.newaxis] - theta[:, 4, np.newaxis] * data.y
    zE = np.broadcast_to(theta[:, 2, np.newaxis], zA.shape)
    top = np.maximum(np.maximum(zA, zB), zE)
    pA, pB, pE = np.exp(zA - top), np.exp(zB - top), np.exp(zE - top)
    total = pA + pB + pE
    return top + np.log(total), pA / total, pB / total, pE / total


def log_fitted(theta: Array, data: SurfaceData) -> Array:
    """Return log Lhat, shape (n_rows, n_runs)."""
    return shares(theta, data)[0]


def objective_values(
    theta: Array, data: SurfaceData, objective: Objective, index: Array | None = None
) -> Array:
    """Return the objective of each row, shape (n_rows,)."""
    L, weights = data.rows(np.arange(len(theta)) if index is None else index)
    return (weights * objective.value(log_fitted(theta, data), L)).sum(-1)


def gradient_and_curvature(
    theta: Array, data: SurfaceData, objective: Objective, index: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return gradient, Hessian, and the Gauss-Newton matrix of each row.

    Returns
    -------
    gradient : ndarray, shape (n_rows, 5)
        By log A, log B (both at the middle of the data), log E, alpha, beta.
    hessian, gauss_newton : ndarray, shape (n_rows, 5, 5)
        The second is positive semi-definite: it leaves out the curvature of the surface itself and
        takes the objective's majorant.
    """
    L, weights = data.rows(np.arange(len(theta)) if index is None else index)
    f, pA, pB, pE = shares(theta, data)
    first, second, majorant = objective.derivatives(f, L)
    first, second, majorant = weights * first, weights * second, weights * majorant
    x, y = data.x, data.y

    one = np.ones_like(x)
    in_A = (first * pA) @ np.stack([one, x], -1)
    in_B = (first * pB) @ np.stack([one, y], -1)
    gradient = np.stack(
        [in_A[:, 0], in_B[:, 0], (first * pE).sum(-1), -in_A[:, 1], -in_B[:, 1]], axis=-1
    )
    gauss_newton = _quadratic_forms(majorant, None, pA, pB, pE, x, y)
    hessian = _quadratic_forms(second - first, first, pA, pB, pE, x, y)
    return gradient, hessian, gauss_newton


def _quadratic_forms(
    c: Array, d: Array | None, pA: Array, pB: Array, pE: Array, x: Array, y: Array
) -> Array:
    """Return sum over runs of Z' (c p p' + d diag(p)) Z, with z = Z theta."""
    one = np.ones_like(x)
    cA, cB = c * pA, c * pB
    AA, BB, EE = cA * pA, cB * pB, c * pE * pE
    if d is not None:
        AA, BB, EE = AA + d * pA, BB + d * pB, EE + d * pE
    M = np.empty((len(c), 5, 5))
    sums = AA @ np.stack([one, x, x * x], -1)
    M[:, 0, 0], M[:, 0, 3], M[:, 3, 3] = sums[:, 0], -sums[:, 1], sums[:, 2]
    sums = BB @ np.stack([one, y, y * y], -1)
    M[:, 1, 1], M[:, 1, 4], M[:, 4, 4] = sums[:, 0], -sums[:, 1], sums[:, 2]
    sums = (cA * pB) @ np.stack([one, x, y, x * y], -1)
    M[:, 0, 1], M[:, 1, 3], M[:, 0, 4], M[:, 3, 4] = (
        sums[:, 0],
        -sums[:, 1],
        -sums[:, 2],
        sums[:, 3],
    )
    sums = (cA * pE) @ np.stack([one, x], -1)
    M[:, 0, 2], M[:, 2, 3] = sums[:, 0], -sums[:, 1]
    sums = (cB * pE) @ np.stack([one, y], -1)
    M[:, 1, 2], M[:, 2, 4] = sums[:, 0], -sums[:, 1]
    M[:, 2, 2] = EE.sum(-1)
    lower = np.tril_indices(5, -1)
    M[:, lower[0], lower[1]] = M[:, lower[1], lower[0]]
    return M


def minimise_rows(
    theta: Array,
    data: SurfaceData,
    objective: Objective,
    *,
    tied: bool = False,
    frozen: tuple[int, ...] = (),
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Array, Array]:
    """Minimise the objective of every row, from `theta`, within the bounds.

    Each row takes Newton steps, damped as Levenberg and Marquardt do; after a step that did not
    lower its objective it tries one of iteratively reweighted least squares, which a Huber loss
    cannot mislead. Nothing depends on the scale of the objective.

    Parameters
    ----------
    theta : ndarray, shape (n_rows, 5)
        Where to start, centred.
    tied : bool
        Keep alpha = beta.
    frozen : tuple of int
        Columns of `theta` that keep their values.

    Returns
    -------
    theta : ndarray, shape (n_rows, 5)
    values : ndarray, shape (n_rows,)
        Their objectives.
    """
    low, high = _bounds(data)
    theta = np.clip(theta, low, high)
    values = objective_values(theta, data, objective)
    damping = np.full(len(theta), 1e-3)
    use_newton = np.ones(len(theta), dtype=bool)
    failures = np.zeros(len(theta), dtype=int)
    active = np.arange(len(theta))
    for _ in range(max_iterations):
        if not active.size:
            break
        gradient, hessian, gauss_newton = gradient_and_curvature(
            theta[active], data, objective, active
        )
        # One evaluation serves several attempts: most rows need one, few need more
        step, expected, converged = _steps(
            theta[active],
            gradient,
            hessian,
            gauss_newton,
            damping[active],
            use_newton[active],
            values[active],
            low,
            high,
            tied,
            frozen,
        )
        trial = np.clip(theta[active] + step, low, high)
        if tied:
            trial[:, 4] = trial[:, 3]
        new = objective_values(trial, data, objective, active)
        old = values[active]
        gain = old - new
        better = gain > 0
        theta[active] = np.where(better[:, np.newaxis], trial, theta[active])
        values[active] = np.where(better, new, old)
        good = better & (gain > 0.25 * expected)
        very_good = better & (gain > 0.75 * expected)
        factor = np.where(very_good, 0.1, np.where(good, 0.5, np.where(better, 2.0, 5.0)))
        damping[active] = np.clip(damping[active] * factor, 1e-15, 1e8)
        use_newton[active] ^= ~good
        failures[active] = np.where(gain > 1e-15 * old, 0, failures[active] + 1)
        done = (converged & ~better) | (failures[active] > 12) | (values[active] == 0)
        active = active[~done]
    return theta, values


def _bounds(data: SurfaceData) -> tuple[Array, Array]:
    lowest = data.lowest_log
    highest = float(np.log(data.L.max())) + 3.0
    return (
        np.array([lowest] * 3 + [EXPONENT_BOUNDS[0]] * 2),
        np.array([highest] * 3 + [EXPONENT_BOUNDS[1]] * 2),
    )


def _steps(
    theta: Array,
    gradient: Array,
    hessian: Array,
    gauss_newton: Array,
    damping: Array,
    use_newton: Array,
    values: Array,
    low: Array,
    high: Array,
    tied: bool,
    frozen: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    """Return the step of each row, the decrease that its model expects, and whether it is done."""
    if tied:
        gradient, hessian, gauss_newton = (_tie(M) for M in (gradient, hessian, gauss_newton))
    # A parameter on its bound that would leave it stays
    fixed = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    if tied:
        fixed[:, 4] = True
    fixed[:, list(frozen)] = True
    free = ~fixed
    gradient = np.where(free, gradient, 0.0)
    both = free[:, :, np.newaxis] & free[:, np.newaxis, :]
    diagonal = np.arange(5)
    scale = np.sqrt(np.maximum(gauss_newton[:, diagonal, diagonal], 1e-300))
    scale = np.where(free, np.maximum(scale, 1e-8 * scale.max(-1, keepdims=True)), 1.0)
    pair = scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    matrix = np.where(use_newton[:, np.newaxis, np.newaxis], hessian, gauss_newton)
    matrix = np.where(both, matrix / pair, 0.0)
    matrix[:, diagonal, diagonal] += np.where(free, damping[:, np.newaxis], 1.0)
    scaled = gradient / scale
    step = -np.linalg.solve(matrix, scaled[..., np.newaxis])[..., 0]
    slope = (scaled * step).sum(-1)
    # Uphill: an indefinite Hessian. The gradient's own direction leads down
    uphill = slope >= 0
    step = np.where(uphill[:, np.newaxis], -scaled / (1 + damping[:, np.newaxis]), step)
    slope = np.where(uphill, (scaled * step).sum(-1), slope)
    expected = -slope / 2
    converged = expected <= TOLERANCE * values
    step = step / scale
    if tied:
        step[:, 4] = step[:, 3]
    # exp() of a term must not leap by more than a factor of e^5, nor an exponent by 0.5
    reach = np.array([5.0, 5.0, 5.0, 0.5, 0.5])
    shrink = np.maximum((np.abs(step) / reach).max(-1, keepdims=True), 1.0)
    return step / shrink, expected / shrink[:, 0], converged


def _tie(M: Array) -> Array:
    """Add the derivatives by beta to those by alpha."""
    M = M.copy()
    M[:, 3] += M[:, 4]
    if M.ndim == 3:
        M[:, :, 3] += M[:, :, 4]
    return M
