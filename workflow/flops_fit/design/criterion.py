"""What an experiment would tell about the optimum at the target, before it is trained.

The variance of log N_opt and of log L_opt at the target is g' M^-1 g, with g their derivatives by
the parameters and M the information of the runs and of the prior. One run adds j j' / noise^2 to M,
with j the derivatives of its log L, so that the formula of Sherman and Morrison gives the variance
after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.posterior import Posterior
from flops_fit.laws.data.accounting import FlopsPerUnit

Array = NDArray[np.float64]

DRAWS = 5
"""The best parameters and four draws from the posterior, since the best experiment depends on what
is not known yet."""

EXPONENTS = (0.08, 1.2)
"""Draws with an exponent outside say nothing of any real law."""

PAIRS = 25
"""Antithetic pairs of draws among which those with sane exponents are sought."""


@lru_cache(maxsize=1)
def _normal_numbers() -> Array:
    """Return z, -z in turn, shape (2 PAIRS, 5): the same for all studies and rounds.

    So the choice is the same for the same runs, and hardly another one for almost the same runs.
    """
    z = np.random.default_rng(0).standard_normal((PAIRS, 5))
    return np.stack([z, -z], axis=1).reshape(-1, 5)


def posterior_draws(posterior: Posterior) -> Array:
    """Return the best parameters and draws around them, shape (at most 5, 5)."""
    root = np.linalg.cholesky(posterior.covariance)
    drawn = posterior.mean + _normal_numbers() @ root.T
    low, high = EXPONENTS
    sane = np.all((drawn[:, 3:] > low) & (drawn[:, 3:] < high), axis=1)
    return np.concatenate([posterior.mean[np.newaxis], drawn[sane][: DRAWS - 1]])


@dataclass(slots=True, kw_only=True)
class Criterion:
    """Mean over draws of (log Var log N_opt + log Var log L_opt) / 2 at the target.

    Parameters
    ----------
    rows : ndarray, shape (k, 5)
        Draws of the parameters.
    covariance : ndarray, shape (k, 5, 5)
        Of the parameters at each draw, with the runs so far.
    gradients : ndarray, shape (2, k, 5)
        Of log N_opt and of log L_opt at the target.
    noise : float
        Standard deviation of log L of a run.
    """

    rows: Array
    covariance: Array
    gradients: Array
    noise: float

    @classmethod
    def of(
        cls,
        rows: Array,
        posterior: Posterior,
        log_N: Array,
        log_D: Array,
        target: float,
        flops: FlopsPerUnit,
    ) -> Criterion:
        """Take the information from the runs at log N, log D, (n,) each, and the prior."""
        jacobian = log_loss(rows, log_N, log_D)[1] / posterior.noise
        precision = np.einsum("kmi,kmj->kij", jacobian, jacobian) + posterior.prior
        at = optimum_at(rows, [np.log(target)], flops)
        return cls(
            rows=rows,
            covariance=np.linalg.inv(precision),
            gradients=np.stack([at.of_N[:, 0], at.of_L[:, 0]]),
            noise=posterior.noise,
        )

    def directions(self, log_N: Array, log_D: Array) -> Array:
        """Return the derivatives of log L over the noise at cells, shape (k, m, 5)."""
        return log_loss(self.rows, log_N, log_D)[1] / self.noise

    def value(self) -> float:
        """Return the criterion with the runs so far."""
        moved = np.einsum("kij,tkj->tki", self.covariance, self.gradients)
        return self._mean_log(np.einsum("tki,tki->tk", self.gradients, moved)[..., np.newaxis])[0]

    def after(self, directions: Array) -> Array:
        """Return the criterion after each of m cells alone, shape (m,)."""
        known = np.einsum("kij,kmj->kmi", self.covariance, directions)
        gain = 1 + np.einsum("kmi,kmi->km", known, directions)
        moved = np.einsum("kij,tkj->tki", self.covariance, self.gradients)
        before = np.einsum("tki,tki->tk", self.gradients, moved)[..., np.newaxis]
        share = np.einsum("kmi,tki->tkm", known, self.gradients) ** 2 / gain
        return self._mean_log(before - share)

    def add(self, direction: Array) -> None:
        """Take a cell in, by its derivatives of shape (k, 5)."""
        known = np.einsum("kij,kj->ki", self.covariance, direction)
        gain = 1 + np.einsum("ki,ki->k", known, direction)
        self.covariance = (
            self.covariance
            - np.einsum("ki,kj->kij", known, known) / gain[:, np.newaxis, np.newaxis]
        )

    @staticmethod
    def _mean_log(variance: Array) -> Array:
        """Return the mean over both quantities and the draws of log variance, (2, k, m) to (m,)."""
        return np.log(np.maximum(variance, np.finfo(float).tiny)).mean(axis=(0, 1))


def choose(
    criterion: Criterion, directions: Array, costs: Array, runs_left: Array, spend: float
) -> list[int]:
    """Return cells, again and again the one that lowers the criterion most per FLOP.

    Parameters
    ----------
    criterion : Criterion
        Changed: it holds the chosen cells afterwards.
    directions : ndarray, shape (k, m, 5)
    costs : ndarray, shape (m,)
        FLOPs.
    runs_left : ndarray of int, shape (m,)
        How often each cell may still be chosen.
    spend : float
        FLOPs that all together may cost.
    """
    left, runs_left, chosen = spend, runs_left.copy(), []
    value = criterion.value()
    while True:
        allowed = (costs <= left) & (runs_left > 0)
        if not allowed.any():
            return chosen
        after = criterion.after(directions)
        gain = np.where(allowed, (value - after) / costs, -np.inf)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            return chosen
        criterion.add(directions[:, best])
        value, left = float(after[best]), left - float(costs[best])
        runs_left[best] -= 1
        chosen.append(best)
