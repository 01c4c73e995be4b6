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
    L : ndarray, shape (n,)
        Losses of one profile.
    """
    scale = depth(L)
    return 1 / (1 + ((L - L.min()) / scale) ** 2) if scale > 0 else np.ones_like(L)


def depth(L: Array) -> float:
    """Return the median excess above the lowest loss."""
    return float(np.median(L - L.min()))


def residual_limits(profiles: Iterable[tuple[Array, Array]]) -> ResidualLimits:
    """Return how far runs may lie from the parabolas of a study.

    Parameters
    ----------
    profiles : iterable of (u, L)
        log N, scaled as one likes, and the loss of each profile, with three distinct sizes or more.
    """
    tested = [(u, L) for u, L in profiles if L.size > 3]
    if not tested:
        return ResidualLimits()
    freedom = sum(L.size - 3 for _, L in tested)
    # Nothing can be told from the rounding of L
    rounding = 1e-12 * max(float(np.abs(L).max()) for _, L in tested) + np.finfo(float).tiny
    studentised = [studentised_residuals(u, L) for u, L in tested]
    plain = [parabola_residuals(u, L)[0] for u, L in tested]
    depths = [max(depth(L), rounding) for _, L in tested]

    def limit(units: list[float]) -> float:
        sizes, residuals = (
            np.concatenate([values / unit for values, unit in zip(parts, units, strict=True)])
            for parts in (studentised, plain)
        )
        return _limit(np.abs(sizes), float((residuals**2).sum()), freedom)

    return ResidualLimits(residual=max(limit([1.0] * len(tested)), rounding), share=limit(depths))


def _limit(sizes: Array, squares: float, freedom: int) -> float:
    """Ask two scales for a limit and return the smaller one.

    The median of all residuals is one that several wild runs do not move; the root mean square
    without the largest, by Student's distribution, tells a single wild run where there are few.
    """
    limit = WILD * 1.4826 * float(np.median(sizes))
    if freedom > 1:
        rest = max(squares - float(sizes.max()) ** 2, 0.0) / (freedom - 1)
        limit = min(limit, float(student_t.isf(norm.sf(WILD), freedom - 1)) * rest**0.5)
    return limit


def studentised_residuals(u: Array, L: Array, weights: Array | None = None) -> Array:
    """Return the residuals of a parabola, each over sqrt(1 - leverage), of all runs that have one.

    So all have the variance of the noise, the ends of a profile too, to which its parabola bends.
    Left out are runs that it passes through, whatever their losses.

    Parameters
    ----------
    u, L, weights
        As of `parabola_residuals`.
    """
    residual, leverage = parabola_residuals(u, L, weights)
    told = leverage < MAX_LEVERAGE
    return residual[told] / np.sqrt(1 - leverage[told])


def parabola_residuals(u: Array, L: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Return the residuals of a least-squares parabola, by the roots of the weights, and leverages.

    Parameters
    ----------
    u, L : ndarray, shape (n,)
        log N, scaled as one likes, and the loss.
    weights : ndarray, shape (n,), optional
        1 each without.
    """
    root = np.ones_like(L) if weights is None else np.sqrt(weights)
    scaled = (u - (u.max() + u.min()) / 2) / (np.ptp(u) / 2)
    Q, _ = np.linalg.qr(root[:, np.newaxis] * np.vander(scaled, 3))
    centred = root * (L - L.mean())
    return centred - Q @ (Q.T @ centred), (Q**2).sum(-1)


def profile_weights(u: Array, L: Array, limits: ResidualLimits) -> Array:
    """Return the weights of the runs of a profile.

    Parameters
    ----------
    u, L : ndarray, shape (n,)
        log N, and the loss.
    limits : ResidualLimits
        Of the study.

    Returns
    -------
    ndarray, shape (n,)
        1 for each run of a profile without a wild one, else `height_weights`.
    """
    size = np.abs(studentised_residuals(u, L))
    wild = (size > limits.residual) & (size > limits.share * depth(L))
    return height_weights(L) if wild.any() else np.ones_like(L)
