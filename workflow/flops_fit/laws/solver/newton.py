"""Minimise the objective of many surfaces at once: Newton's method with exact derivatives.

With five parameters a step is cheap compared with the shares of the terms, which take one
exponential per run and term. So all starting points, or all resamples, are the rows of one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.solver.bracket import GAMMA_BOUNDS
from flops_fit.laws.solver.objectives import Objective
from flops_fit.laws.solver.terms import Expansion, SurfaceData, expand, objective_values

Array = NDArray[np.float64]

EXPONENT_BOUNDS = (0.01, 5.0)
"""Below, a term is a second E over any range of N or D that runs span; none has been seen above."""

MAX_ITERATIONS = 300
TOLERANCE = 1e-13
"""A row has converged when Newton's method expects less than this relative decrease."""

MAX_FAILURES = 8
"""Iterations without a decrease, each with more damping, after which a row is done: rounding
leaves nothing to gain."""

REACH = np.array([5.0, 5.0, 5.0, 0.5, 0.5, 0.5])
"""No step is longer: a term must not leap by more than a factor of e^5, nor an exponent by 0.5, nor
a bracket's by more than a factor of e^0.5."""


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

    In every iteration each row tries two steps and takes the better: Newton's, damped as Levenberg
    and Marquardt do, and one of iteratively reweighted least squares, which the kinks of a Huber
    loss cannot mislead. Nothing depends on the scale of the objective.

    Parameters
    ----------
    theta : ndarray, shape (n_rows, 5) or, with log gamma, (n_rows, 6)
        Where to start, centred.
    tied : bool
        Keep alpha = beta.
    frozen : tuple of int
        Columns of `theta` that keep their values.

    Returns
    -------
    theta : ndarray, shape of the input
    values : ndarray, shape (n_rows,)
        Their objectives.
    """
    n_columns = theta.shape[1]
    low, high = (bound[:n_columns] for bound in _bounds(data))
    reach = REACH[:n_columns]
    rows = _Rows.start(np.clip(theta, low, high), data, objective)
    active = np.arange(len(theta))
    for _ in range(max_iterations):
        if not active.size:
            break
        here = rows.theta[active]
        around = expand(here, data, objective, active)
        steps, expected = _steps(here, around, rows.damping[active], low, high, tied, frozen)
        steps /= np.maximum((np.abs(steps) / reach).max(-1, keepdims=True), 1.0)
        steps[1] *= rows.trust[active, np.newaxis]
        trial = np.clip(here + steps, low, high)
        if tied:
            trial[..., 4] = trial[..., 3]
        both = np.concatenate([active, active])
        values = objective_values(trial.reshape(-1, n_columns), data, objective, both).reshape(
            2, -1
        )
        active = active[~rows.take(active, trial, values, expected[0])]
    return rows.theta, rows.values


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where each row stands; the arrays change in place.

    Parameters
    ----------
    theta : ndarray, shape (n_rows, 5)
    values, damping : ndarray, shape (n_rows,)
        The objective, and Levenberg's and Marquardt's damping.
    trust : ndarray, shape (n_rows,)
        Share of its step that reweighted least squares goes: little along a bent valley.
    failures : ndarray of int, shape (n_rows,)
        Iterations since the last decrease.
    """

    theta: Array
    values: Array
    damping: Array
    trust: Array
    failures: NDArray[np.intp]

    @classmethod
    def start(cls, theta: Array, data: SurfaceData, objective: Objective) -> _Rows:
        n = len(theta)
        values = objective_values(theta, data, objective)
        return cls(theta, values, np.full(n, 1e-3), np.ones(n), np.zeros(n, dtype=int))

    def take(
        self, active: NDArray[np.intp], trial: Array, new: Array, expected: Array
    ) -> NDArray[np.bool_]:
        """Take the better of two trials where it is lower, and say which active rows are done.

        Parameters
        ----------
        trial, new : ndarray, shapes (2, n_active, 5) and (2, n_active)
            By Newton's method and by reweighted least squares, and their objectives.
        expected : ndarray, shape (n_active,)
            The decrease that Newton's method expected.
        """
        old = self.values[active]
        change = np.where(new[1] < old, 2.0, 0.25)
        self.trust[active] = np.clip(self.trust[active] * change, 1e-4, 1.0)
        by_newton = new[0] <= new[1]
        lower = np.where(by_newton, new[0], new[1])
        better = lower < old
        chosen = np.where(by_newton[:, np.newaxis], *trial)
        self.theta[active] = np.where(better[:, np.newaxis], chosen, self.theta[active])
        self.values[active] = np.where(better, lower, old)
        progress = old - lower > TOLERANCE * old
        good = better & by_newton & (old - lower > 0.1 * expected)
        # Failures in a row raise the damping ever faster: it may have sunk far below the need
        raised = 4.0 ** (1 + self.failures[active])
        factor = np.where(good, 0.1, np.where(better, 0.5, raised))
        self.damping[active] = np.clip(self.damping[active] * factor, 1e-15, 1e8)
        self.failures[active] = np.where(progress, 0, self.failures[active] + 1)
        converged = ~progress & (expected <= TOLERANCE * old)
        gave_up = self.failures[active] > MAX_FAILURES
        return converged | gave_up | (self.values[active] == 0)


def _bounds(data: SurfaceData) -> tuple[Array, Array]:
    lowest = data.lowest_log
    highest = float(np.log(data.L.max())) + 3.0
    return (
        np.array([lowest] * 3 + [EXPONENT_BOUNDS[0]] * 2 + [np.log(GAMMA_BOUNDS[0])]),
        np.array([highest] * 3 + [EXPONENT_BOUNDS[1]] * 2 + [np.log(GAMMA_BOUNDS[1])]),
    )


def _steps(
    theta: Array,
    around: Expansion,
    damping: Array,
    low: Array,
    high: Array,
    tied: bool,
    frozen: tuple[int, ...],
) -> tuple[Array, Array]:
    """Return Newton's step and that of reweighted least squares, and what each expects to gain.

    Returns
    -------
    steps : ndarray, shape (2, n_rows, 5)
    expected : ndarray, shape (2, n_rows)
    """
    gradient, hessian, gauss_newton = around.gradient, around.hessian, around.gauss_newton
    if tied:
        gradient, hessian, gauss_newton = (_tie(M) for M in (gradient, hessian, gauss_newton))
    # A parameter on its bound that would leave it stays
    fixed = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    if tied:
        fixed[:, 4] = True
    fixed[:, list(frozen)] = True
    free = ~fixed
    gradient = np.where(free, gradient, 0.0)
    diagonal = np.arange(theta.shape[1])
    scale = np.sqrt(np.maximum(gauss_newton[:, diagonal, diagonal], 1e-300))
    scale = np.where(free, np.maximum(scale, 1e-8 * scale.max(-1, keepdims=True)), 1.0)
    inverse = np.where(free, 1 / scale, 0.0)
    matrix = np.stack([hessian, gauss_newton])
    matrix *= inverse[:, :, np.newaxis] * inverse[:, np.newaxis, :]
    # Reweighted least squares are damped only where Newton's method is damped little
    ridge = np.stack([damping, np.minimum(damping, 1e-3)])[..., np.newaxis]
    matrix[..., diagonal, diagonal] += np.where(free, ridge, 1.0)
    scaled = gradient * inverse
    right = np.broadcast_to(scaled, (2, *scaled.shape))[..., np.newaxis]
    try:
        steps = -np.linalg.solve(matrix, right)[..., 0]
    except np.linalg.LinAlgError:
        # One singular matrix among many: along its null direction there is nothing to gain
        steps = -(np.linalg.pinv(matrix, hermitian=True) @ right)[..., 0]
    slope = (scaled * steps).sum(-1)
    # Uphill: an indefinite Hessian. The gradient's own direction leads down
    uphill = slope >= 0
    steps = np.where(uphill[..., np.newaxis], -scaled / (1 + ridge), steps)
    slope = np.where(uphill, (scaled * steps).sum(-1), slope)
    steps = steps * inverse
    if tied:
        steps[..., 4] = steps[..., 3]
    return steps, -slope / 2


def _tie(M: Array) -> Array:
    """Add the derivatives by beta to those by alpha."""
    M = M.copy()
    M[:, 3] += M[:, 4]
    if M.ndim == 3:
        M[:, :, 3] += M[:, :, 4]
    return M
