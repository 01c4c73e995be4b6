"""Weights of the runs in the parabola of an IsoFLOP profile.

All runs count the same, as in Hoffmann et al. 2022 (arXiv 2203.15556, section 3.2), unless their
profile holds an outlier: then runs count less the higher their losses are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from flops_fit.laws.forms.parabola import ParabolaDesign

Array = NDArray[np.float64]

OUTLIER = 4.0
"""Standard deviations beyond which a run is an outlier: of 45 runs with normal noise one lies
there in one study of 350."""

NORMAL_SCALE = 1 / float(norm.ppf(0.75))
"""Standard deviation over median absolute deviation of normal noise, 1.4826."""


@dataclass(frozen=True, slots=True)
class ResidualLimits:
    """How far from its parabola a run may lie: a run beyond both limits is an outlier.

    Noise is the same for the runs of all budgets. But a valley that is not a parabola leaves
    residuals in proportion to its depth, and the valleys of small budgets are the deepest.

    Parameters
    ----------
    residual : float
        Limit of the studentised residuals, in the unit of L.
    share : float
        Limit of these residuals as shares of the `depth` of their profile.
    """

    residual: float = np.inf
    share: float = np.inf

    def times(self, scale: float) -> ResidualLimits:
        """Return the limits of runs whose noise is `scale` times as large."""
        return self if scale == 1 else ResidualLimits(self.residual * scale, self.share)


def height_weights(L: Array) -> Array:
    """Return weights, between 0 and 1, that fade by the height above the lowest loss.

    w = 1 / (1 + (e/h)^2), where e is the excess of L over the lowest L and h its median: the
    weights of a Cauchy M-estimator (Holland and Welsch 1977, Commun. Stat. A 6) on that excess.

    Failed runs have high losses, and so do sizes so far from the best that the valley is not a
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
    profiles : iterable of (log_N, L)
        Of each profile, with three distinct sizes or more.
    """
    tested = [(ParabolaDesign.of(log_N), L) for log_N, L in profiles if L.size > 3]
    if not tested:
        return ResidualLimits()
    freedom = sum(L.size - 3 for _, L in tested)
    # Residuals within the rounding of L mean nothing
    rounding = 1e-12 * max(float(np.abs(L).max()) for _, L in tested) + np.finfo(float).tiny
    studentised = [design.studentised_residuals(L) for design, L in tested]
    plain = [design.residuals(L) for design, L in tested]
    depths = [max(depth(L), rounding) for _, L in tested]

    def limit(units: list[float]) -> float:
        sizes, residuals = (
            np.concatenate([values / unit for values, unit in zip(parts, units, strict=True)])
            for parts in (studentised, plain)
        )
        return _limit(np.abs(sizes), float((residuals**2).sum()), freedom)

    return ResidualLimits(residual=max(limit([1.0] * len(tested)), rounding), share=limit(depths))


def _limit(sizes: Array, squares: float, freedom: int) -> float:
    """Return the smaller of two limits, by two scales.

    One scale is the median of all residuals, which several outliers do not move. The other is the
    root mean square without the largest residual, with Student's distribution, which finds a single
    outlier among few runs.
    """
    limit = OUTLIER * NORMAL_SCALE * float(np.median(sizes))
    if freedom > 1:
        rest = max(squares - float(sizes.max()) ** 2, 0.0) / (freedom - 1)
        limit = min(limit, float(student_t.isf(norm.sf(OUTLIER), freedom - 1)) * rest**0.5)
    return limit


def profile_weights(log_N: Array, L: Array, limits: ResidualLimits) -> Array:
    """Return the weights of the runs of a profile.

    Parameters
    ----------
    log_N, L : ndarray, shape (n,)
    limits : ResidualLimits
        Of the study.

    Returns
    -------
    ndarray, shape (n,)
        1 for each run of a profile without an outlier, else `height_weights`.
    """
    size = np.abs(ParabolaDesign.of(log_N).studentised_residuals(L))
    outlier = (size > limits.residual) & (size > limits.share * depth(L))
    return height_weights(L) if outlier.any() else np.ones_like(L)
