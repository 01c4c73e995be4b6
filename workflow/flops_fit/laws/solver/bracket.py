"""Derivatives of a surface whose terms stand in a bracket with an exponent.

L = E + (A/N^alpha + B/D^beta)^gamma. The solver works on what each term alone would be,
A^gamma/N^(alpha gamma) and B^gamma/D^(beta gamma): then gamma only says how softly the larger of
them passes into the other (the bracket is a norm of the two, with exponent 1/gamma), instead of
changing the size of both. With zA and zB their logs, w = z/gamma and u = log(e^wA + e^wB),

    log(L - E) = s = gamma u,   ds = qA dzA + qB dzB + H dgamma,
    d2s = (qA qB / gamma) v v',  v = dzA - dzB - (wA - wB) dgamma,

where qA = e^(wA - u), qB = 1 - qA, and H = -qA log qA - qB log qB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GAMMA = 5
"""Column of log gamma in the rows that the solver works on; rows without it have gamma = 1."""

GAMMA_BOUNDS = (0.1, 10.0)
"""Below, the larger term alone counts; above, both are so soft that any pair of exponents fits."""


@dataclass(frozen=True, slots=True)
class BracketTerms:
    """The terms of surfaces at runs, all of shape (n_rows, n_runs).

    Parameters
    ----------
    f : ndarray
        log Lhat.
    share : ndarray
        Of the bracket in Lhat; the rest is E's.
    qA, qB, H : ndarray
        Shares of A and B inside of the bracket, and their entropy.
    gap : ndarray
        zA - zB.
    gamma : ndarray, shape (n_rows, 1)
    """

    f: Array
    share: Array
    qA: Array
    qB: Array
    H: Array
    gap: Array
    gamma: Array

    @classmethod
    def of(cls, theta: Array, x: Array, y: Array) -> BracketTerms:
        """Evaluate `theta`, shape (n_rows, 6), at centred log N and log D, shape (n_runs,)."""
        log_A, log_B, log_E, alpha, beta, log_gamma = (theta[:, i, np.newaxis] for i in range(6))
        gamma = np.exp(log_gamma)
        zA, zB = log_A - alpha * x, log_B - beta * y
        gap = zA - zB
        log_qA, log_qB = -np.logaddexp(0.0, -gap / gamma), -np.logaddexp(0.0, gap / gamma)
        qA, qB = np.exp(log_qA), np.exp(log_qB)
        # gamma times the logarithm of a sum, as the larger term and what the other adds
        s = np.maximum(zA, zB) - gamma * np.maximum(log_qA, log_qB)
        f = np.logaddexp(log_E, s)
        return cls(f, np.exp(s - f), qA, qB, -qA * log_qA - qB * log_qB, gap, gamma)

    def jacobian(self, x: Array, y: Array) -> Array:
        """Return the derivatives of log Lhat by the columns of theta, (n_rows, n_runs, 6)."""
        J = self._bracket(x, y) * self.share[..., np.newaxis]
        J[..., 2] = 1 - self.share
        return J

    def curvature(self, weights: Array, x: Array, y: Array) -> Array:
        """Return the sums over runs of weights times the Hessian of log Lhat, (n_rows, 6, 6).

        Parameters
        ----------
        weights : ndarray, shape (n_rows, n_runs)
        """
        ds = self._bracket(x, y)
        apart = -ds
        apart[..., 2] += 1.0
        v = np.zeros_like(ds)
        v[..., 0], v[..., 1], v[..., 3], v[..., 4] = 1.0, -1.0, -x, y
        # By log gamma: gamma times the derivative by gamma
        v[..., GAMMA] = -self.gap
        inner = weights * self.share
        found = weighted_squares(apart, inner * (1 - self.share))
        found += weighted_squares(v, inner * self.qA * self.qB / self.gamma)
        found[:, GAMMA, GAMMA] += (inner * self.gamma * self.H).sum(-1)
        return found

    def _bracket(self, x: Array, y: Array) -> Array:
        """Return the derivatives of s."""
        columns = (self.qA, self.qB, np.zeros_like(self.qA), -self.qA * x, -self.qB * y)
        return np.stack([*columns, self.gamma * self.H], axis=-1)


def weighted_squares(J: Array, weights: Array) -> Array:
    """Return the sums over runs of weights J J', shape (n_rows, 6, 6)."""
    return np.swapaxes(J * weights[..., np.newaxis], -1, -2) @ J


def to_separate(rows: Array) -> Array:
    """Turn log A, log B, log E, alpha, beta, gamma into what the solver works on."""
    moved = rows.copy()
    gamma = rows[:, [GAMMA]]
    moved[:, [0, 1, 3, 4]] *= gamma
    moved[:, GAMMA] = np.log(rows[:, GAMMA])
    return moved


def from_separate(theta: Array) -> Array:
    """Undo `to_separate`."""
    rows = theta.copy()
    rows[:, GAMMA] = np.exp(theta[:, GAMMA])
    rows[:, [0, 1, 3, 4]] /= rows[:, [GAMMA]]
    return rows
