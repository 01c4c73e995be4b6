"""The IsoFLOP profile of one budget: its parabola, and its optima under resampled noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from flops_fit.laws.data.noise import Noise
from flops_fit.laws.forms.parabola import ParabolaDesign, has_minimum
from flops_fit.laws.forms.profile_weights import ResidualLimits, profile_weights, residual_limits
from flops_fit.laws.results import Profile

Array = NDArray[np.float64]

MAX_REACH = 1.0
"""A vertex is used up to this many ranges of log N outside its profile; beyond, the profile is a
mere slope, and noise decides where its parabola turns."""


def fit_profile(
    C: float,
    N: ArrayLike,
    L: ArrayLike,
    *,
    noise: Noise | None = None,
    limits: ResidualLimits | None = None,
) -> Profile:
    """Fit a parabola in log N to the runs of one budget by least squares.

    If the profile holds an outlier, the squares are weighted by `profile_weights`. Otherwise the
    vertex has the bias of a parabola fitted to a valley of another shape. For the valley of a
    surface and a grid of sizes that follows the optimum, that bias is a constant factor in N, so
    the exponent is exact (arXiv 2603.22339).

    Parameters
    ----------
    C : float
        Compute of the profile, FLOPs.
    N, L : array_like, shape (n,)
        Parameters, and validation loss in nats per unit; replicates are separate points.
    noise : Noise, optional
        Of log L, from `replicate_noise`.
    limits : ResidualLimits, optional
        How far a run may lie from its parabola, from the `residual_limits` of all profiles of
        the study; without it from those of this profile.

    Raises
    ------
    ValueError
        If fewer than three N are distinct.
    """
    N, L = np.asarray(N, dtype=float), np.asarray(L, dtype=float)
    log_N = np.log(N)
    plain = ParabolaDesign.of(log_N)
    if limits is None:
        limits = residual_limits([(log_N, L)])
    weights = profile_weights(log_N, L, limits)
    design = plain if weights.min() == 1 else ParabolaDesign.of(log_N, weights)
    parabola = design.fit(L)
    squares = float((design.residuals(L) ** 2).sum())
    mean = (weights * L).sum() / weights.sum()
    spread = float((weights * (L - mean) ** 2).sum())
    return Profile(
        C=float(C),
        N=N,
        L=L,
        weights=weights,
        log_N_center=design.centre,
        coefficients=tuple(parabola.coefficients.tolist()),
        curvature_p_value=_curvature_p_value(design, L, noise),
        r_squared=1 - squares / spread if np.ptp(L) > 1e-14 * np.abs(L).max() else None,
    )


def _curvature_p_value(design: ParabolaDesign, L: Array, noise: Noise | None) -> float | None:
    """Return the p-value of a one-sided t-test that the curvature is positive.

    If the study holds replicates, their pooled scatter is the noise, with its degrees of freedom.
    Otherwise weights are read as relative precisions, and the noise is that of the weighted
    residuals, with n - 3 degrees of freedom; None if there are none.
    """
    if noise is None:
        freedom = L.size - 3
        if freedom < 1:
            return None
        variances = (design.residuals(L) ** 2).sum() / freedom / design.weights
    else:
        freedom = noise.freedom
        variances = np.full(L.size, noise.variance * L.mean() ** 2)
    standard_error = np.sqrt(design.covariance(variances)[2, 2])
    # Noise-free data may leave no residual at all: no error is below the rounding of L
    rounding = np.spacing(np.abs(L).max()) / design.half_range**2
    ratio = design.fit(L).coefficients[2] / max(standard_error, rounding)
    return float(student_t.sf(ratio, freedom))


def resampled_optima(
    profiles: Sequence[Profile],
    n_rows: int,
    rng: np.random.Generator,
    limits: ResidualLimits,
    *,
    positive: bool = True,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return log N_opt and L_opt of resampled profiles, each (n_rows, n_profiles), and their mask.

    Residuals are drawn with replacement from all profiles, each divided by sqrt(1 - leverage) and
    on the scale of its weight, and refitted with the weights of the profile. Outliers are not
    drawn: another sweep would have detected them, too. Whole runs are not drawn: the sizes are
    planned, not random, and a resample without its outer sizes has a vertex that no sweep would
    give. Optima are of use as `reachable_optima` says.
    """
    designs = [ParabolaDesign.of(np.log(profile.N), profile.weights) for profile in profiles]
    pool = np.concatenate(
        [
            _residuals(profile, design, limits.residual)
            for profile, design in zip(profiles, designs, strict=True)
        ]
    )
    if not pool.size:  # parabolas through three runs each: there are no residuals to draw
        pool = np.zeros(1)
    columns = []
    for profile, design in zip(profiles, designs, strict=True):
        noise = pool[rng.integers(0, pool.size, size=(n_rows, profile.N.size))]
        L = profile.parabola.at(np.log(profile.N)) + noise / np.sqrt(profile.weights)
        columns.append(reachable_optima(design, L, positive=positive))
    log_N, lowest, usable = (np.stack(parts, axis=-1) for parts in zip(*columns, strict=True))
    return log_N, lowest, usable


def reachable_optima(
    design: ParabolaDesign, L: Array, *, positive: bool = True
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return log N_opt and L_opt of losses `L`, shape (n_rows, n), and whether they are of use.

    They are of use if the parabola opens upwards, its vertex lies within `MAX_REACH` of the sizes,
    and, where losses are `positive`, its lowest loss is so too. Other optima are replaced by the
    middle of the sizes, to stay within the range of floats.
    """
    parabola = design.fit(L)
    vertex, lowest = parabola.vertex, parabola.lowest
    within = np.abs(vertex - design.centre) <= (1 + 2 * MAX_REACH) * design.half_range
    usable = has_minimum(parabola.coefficients, design.half_range, L) & within
    if positive:
        usable &= lowest > 0
    return np.where(usable, vertex, design.centre), np.where(usable, lowest, 1.0), usable


def _residuals(profile: Profile, design: ParabolaDesign, limit: float) -> Array:
    """Return a profile's centred studentised residuals, without outliers."""
    residual = design.studentised_residuals(profile.L)
    if profile.weights.min() < 1:
        residual = residual[np.abs(residual) <= limit]
    return residual - residual.mean() if residual.size else residual
