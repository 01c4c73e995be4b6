"""The optimum of each budget, as a smooth function of the losses.

Approach 2 takes the vertex of a parabola and drops those without one; here runs far from the
minimum and outlying runs fade instead of being cut off, budgets lend each other their curvature and
their noise, and a minimum near or beyond the edge of the sizes has a large standard error. So
nothing jumps when a loss changes a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.answer.optimum import (
    Optimum,
    kept_positive,
    outlier_weights,
    pooled_variance,
)
from flops_fit.laws.answer.priors import ValleyPriors
from flops_fit.laws.forms.parabola import MIN_SIZES, ParabolaDesign, has_minimum

Array = NDArray[np.float64]

ITERATIONS = 12
"""A fixed number, so that the result is a smooth function of the losses; four suffice mostly."""

STARTS = 3
"""Rounds in which the typical curvature settles before the first fit."""

TINY = 1e-9
"""Added to the diagonal of normal equations, so that budgets of few sizes can be solved for."""

START_SHARE = 0.25
START_DEPTH = 0.01
"""The search starts at the mean log N, weighted by exp(-excess / scale); the scale is this share of
the median excess over the lowest loss and this share of the loss."""


@dataclass(slots=True, kw_only=True)
class Valley:
    """One budget while it is fitted: y = c0 + c1 x + c2 x^2 with x = log N - middle."""

    log_C: float
    log_N: Array
    y: Array
    """L / scale."""
    middle: float
    known: Array
    """Weights of the runs by their outlyingness, (n,)."""
    near: Array = None
    """Weights by their distance."""
    coefficients: Array = None
    curvature: float = 0.0
    """c2, kept positive."""
    step: float = 0.0
    """From the middle to the vertex."""
    squares: float = 0.0
    freedom: float = 0.0
    variance: float = 0.0

    @property
    def weights(self) -> Array:
        return self.near * self.known

    @property
    def is_pair(self) -> bool:
        """Whether its curvature is that of the other budgets."""
        return np.unique(self.log_N).size < MIN_SIZES

    def design(self) -> Array:
        """Return 1, x, x^2, shape (n, 3)."""
        x = self.log_N - self.middle
        return np.stack([np.ones_like(x), x, x * x], axis=-1)

    def precision(self, variance: float, curvature_std: float) -> Array:
        """Return the inverse covariance of the coefficients, shape (3, 3)."""
        X = self.design()
        found = (X * self.weights[:, np.newaxis]).T @ X / variance
        found[2, 2] += curvature_std**-2
        return found + TINY * np.eye(3)


def find_optima(
    budgets: Sequence[tuple[float, Array, Array]], priors: ValleyPriors, *, positive: bool
) -> tuple[tuple[Optimum, ...], float]:
    """Return the optimum of each budget, and the standard error that all log N_opt share.

    Parameters
    ----------
    budgets : sequence of (log C, log N, L)
        log N and L of shape (n,), two distinct sizes at least, and three at one budget at least.
    positive : bool
        Whether noise and curvature are in proportion to the loss; else, where losses may be
        negative, to the range of the losses.

    Returns
    -------
    optima : tuple of Optimum
        In the order of the budgets.
    common : float
        Of the correction for the asymmetry of the valleys.
    """
    scales = _scales([L for _, _, L in budgets], positive=positive)
    valleys = [
        _started(log_C, log_N, L / scale)
        for (log_C, log_N, L), scale in zip(budgets, scales, strict=True)
    ]
    typical, variance = priors.curvature, 4 * priors.noise**2
    for valley in valleys:
        valley.near = _near(valley, priors)
    # Before noise is estimated: a valley far steeper than expected would be taken for noise
    for _ in range(STARTS):
        typical = _typical_curvature(valleys, typical, variance, priors)
    for _ in range(ITERATIONS):
        lent = _lent_curvatures(valleys, typical, variance, priors)
        for valley, curvature in zip(valleys, lent, strict=True):
            _fit(valley, curvature, variance, priors)
        variance = pooled_variance(
            sum(valley.squares for valley in valleys),
            sum(valley.freedom for valley in valleys),
            priors.noise**2,
            priors.noise_freedom,
        )
        typical = _typical_curvature(valleys, typical, variance, priors)
        for valley in valleys:
            _reweigh(valley, variance, priors)
    shifts, common = _skew(valleys, priors)
    lent = _lent_curvatures(valleys, typical, variance, priors)
    optima = [
        _optimum(valley, scale, curvature, shift, priors)
        for valley, scale, curvature, shift in zip(valleys, scales, lent, shifts, strict=True)
    ]
    return tuple(optima), common


def has_valley(log_N: Array, L: Array) -> bool:
    """Say whether a parabola through the losses of a budget opens upwards by more than rounding.

    Parameters
    ----------
    log_N, L : ndarray, shape (n,)
        Of three distinct sizes at least.
    """
    parabola = ParabolaDesign.of(log_N).fit(L)
    half_range = 0.5 * float(np.ptp(log_N))
    return bool(has_minimum(np.asarray(parabola.coefficients), half_range, L))


def _scales(losses: Sequence[Array], *, positive: bool) -> list[float]:
    if positive:
        return [float(L.min()) for L in losses]
    everything = np.concatenate(losses)
    return [3 * float(np.ptp(everything)) or 1.0] * len(losses)


def _started(log_C: float, log_N: Array, y: Array) -> Valley:
    excess = y - y.min()
    scale = START_DEPTH * abs(y.min()) + START_SHARE * float(np.median(excess)) + TINY
    weights = np.exp(-excess / scale)
    middle = float(weights @ log_N / weights.sum())
    return Valley(log_C=log_C, log_N=log_N, y=y, middle=middle, known=np.ones_like(y))


def _near(valley: Valley, priors: ValleyPriors) -> Array:
    """Return how much each run counts by its distance from the middle, (n,)."""
    distance = np.abs(valley.log_N - valley.middle) / priors.width
    return 1 / (1 + distance**priors.fading)


def _fit(valley: Valley, typical: float, variance: float, priors: ValleyPriors) -> None:
    """Fit a parabola around the middle, with the curvature of the other budgets as a prior."""
    valley.near = _near(valley, priors)
    X, spread = valley.design(), priors.curvature_spread * typical
    right = X.T @ (valley.weights * valley.y) / variance
    right[2] += typical / spread**2
    c = np.linalg.solve(valley.precision(variance, spread), right)
    valley.coefficients, valley.curvature = c, kept_positive(c[2], typical)
    reach = 0.5 * float(np.ptp(valley.log_N)) + 1.0
    valley.step = float(reach * np.tanh(-c[1] / (2 * valley.curvature) / reach))
    residual = valley.y - X @ c
    valley.squares = float((valley.weights * residual**2).sum())
    # A budget of three sizes has no residual: its freedom goes to 0 without a step
    valley.freedom = max(float(valley.near.sum()) - 3, 0.0)


def _typical_curvature(
    valleys: Sequence[Valley], typical: float, variance: float, priors: ValleyPriors
) -> float:
    """Return the mean curvature of the budgets, each weighted by how well it is known."""
    total, weight = priors.curvature / priors.curvature_std**2, priors.curvature_std**-2
    for valley in (one for one in valleys if not one.is_pair):
        X = valley.design()
        covariance = np.linalg.inv(valley.precision(variance, np.inf))
        own = covariance @ (X.T @ (valley.weights * valley.y)) / variance
        precision = 1 / (covariance[2, 2] + (priors.curvature_spread * typical) ** 2)
        total, weight = total + precision * own[2], weight + precision
    return kept_positive(total / weight, priors.curvature)


def _lent_curvatures(
    valleys: Sequence[Valley], typical: float, variance: float, priors: ValleyPriors
) -> list[float]:
    """Return the curvature that each budget is expected to have.

    That is the mean of all, but for a budget of two sizes, which has no other: relative to the loss
    valleys flatten with compute, and the trend of the other budgets goes on.
    """
    if not any(valley.is_pair for valley in valleys):
        return [typical] * len(valleys)
    lenders = [valley for valley in valleys if not valley.is_pair]
    covariances = [np.linalg.inv(v.precision(variance, np.inf)) for v in lenders]
    own = [
        float(c[2] @ (v.design().T @ (v.weights * v.y)) / variance)
        for v, c in zip(lenders, covariances, strict=True)
    ]
    known = [1 / (float(c[2, 2]) / typical**2 + priors.curvature_spread**2) for c in covariances]
    log_C = np.array([valley.log_C for valley in lenders])
    weight, relative = np.array(known), np.array(own) / typical - 1
    x = log_C - np.average(log_C, weights=weight)
    mean, std = priors.curvature_trend
    slope = (mean / std**2 + (weight * x) @ relative) / (std**-2 + (weight * x) @ x)
    away = [v.log_C - float(np.average(log_C, weights=weight)) for v in valleys]
    return [
        typical * float(np.exp(slope * by)) if valley.is_pair else typical
        for valley, by in zip(valleys, away, strict=True)
    ]


def _reweigh(valley: Valley, variance: float, priors: ValleyPriors) -> None:
    """Give the budget its own noise, its outliers less weight, and move on to the vertex."""
    valley.variance = pooled_variance(
        valley.squares, valley.freedom, variance, priors.noise_freedom
    )
    residual = valley.y - valley.design() @ valley.coefficients
    valley.known = outlier_weights(residual, valley.variance, priors.outlier_freedom)
    valley.middle += valley.step


def _skew(valleys: Sequence[Valley], priors: ValleyPriors) -> tuple[list[float], float]:
    """Return how far each vertex moves for the asymmetry of the valleys, and its standard error.

    A valley A N^-alpha + B (C / k N)^-beta has the third derivative (beta - alpha) times the second
    at its minimum. The ratio t is fitted to what the parabolas leave of all budgets; the parabola
    through t x^3 / 6 has its vertex off by what is put right here, in part.
    """
    gain, precision, biases = 0.0, priors.skew_std**-2, []
    for valley in valleys:
        x = valley.log_N - valley.middle
        X, weights = valley.design(), valley.weights
        cubic = 2 * valley.curvature * x**3 / 6
        normal = (X * weights[:, np.newaxis]).T @ X + TINY * np.eye(3)
        through, own = (np.linalg.solve(normal, X.T @ (weights * v)) for v in (cubic, valley.y))
        left, residual = cubic - X @ through, valley.y - X @ own
        gain += float((weights * left * residual).sum()) / valley.variance
        precision += float((weights * left**2).sum()) / valley.variance
        biases.append(-float(through[1]) / (2 * valley.curvature))
    t, t_std = gain / precision, precision**-0.5
    common = priors.skew_share * float(np.hypot(t, t_std)) * abs(float(np.mean(biases)))
    return [-priors.skew_share * t * bias for bias in biases], common


def _optimum(
    valley: Valley,
    scale: float,
    typical: float,
    shift: float,
    priors: ValleyPriors,
) -> Optimum:
    """Return the vertex with standard errors by the delta method."""
    covariance = np.linalg.inv(valley.precision(valley.variance, priors.curvature_spread * typical))
    # Around the last vertex c1 is almost 0, but for a vertex that its reach holds back
    c0, c1, _ = valley.coefficients
    c2, v = valley.curvature, valley.step
    slope_N = np.array([0.0, -1 / (2 * c2), c1 / (2 * c2**2)])
    slope_L = np.array([1.0, v, v * v])
    log_N = valley.middle
    half_range = 0.5 * float(np.ptp(valley.log_N))
    beyond = max(valley.log_N.min() - log_N, log_N - valley.log_N.max(), 0.0)
    # The share of the curvature that the losses do not show
    unseen = (c2 - max(float(valley.coefficients[2]), 0.0)) / c2
    return Optimum(
        log_C=valley.log_C,
        log_N=float(log_N + shift),
        log_N_std_err=float(
            np.sqrt(
                slope_N @ covariance @ slope_N
                + (priors.beyond_edge * beyond) ** 2
                + (unseen**2 * (half_range + 1)) ** 2
            )
        ),
        L=float((c0 + c1 * v + c2 * v**2) * scale),
        L_std_err=float(np.sqrt(slope_L @ covariance @ slope_L) * scale),
        n=valley.y.size,
    )
