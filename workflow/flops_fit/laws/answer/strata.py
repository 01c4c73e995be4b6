"""The optima of a grid of N and D, which has no budgets, relative to the surfaces through it.

Runs are taken together by their compute. In each stratum the residuals of log L about the
surfaces, against log N - log N_opt of the surface at each run's own compute, say how far the
minimum lies from the surface's and how much lower or higher it is: the error of the form, as far as
runs show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.answer.optimum import (
    Optimum,
    kept_positive,
    outlier_weights,
    pooled_variance,
)
from flops_fit.laws.answer.priors import Priors, StrataPriors
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.surface import Surface

Array = NDArray[np.float64]

ITERATIONS = 8
LEVEL_PRECISION = 1e-6
"""Of the level's prior, which is flat."""

SLOPE_STEP = 0.5
"""e-folds of N over which the slope of log flops_per_unit is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceOptimum:
    """The mean optimum of several surfaces at each C, arrays of the shape of C."""

    log_N: Array
    log_L: Array
    curvature: Array
    """Second derivative of log L by log N along the compute."""


@dataclass(slots=True, kw_only=True)
class Stratum:
    """One stratum while it is fitted: residual = c0 + c1 u + c2 u^2 / 2."""

    log_C: float
    sizes: tuple[float, float]
    """log N of the smallest and the largest."""
    at: SurfaceOptimum
    design: Array
    residual: Array
    near: Array
    known: Array
    coefficients: Array = None
    covariance: Array = None
    squares: float = 0.0
    variance: float = 0.0

    @property
    def weights(self) -> Array:
        return self.near * self.known

    @property
    def freedom(self) -> float:
        return max(float(self.near.sum()) - 3, 0.0)


def find_stratum_optima(
    runs: RunTable,
    flops: FlopsPerUnit,
    surfaces: Sequence[Surface],
    priors: Priors,
    *,
    by: float = 0.0,
) -> tuple[tuple[Optimum, ...], float]:
    """Return the optimum of each stratum, ascending in C, and the error that all log N_opt share.

    Parameters
    ----------
    runs : RunTable
        Of positive losses.
    surfaces : sequence of Surface
        With an optimum; their logs are averaged.
    by : float
        What was added to the losses, and is taken from those of the optima.
    """
    parts = _strata(runs, flops, surfaces, priors)
    variance = 4 * priors.valley.noise**2
    for _ in range(ITERATIONS):
        for part in parts:
            _fit(part, variance, priors)
        variance = pooled_variance(
            sum(part.squares for part in parts),
            sum(part.freedom for part in parts),
            priors.valley.noise**2,
            priors.valley.noise_freedom,
        )
        for part in parts:
            _reweigh(part, variance, priors)
    for part in parts:
        _fit(part, part.variance, priors)
    optima, beyond = [], []
    for part in parts:
        optimum, outside = _within_reach(
            _optimum(part, priors.strata), part.sizes, surfaces, flops, priors.strata
        )
        optima.append(replace(optimum, L=optimum.L - by))
        beyond.append(outside)
    # All strata have the surfaces' error beyond the sizes in common, as far as they lean on it
    precision = np.array([optimum.log_N_std_err for optimum in optima]) ** -2.0
    return tuple(optima), float(precision @ beyond / precision.sum())


def _strata(
    runs: RunTable, flops: FlopsPerUnit, surfaces: Sequence[Surface], priors: Priors
) -> list[Stratum]:
    """Return the strata before they are fitted, ascending in C."""
    log_N, log_C = np.log(runs.N), np.log(runs.C)
    fitted = np.mean([np.log(surface.loss(runs.N, runs.D)) for surface in surfaces], axis=0)
    residual = np.log(runs.L) - fitted
    u = log_N - surface_optimum(surfaces, runs.C, flops).log_N
    strata = number_strata(runs.C, priors.strata)
    near = _training_share(runs, strata) / (1 + (u / priors.strata.width) ** 4)
    X = np.stack([np.ones_like(u), u, u * u / 2], axis=-1)
    parts = []
    for number in np.unique(strata):
        own = strata == number
        middle = float(log_C[own].mean())
        at = surface_optimum(surfaces, np.exp(middle), flops)
        parts.append(
            Stratum(
                log_C=middle,
                sizes=(float(log_N[own].min()), float(log_N[own].max())),
                at=at,
                design=X[own],
                residual=residual[own],
                near=near[own],
                known=np.ones(int(own.sum())),
            )
        )
    return parts


def _within_reach(
    optimum: Optimum,
    sizes: tuple[float, float],
    surfaces: Sequence[Surface],
    flops: FlopsPerUnit,
    priors: StrataPriors,
) -> tuple[Optimum, float]:
    """Hold an optimum near the sizes of its stratum; return it, and how far outside it is.

    Where the runs do not enclose it, the optimum is what a surface says beyond its runs, which may
    be anything. How far it is away is then not known by more than that distance. The loss moves
    along the surfaces, and is not known by more than what they say of it beyond the sizes.
    """
    edge = float(np.clip(optimum.log_N, *sizes))
    away = optimum.log_N - edge
    if away == 0:
        return optimum, 0.0
    outside = float(priors.beyond * np.tanh(away / priors.beyond))
    C = np.exp(optimum.log_C)
    N = np.exp([optimum.log_N, edge + outside, edge])
    fitted = [np.log(surface.loss(N, flops.D_at(C, N))) for surface in surfaces]
    far, held, at_edge = np.mean(fitted, axis=0)
    L = float(optimum.L * np.exp(held - far))
    held_optimum = replace(
        optimum,
        log_N=edge + outside,
        log_N_std_err=float(np.hypot(optimum.log_N_std_err, outside)),
        L=L,
        L_std_err=float(np.hypot(optimum.L_std_err * L / optimum.L, L * (held - at_edge))),
    )
    return held_optimum, abs(outside)


def number_strata(C: Array, priors: StrataPriors) -> NDArray[np.intp]:
    """Return the number of each run's stratum of C, ascending; runs of one C stay together.

    Parameters
    ----------
    C : ndarray, shape (n_runs,)
        FLOPs.
    """
    _, level, counts = np.unique(np.round(np.log(C), 9), return_inverse=True, return_counts=True)
    n_strata = int(np.clip(C.size // priors.runs, 2, priors.most))
    middle_rank = np.cumsum(counts) - counts / 2
    number = (middle_rank * n_strata / C.size).astype(int)[level]
    return np.unique(number, return_inverse=True)[1]


def _training_share(runs: RunTable, strata: NDArray[np.intp]) -> Array:
    """Return what each run counts, shape (n_runs,): the checkpoints of a training count as one.

    They share the fortune of their training, so that a stratum of ten checkpoints of two trainings
    knows no more than two runs.
    """
    trainings = runs.trainings
    if trainings is None:
        return np.ones(len(runs))
    _, own, counts = np.unique(
        np.stack([strata, trainings]), axis=1, return_inverse=True, return_counts=True
    )
    return 1 / counts[own.ravel()]


def surface_optimum(
    surfaces: Sequence[Surface], C: Array | float, flops: FlopsPerUnit
) -> SurfaceOptimum:
    """Return the mean optimum of surfaces at `C` FLOPs, and the mean curvature there.

    At the optimum of E + A N^-alpha + B (C / f(N))^-beta, with m the slope of log f by log N, the
    second derivative by log N is alpha^2 A N^-alpha + (beta m)^2 B D^-beta.
    """
    C = np.asarray(C, dtype=float)
    found = []
    for surface in surfaces:
        N = surface.N_opt(C, flops)
        L = surface.loss(N, flops.D_at(C, N))
        by_N = surface.A * N**-surface.alpha
        by_D = L - surface.E - by_N
        up, down = (flops.flops_per_unit(N * np.exp(s)) for s in (SLOPE_STEP, -SLOPE_STEP))
        m = np.log(up / down) / (2 * SLOPE_STEP)
        curvature = (surface.alpha**2 * by_N + (surface.beta * m) ** 2 * by_D) / L
        found.append((np.log(N), np.log(L), curvature))
    log_N, log_L, curvature = (np.mean(values, axis=0) for values in zip(*found, strict=True))
    return SurfaceOptimum(log_N=log_N, log_L=log_L, curvature=curvature)


def _fit(part: Stratum, variance: float, priors: Priors) -> None:
    """Regress the residuals; slope and curvature have priors in units of the curvature."""
    typical = float(part.at.curvature)
    prior = np.array([LEVEL_PRECISION, priors.strata.shift_std, priors.strata.curvature_std])
    prior[1:] = (prior[1:] * typical) ** -2
    weighted = part.design * (part.weights / variance)[:, np.newaxis]
    part.covariance = np.linalg.inv(weighted.T @ part.design + np.diag(prior))
    part.coefficients = part.covariance @ (weighted.T @ part.residual)
    left = part.residual - part.design @ part.coefficients
    part.squares = float((part.weights * left**2).sum())


def _reweigh(part: Stratum, variance: float, priors: Priors) -> None:
    part.variance = pooled_variance(
        part.squares, part.freedom, variance, priors.valley.noise_freedom
    )
    left = part.residual - part.design @ part.coefficients
    part.known = outlier_weights(left, part.variance, priors.valley.outlier_freedom)


def _optimum(part: Stratum, priors: StrataPriors) -> Optimum:
    """Return the minimum of surface and residuals together, standard errors by the delta method.

    log L = log L_surface + k u^2 / 2 + c0 + c1 u + c2 u^2 / 2 is lowest at u = -c1 / (k + c2).
    """
    c0, c1, c2 = part.coefficients
    typical = float(part.at.curvature)
    curvature = kept_positive(typical + c2, 2 * typical)
    far = priors.furthest
    shift = float(far * np.tanh(-c1 / curvature / far))
    slope_N = np.array([0.0, -1 / curvature, c1 / curvature**2])
    slope_L = np.array([1.0, shift, shift**2 / 2])
    of_N, of_L = (float(np.sqrt(slope @ part.covariance @ slope)) for slope in (slope_N, slope_L))
    L = float(np.exp(part.at.log_L + c0 - curvature * shift**2 / 2))
    return Optimum(
        log_C=part.log_C,
        log_N=float(part.at.log_N + shift),
        log_N_std_err=float(np.hypot(of_N, priors.curvature_error * shift)),
        L=L,
        L_std_err=L * of_L,
        n=part.residual.size,
    )
