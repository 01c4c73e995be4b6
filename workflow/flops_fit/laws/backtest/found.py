"""What runs show of the optimum where they were made: the truth that predictions are held against.

At a budget it is the vertex of a parabola through the runs near its lowest one. Where there are
no budgets, runs of nearly the same compute are a stratum, and its optimum is that of a surface,
moved by what the residuals of the stratum say. Both have a standard error, since what is found has
noise, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.answer.optimum import kept_positive
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.parabola import MIN_SIZES, Parabola, ParabolaDesign
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.solver.objectives import HuberLog, SquaredLoss
from flops_fit.laws.solver.search import search_surface

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

NEAR = 8.0
"""A vertex is found from the runs within this factor of the N of the lowest one, since further away
a valley is no parabola. The sizes of a budget of published sweeps span a factor of 10 to 30."""

MIN_NEAR = 4
"""Runs that a vertex is found from: a parabola, and one run that tests it."""

PRIOR_FREEDOM = 4.0
"""Degrees of freedom of the residual variance of all budgets in that of one. Budgets of 5 to 15
runs have 2 to 12 of their own, so that theirs and the common one count about the same."""

MIN_STRATUM = 8
MAX_STRATA = 8
"""Strata are as many as have this many runs each, but no more than these."""

VALLEY = 1.5
"""Distance from the optimum in log N at which a run of a stratum counts half."""

SHIFT, BEND = 0.5, 0.4
"""Prior standard deviations of a stratum's optimum in log N about that of the surface, and of its
relative curvature: loose, so that with 8 runs the residuals decide."""

LEAST_NOISE = 2e-4
"""Relative noise of a loss below which residuals are not believed."""

LEAST_EXPONENT = 0.01
"""alpha or beta below which a term is a constant, so that the optimum lies anywhere."""

MAX_STD_ERR = 1.0
"""Standard error of log N above which nothing was found, whatever its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The optimum that runs show at about one compute."""

    C: float
    """FLOPs: their geometric mean over the runs."""
    log_N: float
    log_N_std_err: float
    L: float
    L_std_err: float
    n: int
    """Runs that it was found from."""


def found_at_budgets(runs: RunTable) -> dict[float, Found | None]:
    """Return the vertex of each budget, from its runs that stand at it; None where it has none.

    The parabola in log N is fitted to the loss of runs within a factor of `NEAR` of the lowest run.
    It counts if it opens upwards and its vertex lies among these runs. The variance of the
    residuals is that of the budget, with the pooled one as `PRIOR_FREEDOM` degrees of freedom more.

    Parameters
    ----------
    runs : RunTable
        Completed runs.
    """
    fits: dict[float, tuple[float, ParabolaDesign, Parabola, float, int] | None] = {}
    for budget in np.unique(runs.budget).tolist():
        own = runs.take((runs.budget == budget) & runs.profiled)
        fits[budget] = _vertex(own)
    known = [fit for fit in fits.values() if fit is not None]
    freedom = sum(fit[4] for fit in known)
    pooled = sum(fit[3] for fit in known) / max(freedom, 1)
    return {budget: None if fit is None else _found(fit, pooled) for budget, fit in fits.items()}


def _vertex(own: RunTable) -> tuple[float, ParabolaDesign, Parabola, float, int] | None:
    """Return C, the parabola of one budget, its squared residuals and their degrees of freedom."""
    if len(own) < MIN_NEAR:
        return None
    log_N = np.log(own.N)
    near = np.abs(log_N - log_N[np.argmin(own.L)]) < np.log(NEAR)
    if near.sum() < MIN_NEAR or np.unique(log_N[near]).size < MIN_SIZES:
        return None
    design = ParabolaDesign.of(log_N[near])
    parabola = design.fit(own.L[near])
    if not log_N[near].min() < parabola.vertex < log_N[near].max():
        return None
    C = float(np.exp(np.log(own.C).mean()))
    squares = float((design.residuals(own.L[near]) ** 2).sum())
    return C, design, parabola, squares, int(near.sum()) - MIN_SIZES


def _found(fit: tuple[float, ParabolaDesign, Parabola, float, int], pooled: float) -> Found:
    C, design, parabola, squares, freedom = fit
    variance = (PRIOR_FREEDOM * pooled + squares) / (PRIOR_FREEDOM + freedom)
    n = design.u.size
    covariance = design.covariance(np.full(n, variance))
    _, c1, c2 = np.asarray(parabola.coefficients)
    along_N = np.array([0.0, -1 / (2 * c2), c1 / (2 * c2**2)])
    along_L = np.array([1.0, -c1 / (2 * c2), (c1 / (2 * c2)) ** 2])
    return Found(
        C=C,
        log_N=float(parabola.vertex),
        log_N_std_err=float(np.sqrt(along_N @ covariance @ along_N)),
        L=float(parabola.lowest),
        L_std_err=float(np.sqrt(along_L @ covariance @ along_L)),
        n=n,
    )


def strata_of(C: Array) -> list[Rows]:
    """Return the rows of strata of about equally many runs, ascending in C, shape (n_runs,)."""
    n_strata = int(np.clip(C.size // MIN_STRATUM, 1, MAX_STRATA))
    return np.array_split(np.argsort(C, kind="stable"), n_strata)


def found_in_strata(runs: RunTable, strata: Sequence[Rows]) -> list[Found | None]:
    """Return the optimum of each stratum of runs on a grid of N and D; None where it has none.

    The optimum is the mean of those of VPNLS and approach 3, moved by what the residuals of the
    stratum show. Near the optimum log L is a valley of curvature kappa in log N along constant C,
    so that a slope of the residuals in log N is a shift of the optimum by -slope over kappa and
    their own curvature, and their level there one of the loss.

    Parameters
    ----------
    runs : RunTable
        Completed runs, of positive loss.
    strata : sequence of ndarray of int
        Rows of each stratum.
    """
    flops = FlopsPerUnit.of(runs)
    objectives = (SquaredLoss(), HuberLog())
    surfaces = [search_surface(runs.N, runs.D, runs.L, o)[0] for o in objectives]
    surfaces = [s for s in surfaces if s.A * s.B > 0 and min(s.alpha, s.beta) > LEAST_EXPONENT]
    if not surfaces:
        return [None] * len(strata)
    residuals = np.mean([np.log(runs.L / s.loss(runs.N, runs.D)) for s in surfaces], axis=0)
    away = np.log(runs.N / surfaces[0].N_opt(runs.C, flops))
    return [
        _stratum(float(np.log(runs.C[rows]).mean()), residuals[rows], away[rows], surfaces, flops)
        for rows in strata
    ]


def _stratum(
    log_C: float, residuals: Array, away: Array, surfaces: Sequence[Surface], flops: FlopsPerUnit
) -> Found | None:
    C = float(np.exp(log_C))
    optima = [_optimum(surface, C, flops) for surface in surfaces]
    if not np.all(np.isfinite(optima)) or not np.all(np.isfinite(away)):
        return None
    log_N, log_L = np.mean([[np.log(N), np.log(L)] for N, L, _ in optima], axis=0)
    kappa = optima[0][2]
    weights = 1 / (1 + (away / VALLEY) ** 4)
    design = np.stack([np.ones_like(away), away, away**2 / 2], axis=1)
    squared = design.T @ (weights[:, np.newaxis] * design)
    precision = np.diag([0.0, 1 / (SHIFT * kappa) ** 2, 1 / (BEND * kappa) ** 2])
    spread = residuals - np.average(residuals, weights=weights)
    variance = max(float(np.average(spread**2, weights=weights)), LEAST_NOISE**2)
    freedom = max(float(weights.sum()) - MIN_SIZES, 1.0)
    for _ in range(3):  # the variance and what it weighs settle within two rounds
        covariance = np.linalg.inv(squared / variance + precision)
        terms = covariance @ (design.T @ (weights * residuals)) / variance
        left = residuals - design @ terms
        variance = max(float((weights * left**2).sum()) / freedom, LEAST_NOISE**2)
    curvature = kept_positive(kappa + terms[2], 2 * kappa)
    shift = float(-terms[1] / curvature)
    # Without the prior: it belongs to the surface, whose error is not that of what is found
    slope = np.array([0.0, -1 / curvature, terms[1] / curvature**2])
    std_err = float(np.sqrt(variance * slope @ np.linalg.pinv(squared) @ slope))
    L = float(np.exp(log_L + terms[0] - curvature * shift**2 / 2))
    level = np.array([1.0, shift, shift**2 / 2])
    return Found(
        C=C,
        log_N=float(log_N + shift),
        log_N_std_err=min(std_err, MAX_STD_ERR),
        L=L,
        L_std_err=float(L * np.sqrt(level @ covariance @ level)),
        n=residuals.size,
    )


def _optimum(surface: Surface, C: float, flops: FlopsPerUnit) -> tuple[float, float, float]:
    """Return N_opt, L_opt, and the curvature of log L in log N along constant C."""
    N = float(surface.N_opt(C, flops))
    if not 0 < N < np.inf:  # where a larger model costs no more, there is no best one
        return np.nan, np.nan, np.nan
    D = float(flops.D_at(C, N))
    L = float(surface.loss(N, D))
    # How fast the cost of a unit grows with N, over a factor of e about the optimum
    slope = float(np.log(flops.flops_per_unit(N * np.e**0.5) / flops.flops_per_unit(N / np.e**0.5)))
    of_N = surface.alpha**2 * surface.A * N**-surface.alpha
    of_D = (surface.beta * slope) ** 2 * surface.B * D**-surface.beta
    return N, L, (of_N + of_D) / L
