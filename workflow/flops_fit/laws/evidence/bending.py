"""Whether runs bend within their budgets in a way that no surface follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from flops_fit.laws.data.noise import Noise

Array = NDArray[np.float64]

MIN_SIZES_TO_BEND = 4
"""Fewest sizes of a budget for which a quadratic in log N does not pass through all of them."""

MAX_TESTED = 200_000
"""Most runs times budgets that are tested: the test decomposes such a matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bending:
    """An F-test of a quadratic in log N per budget, fitted to what a surface leaves.

    Parameters
    ----------
    F, p_value : float
    freedom : (int, int)
        Degrees of freedom of the curves and of the noise.
    excess : float
        Sum of squares that the curves explain beyond the noise.
    """

    F: float
    freedom: tuple[int, int]
    p_value: float
    excess: float


def bending_of(
    jacobian: Array, log_N: Array, budget: Array, residual: Array, scale: Array, noise: Noise | None
) -> Bending | None:
    """Return the test, or None where no budget has sizes enough or no freedom is left.

    Outliers inflate the noise, which makes the test less sensitive, not more.

    Parameters
    ----------
    jacobian : ndarray, shape (n, p)
        Derivatives of log Lhat over `scale` by what was searched.
    log_N, budget : ndarray, shape (n,)
    residual : ndarray, shape (n,)
        (log L - log Lhat) / scale.
    scale : ndarray, shape (n,)
        Of the noise of each run.
    noise : Noise, optional
        Of replicates; without it the noise is what the curves leave.
    """
    blocks, budgets = [], np.unique(budget)
    if residual.size * budgets.size > MAX_TESTED:
        return None
    for own in (budget == value for value in budgets):
        u = log_N[own]
        if np.unique(u).size < MIN_SIZES_TO_BEND:
            continue
        block = np.zeros((residual.size, 3))
        block[own] = np.vander((u - u.mean()) / np.ptp(u), 3)
        blocks.append(block / scale[:, np.newaxis])
    if not blocks:
        return None
    J = jacobian[:, np.any(jacobian != 0, axis=0)]
    J = J / np.linalg.norm(J, axis=0)
    left, singular, _ = np.linalg.svd(np.column_stack([J, *blocks]), full_matrices=False)
    left = left[:, singular > 1e-8 * singular[0]]
    small, _ = np.linalg.qr(J)
    rest_small = float(((residual - small @ (small.T @ residual)) ** 2).sum())
    rest_full = float(((residual - left @ (left.T @ residual)) ** 2).sum())
    freedom = (left.shape[1] - int(np.linalg.matrix_rank(J)), residual.size - left.shape[1])
    if noise is not None:
        freedom = (freedom[0], noise.freedom)
    if min(freedom) < 1 or rest_full <= 0:
        return None
    variance = rest_full / freedom[1] if noise is None else noise.variance
    F = (rest_small - rest_full) / freedom[0] / variance
    return Bending(
        F=F,
        freedom=freedom,
        p_value=float(f_distribution.sf(F, *freedom)),
        excess=rest_small - rest_full - freedom[0] * variance,
    )
