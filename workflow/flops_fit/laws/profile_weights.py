"""How much each run counts in the parabola of its IsoFLOP profile.

All runs count the same, as in Hoffmann et al. 2022 (arXiv 2203.15556, section 3.2), as long as they
look like runs around parabolas. Where one of a profile does not, its runs fade by their height.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

Array = NDArray[np.float64]

WILD = 4.0
"""Standard deviations beyond which a run is one that no noise explains."""

MAX_LEVERAGE = 1 - 1e-9
"""A parabola passes through a run of more, whatever its loss: its residual tells nothing."""


@dataclass(frozen=True, slots=True)
class ResidualLimits:
    """How far from its parabola a run may lie: one that is beyond both limits is wild.

    Noise scatters the runs of all budgets alike. A valley that is no parabola leaves residuals in
    proportion to its depth, and the valleys of small budgets are the deepest.

    Parameters
    ----------
    residual : float
        Limit of the residuals of `studentised_residuals`, in the unit of L.
    share : float
        Limit of these residuals as shares of the `depth` of their profile.
    """

    residual: float = np.inf
    share: float = np.inf


def height_weights(L: Array) -> Array:
    """Return weights, between 0 and 1, that fade by the height above the lowest loss.

    w = 1 / (1 + (e/h)^2), where e is the excess of L over the lowest L and h its median.

    Runs that went wrong lie far up, and so do sizes so far from the best one that the valley is no
    parabola there. No run is dropped. The median makes the weights independent of the unit and the
    zero of L, and leaves half of the runs a weight of at least 1/2, so that noise at the bottom
    cannot single out a few.

    Parameters
    ----------
    L : ndarray, shape (..., n)
        Losses of one profile, or of one in each row.
    """
    excess, scale = L - L.min(-1, keepdims=True), depth(L)
    weights = 1 / (1 + (excess / np.where(scale > 0, scale, 1.0)) ** 2)
    return np.where(scale > 0, weights, 1.0)


def depth(L: Array) -> Array:
    """Return the median excess above the lowest loss, shape (..., 1)."""
    return np.median(L - L.min(-1, keepdims=True), axis=-1, keepdims=True)


def residual_limits(profiles: Iterable[tuple[Array, Array]]) -> ResidualLimits:
    """Return how far runs may lie from the parabolas of a study.

    Parameters
    ----------
    profiles : iterable of (u, L)
        log N, scaled as one likes, and the loss of each profile.
    """
    tested = [(u, L) for u, L in profiles if L.size > 3]
    if not tested:
        return ResidualLimits()
    freedom = sum(L.size - 3 for _, L in tested)
    # Nothing can be told from the rounding of L
    rounding = 1e-12 * max(float(np.abs(L).max()) for _, L in tested) + np.finfo(float).tiny
    studentised, plain, depths = [], [], []
    for u, L in tested:
        residual, leverage = _residuals(u, L)
        told = leverage < MAX_LEVERAGE
        studentised.append(residual[told] / np.sqrt(1 - leverage[told]))
        plain.append(residual)
        depths.append(max(float(depth(L)[0]), rounding))
    shares = [
        [values / own for values, own in zip(parts, depths, strict=True)]
        for parts in (studentised, plain)
    ]
    return ResidualLimits(
        residual=max(_limit(studentised, plain, freedom), rounding),
        share=_limit(*shares, freedom),
    )


def _limit(studentised: list[Array], plain: list[Array], freedom: int) -> float:
    """Ask two scales for a limit and return the smaller one.

    The median of all residuals is one that several wild runs do not move; the root mean square
    without the largest, by Student's distribution, tells a single wild run where there are few.
    """
    sizes = np.abs(np.concatenate(studentised))
    limit = WILD * 1.4826 * float(np.median(sizes))
    if freedom > 1:
        squares = float((np.concatenate(plain) ** 2).sum())
        rest = max(squares - float(sizes.max()) ** 2, 0.0) / (freedom - 1)
        limit = min(limit, float(student_t.isf(norm.sf(WILD), freedom - 1)) * rest**0.5)
    return limit


def studentised_residuals(u: Array, L: Array) -> Array:
    """Return the residuals of unweighted parabolas, each over sqrt(1 - leverage).

    So all have the variance of the noise, the ends of a profile too, to which its parabola bends.

    Parameters
    ----------
    u, L : ndarray, shape (..., n)
        log N, and the loss.
    """
    residual, leverage = _residuals(u, L)
    free = leverage < MAX_LEVERAGE
    return np.where(free, residual, 0.0) / np.sqrt(np.where(free, 1 - leverage, 1.0))


def _residuals(u: Array, L: Array) -> tuple[Array, Array]:
    middle = (u.max(-1, keepdims=True) + u.min(-1, keepdims=True)) / 2
    half = np.ptp(u, axis=-1, keepdims=True) / 2
    v = (u - middle) / np.where(half > 0, half, 1.0)
    X = np.stack([np.ones_like(v), v, v * v], axis=-1)
    # By orthogonal columns; where sizes repeat so that some are missing, they are zero
    U, sizes, _ = np.linalg.svd(X, full_matrices=False)
    U = np.where(sizes[..., np.newaxis, :] > 1e-9 * sizes[..., :1, np.newaxis], U, 0.0)
    centred = L - L.mean(-1, keepdims=True)
    fitted = (U @ (np.swapaxes(U, -1, -2) @ centred[..., np.newaxis]))[..., 0]
    return centred - fitted, (U**2).sum(-1)


def profile_weights(u: Array, L: Array, limits: ResidualLimits) -> Array:
    """Return the weights of the runs of a profile, or of one in each row.

    Parameters
    ----------
    u, L : ndarray, shape (..., n)
        log N, and the loss.
    limits : ResidualLimits
        Of the study.

    Returns
    -------
    ndarray, shape (..., n)
        1 for each run of a profile without a wild one, else `height_weights`.
    """
    size = np.abs(studentised_residuals(u, L))
    wild = (size > limits.residual) & (size > limits.share * depth(L))
    return np.where(wild.any(-1, keepdims=True), height_weights(L), 1.0)
