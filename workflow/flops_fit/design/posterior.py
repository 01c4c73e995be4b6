"""The law as the runs so far leave it: relative least squares with a weak prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.derivatives import log_loss

Array = NDArray[np.float64]

EXPONENT, EXPONENT_STD = 0.38, 0.15
"""Prior of alpha and of beta: published fits lie between 0.25 and 0.5 (Hoffmann et al. 2022, arXiv
2203.15556; arXiv 2404.10102; Llama 3, arXiv 2407.21783)."""

E_SHARE, E_STD = 0.7, 0.5
"""Prior of E: its share of the lowest loss, and the standard deviation of its log."""

TERM_STD = 1.0
"""Standard deviation of the logs of A/N^alpha and of B/D^beta at the middle of the runs."""

NOISE, NOISE_FREEDOM, LEAST_NOISE = 0.003, 2.0, 0.001
"""Standard deviation of log L that is assumed before the first run, the runs that this assumption
counts as much as, and the least one. Public sweeps have 0.2% to 0.8%, two seeds of one model differ
by 0.1% (`laws/answer/priors.py`)."""

LEAST_EXPONENT, LARGEST_EXPONENT = 0.03, 2.0
STARTS = ((0.38, 0.38), (0.5, 0.28), (0.28, 0.5))
"""alpha, beta that the search starts from."""

ITERATIONS = 60
CONVERGED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A normal approximation around the best parameters.

    Parameters
    ----------
    mean : ndarray, shape (5,)
        log A, log B, log E, alpha, beta.
    covariance : ndarray, shape (5, 5)
    noise : float
        Standard deviation of log L of one run about the surface.
    prior : ndarray, shape (5, 5)
        Precision that the weak prior adds to that of the runs.
    """

    mean: Array
    covariance: Array
    noise: float
    prior: Array


def fit_posterior(log_N: Array, log_D: Array, L: Array) -> Posterior:
    """Return the surface through the runs, and how sure it is.

    Minimises sum (log L - log Lhat)^2 / noise^2 plus the prior's squares; the noise comes from the
    residuals of a first fit.

    Parameters
    ----------
    log_N, log_D, L : ndarray, shape (n,)
        L in nats per unit, positive.
    """
    middle = np.array([log_N.mean(), log_D.mean()])
    mean, to_centred = _weak_prior(middle, L)
    prior_std = np.array([TERM_STD, TERM_STD, E_STD, EXPONENT_STD, EXPONENT_STD])
    x, y, log_L = log_N - middle[0], log_D - middle[1], np.log(L)
    noise = NOISE
    for _ in range(2):
        fits = [_search(x, y, log_L, mean, prior_std, noise, np.array(s)) for s in STARTS]
        found, residual, _ = min(fits, key=lambda fit: fit[2])
        squares = float(residual @ residual) + NOISE_FREEDOM * NOISE**2
        freedom = max(L.size - 5, 0) + NOISE_FREEDOM
        noise = max(float(np.sqrt(squares / freedom)), LEAST_NOISE)
    jacobian = log_loss(found, x, y)[1]
    precision = jacobian.T @ jacobian / noise**2 + np.diag(prior_std**-2)
    from_centred = np.linalg.inv(to_centred)
    return Posterior(
        mean=from_centred @ found,
        covariance=from_centred @ np.linalg.inv(precision) @ from_centred.T,
        noise=noise,
        prior=to_centred.T @ np.diag(prior_std**-2) @ to_centred,
    )


def _weak_prior(middle: Array, L: Array) -> tuple[Array, Array]:
    """Return the prior's mean in centred parameters, and the matrix that centres parameters.

    Centred, log A and log B are the logs of the two terms at the middle of the runs.
    """
    lowest = float(L.min())
    term = np.log((float(L.mean()) - E_SHARE * lowest) / 2)
    mean = np.array([term, term, np.log(E_SHARE * lowest), EXPONENT, EXPONENT])
    to_centred = np.eye(5)
    to_centred[0, 3], to_centred[1, 4] = -middle
    return mean, to_centred


def _search(
    x: Array, y: Array, log_L: Array, mean: Array, std: Array, noise: float, exponents: Array
) -> tuple[Array, Array, float]:
    """Return parameters, residuals and objective by Levenberg and Marquardt from one start."""

    def at(row: Array) -> tuple[Array, Array, float]:
        fitted, jacobian = log_loss(row, x, y)
        residual = fitted - log_L
        away = (row - mean) / std
        return residual, jacobian, float(residual @ residual) / noise**2 + float(away @ away)

    row = np.array([*mean[:3], *exponents])
    residual, jacobian, value = at(row)
    damping = 1e-3
    for _ in range(ITERATIONS):
        hessian = jacobian.T @ jacobian / noise**2 + np.diag(std**-2)
        slope = jacobian.T @ residual / noise**2 + (row - mean) / std**2
        step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -slope)
        moved = row + step
        moved[3:] = np.clip(moved[3:], LEAST_EXPONENT, LARGEST_EXPONENT)
        there = at(moved)
        if there[2] <= value:
            gain = value - there[2]
            row, (residual, jacobian, value) = moved, there
            damping = max(damping * 0.2, 1e-9)
            if gain < CONVERGED * max(value, 1.0):
                break
        else:
            damping *= 8
            if damping > 1e8:
                break
    return row, residual, value
