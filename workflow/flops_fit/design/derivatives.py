"""log L of a surface, and the optimum at a compute, with their derivatives by the parameters.

A row of parameters is log A, log B, log E, alpha, beta of L = E + A/N^alpha + B/D^beta (Hoffmann et
al. 2022, arXiv 2203.15556, equation 2). Everything here is for many rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.surface import optimal_log_N

Array = NDArray[np.float64]

KINK = 0.1
"""e-folds of N to either side over which the slope of flops_per_unit is taken, since it is known at
the sizes alone and has kinks there."""


def log_loss(rows: Array, log_N: Array, log_D: Array) -> tuple[Array, Array]:
    """Return log L and its derivatives by the parameters.

    Parameters
    ----------
    rows : ndarray, shape (..., 5)
    log_N, log_D : ndarray, shape (m,)

    Returns
    -------
    log_L : ndarray, shape (..., m)
    jacobian : ndarray, shape (..., m, 5)
    """
    log_A, log_B, log_E, alpha, beta = np.moveaxis(rows[..., np.newaxis], -2, 0)
    terms = np.stack(
        np.broadcast_arrays(log_A - alpha * log_N, log_B - beta * log_D, log_E), axis=-1
    )
    highest = terms.max(axis=-1, keepdims=True)
    shares = np.exp(terms - highest)
    total = shares.sum(axis=-1, keepdims=True)
    shares /= total
    jacobian = np.empty((*shares.shape[:-1], 5))
    jacobian[..., :3] = shares
    jacobian[..., 3] = -shares[..., 0] * log_N
    jacobian[..., 4] = -shares[..., 1] * log_D
    return (highest + np.log(total))[..., 0], jacobian


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimumAt:
    """The optimum of each row at each compute.

    Parameters
    ----------
    log_N, log_L : ndarray, shape (k, t)
    of_N, of_L : ndarray, shape (k, t, 5)
        Derivatives of log N_opt and of log L_opt by the parameters.
    """

    log_N: Array
    log_L: Array
    of_N: Array
    of_L: Array


def optimum_at(rows: Array, log_C: ArrayLike, flops: FlopsPerUnit) -> OptimumAt:
    """Return the optimum along D = C / flops_per_unit(N), with its derivatives.

    With a = A N^-alpha, b = B D^-beta and s the slope of log flops_per_unit against log N, the loss
    along that path is lowest where alpha a = beta s b, and curved by alpha^2 a + (beta s)^2 b. The
    derivatives of N_opt follow from the implicit function theorem, those of L_opt are the partial
    ones (the envelope theorem).

    Parameters
    ----------
    rows : ndarray, shape (k, 5)
    log_C : array_like, shape (t,)
    """
    log_C = np.asarray(log_C, dtype=float)
    log_N = optimal_log_N(rows, np.exp(log_C), flops)
    log_cost = np.log(flops.flops_per_unit(np.exp(log_N)))
    above, below = (np.log(flops.flops_per_unit(np.exp(log_N + by))) for by in (KINK, -KINK))
    slope = (above - below) / (2 * KINK)
    log_D = log_C - log_cost
    log_A, log_B, log_E, alpha, beta = (rows[:, i, np.newaxis] for i in range(5))
    a, b = np.exp(log_A - alpha * log_N), np.exp(log_B - beta * log_D)
    E = np.exp(log_E)
    curvature = alpha**2 * a + (beta * slope) ** 2 * b
    moved = (-alpha * a, beta * slope * b, 0 * a, (alpha * log_N - 1) * a, slope * b)
    of_N = -np.stack([*moved[:4], moved[4] * (1 - beta * log_D)], axis=-1)
    L = E + a + b
    of_L = np.stack([a, b, np.broadcast_to(E, a.shape), -log_N * a, -log_D * b], axis=-1)
    return OptimumAt(
        log_N=log_N,
        log_L=np.log(L),
        of_N=of_N / curvature[..., np.newaxis],
        of_L=of_L / L[..., np.newaxis],
    )
