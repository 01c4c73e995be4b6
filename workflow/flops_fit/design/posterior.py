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

SETTLED = 3
"""Times that the noise is taken from the residuals and the search goes on with it."""

ITERATIONS = 60
CONVERGED = 1e-9
MOST_DAMPED = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOptimum:
    """What is expected of N_opt at one compute before the first run.

    Parameters
    ----------
    log_C, log_N, std : float
        N_opt there, natural logs, and its standard deviation.
    log_k : float
        Log of flops_per_unit / N about that N.
    """

    log_C: float
    log_N: float
    std: float
    log_k: float

    def at(self, row: Array) -> tuple[float, Array]:
        """Return (log N_opt - log N) / std of a row of parameters, and its derivatives, (5,).

        N_opt = (alpha A / (beta B))^(1 / (alpha + beta)) (C / k)^(beta / (alpha + beta)).
        """
        log_A, log_B, _, alpha, beta = row
        log_D_N = self.log_C - self.log_k
        total = alpha + beta
        log_N = (log_A + np.log(alpha / beta) - log_B + beta * log_D_N) / total
        slope = [1.0, -1.0, 0.0, 1 / alpha - log_N, log_D_N - 1 / beta - log_N]
        return (log_N - self.log_N) / self.std, np.array(slope) / total / self.std


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


def fit_posterior(
    log_N: Array, log_D: Array, L: Array, expected: ExpectedOptimum | None = None
) -> Posterior:
    """Return the surface through the runs, and how sure it is.

    Minimises sum (log L - log Lhat)^2 / noise^2 plus the squares of the prior; the noise comes from
    the residuals.

    Parameters
    ----------
    log_N, log_D, L : ndarray, shape (n,)
        L in nats per unit, positive.
    expected : ExpectedOptimum, optional
        Counts as one more observation, of the optimum.
    """
    middle = np.array([log_N.mean(), log_D.mean()])
    mean, to_centred = _weak_prior(middle, L)
    prior_std = np.array([TERM_STD, TERM_STD, E_STD, EXPONENT_STD, EXPONENT_STD])
    from_centred = np.linalg.inv(to_centred)
    search = _Search(
        x=log_N - middle[0],
        y=log_D - middle[1],
        log_L=np.log(L),
        mean=mean,
        std=prior_std,
        expected=expected,
        from_centred=from_centred,
    )
    noise = NOISE
    fits = [search.minimum(np.array([*mean[:3], *start]), noise) for start in STARTS]
    found, _ = min(fits, key=lambda fit: fit[1])
    for _ in range(SETTLED):
        found, _ = search.minimum(found, noise)
        residual = search.residuals(found)
        squares = float(residual @ residual) + NOISE_FREEDOM * NOISE**2
        freedom = max(L.size - 5, 0) + NOISE_FREEDOM
        noise = max(float(np.sqrt(squares / freedom)), LEAST_NOISE)
    precision, assumed = search.precision(found, noise)
    return Posterior(
        mean=from_centred @ found,
        covariance=from_centred @ np.linalg.inv(precision) @ from_centred.T,
        noise=noise,
        prior=to_centred.T @ assumed @ to_centred,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The search for the best centred parameters."""

    x: Array
    y: Array
    log_L: Array
    mean: Array
    std: Array
    expected: ExpectedOptimum | None
    from_centred: Array

    def residuals(self, row: Array) -> Array:
        """Return log Lhat - log L of the runs, (n,)."""
        return log_loss(row, self.x, self.y)[0] - self.log_L

    def precision(self, row: Array, noise: float) -> tuple[Array, Array]:
        """Return the inverse covariance of the parameters, and the part that is assumed."""
        jacobian = log_loss(row, self.x, self.y)[1] / noise
        assumed = np.diag(self.std**-2)
        if self.expected is not None:
            slope = self._optimum(row)[1]
            assumed += np.outer(slope, slope)
        return jacobian.T @ jacobian + assumed, assumed

    def minimum(self, row: Array, noise: float) -> tuple[Array, float]:
        """Return parameters and objective by Levenberg and Marquardt from a start."""
        residual, jacobian = self._rows(row, noise)
        value, damping = float(residual @ residual), 1e-3
        for _ in range(ITERATIONS):
            hessian = jacobian.T @ jacobian
            damped = hessian + damping * np.diag(np.diag(hessian))
            moved = row - np.linalg.solve(damped, jacobian.T @ residual)
            moved[3:] = np.clip(moved[3:], LEAST_EXPONENT, LARGEST_EXPONENT)
            there, slope = self._rows(moved, noise)
            gain = value - float(there @ there)
            if gain >= 0:
                row, residual, jacobian, value = moved, there, slope, value - gain
                damping = max(damping * 0.2, 1e-9)
                if gain < CONVERGED * max(value, 1.0):
                    break
            else:
                damping *= 8
                if damping > MOST_DAMPED:
                    break
        return row, value

    def _rows(self, row: Array, noise: float) -> tuple[Array, Array]:
        """Return residuals over their standard deviations, of runs and prior, and derivatives."""
        fitted, jacobian = log_loss(row, self.x, self.y)
        residual = [(fitted - self.log_L) / noise, (row - self.mean) / self.std]
        slopes = [jacobian / noise, np.diag(1 / self.std)]
        if self.expected is not None:
            away, slope = self._optimum(row)
            residual.append(np.array([away]))
            slopes.append(slope[np.newaxis])
        return np.concatenate(residual), np.concatenate(slopes)

    def _optimum(self, row: Array) -> tuple[float, Array]:
        away, slope = self.expected.at(self.from_centred @ row)
        return away, slope @ self.from_centred
