"""What a statistician would object to in a fitted surface: one sentence each, with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from flops_fit.laws.accounting import FlopsPerUnit
from flops_fit.laws.judgements import MAX_6ND_ERROR
from flops_fit.laws.newton import EXPONENT_BOUNDS, minimise_rows
from flops_fit.laws.noise import Noise, replicate_noise
from flops_fit.laws.objectives import Objective
from flops_fit.laws.surface import Surface
from flops_fit.laws.table import RunTable
from flops_fit.laws.terms import SurfaceData, shares

Array = NDArray[np.float64]

SIGNIFICANCE = 0.01
"""Of lack of fit and of E: surfaces are compared with exact nulls on few runs."""

OUTLIER = 6.0
"""Studentised residual from which a run is flagged: of a million normal ones none reaches it."""

MIN_RUNS_FOR_OUTLIERS = 10
"""Of fewer runs the surface passes so close to most that the others look far off."""

MAX_TESTED = 200_000
"""Most runs times budgets that lack of fit is tested on: the test decomposes such a matrix."""

ROUNDING = 1e-9
"""Residuals of log L below this are rounding: nothing is tested on them."""


def judge_surface(
    surface: Surface, runs: RunTable, objective: Objective, value: float, *, tied: bool
) -> list[str]:
    """Judge the best surface of an objective against the runs that it was fitted to."""
    residual = np.log(runs.L) - np.log(surface.loss(runs.N, runs.D))
    warnings = _judge_bounds(surface, tied=tied)
    if tied:
        warnings.append(
            "alpha = beta is assumed (fit.tie_exponents): that N_opt and D_opt grow as C^0.5 under "
            "C = k N D is no finding, and its interval none."
        )
    if np.abs(residual).max() < ROUNDING:
        return warnings
    noise = replicate_noise(runs)
    return (
        warnings
        + _judge_E(surface, runs, objective, value, tied=tied)
        + _judge_lack_of_fit(surface, runs, residual, noise)
        + _judge_outliers(surface, runs, residual, noise)
    )


def _judge_bounds(surface: Surface, *, tied: bool) -> list[str]:
    found = [
        f"{name} = {getattr(surface, name):.4g}"
        for name in ("alpha", "beta")
        for bound in EXPONENT_BOUNDS
        if abs(getattr(surface, name) / bound - 1) < 1e-6
    ]
    found += [f"{name} = 0" for name in ("E", "A", "B") if getattr(surface, name) <= 0]
    if not found:
        return []
    return [f"Parameters of the surface lie on a bound: {', '.join(found)}."]


def _judge_E(
    surface: Surface, runs: RunTable, objective: Objective, value: float, *, tied: bool
) -> list[str]:
    """Say whether the runs tell E from 0, by the objective of the best surface without E."""
    if surface.E <= 0:
        return ["E is not identified: the best surface has none (E = 0)."]
    freedom = len(runs) - (4 if tied else 5)
    data = SurfaceData.of(runs.N, runs.D, runs.L)
    without = _best_without_E(surface, data, objective, tied=tied)
    # Ratio of objectives as of sums of squares; a Huber loss grows more slowly, so that this errs
    # towards the warning
    ratio = (without / value - 1) * freedom
    p_value = float(f_distribution.sf(ratio, 1, freedom))
    if p_value <= SIGNIFICANCE:
        return []
    return [
        f"E is not identified: a surface without it fits nearly as well (objective {without:.4g} "
        f"against {value:.4g}, p = {p_value:.2g}), so that L_opt beyond the budgets is uncertain."
    ]


def _best_without_E(
    surface: Surface, data: SurfaceData, objective: Objective, *, tied: bool
) -> float:
    row = data.centred(surface.to_row()[np.newaxis])
    starts = np.repeat(row, 3, axis=0)
    starts[:, 2] = data.lowest_log
    # What E carried goes to the other two terms, which then fall more slowly
    starts[:, :2] = np.log(np.median(data.L) / 2)
    starts[1, 3:] *= 0.5
    starts[2, 3:] *= 0.25
    return float(minimise_rows(starts, data, objective, tied=tied, frozen=(2,))[1].min())


def _judge_lack_of_fit(
    surface: Surface, runs: RunTable, residual: Array, noise: Noise | None
) -> list[str]:
    """Test the residuals for what a surface cannot bend to: curves in log N within the budgets.

    An F-test of a quadratic in log N per budget, fitted to the residuals; the noise is that of
    replicates, or what these curves leave. Outliers inflate the noise, which makes the test
    quieter, not louder.
    """
    blocks, budgets = [], np.unique(runs.budget)
    if len(runs) * budgets.size > MAX_TESTED:
        return []
    for budget in budgets:
        own = runs.budget == budget
        if np.unique(runs.N[own]).size < 4:
            return []
        u = np.log(runs.N[own])
        block = np.zeros((len(runs), 3))
        block[own] = np.vander((u - u.mean()) / np.ptp(u), 3)
        blocks.append(block)
    data = SurfaceData.of(runs.N, runs.D, runs.L)
    J = jacobian(data.centred(surface.to_row()[np.newaxis]), data)
    J = J[:, np.any(J != 0, axis=0)]
    scale = np.linalg.norm(J, axis=0)
    full = np.column_stack([J / scale, *blocks])
    rank_small = np.linalg.matrix_rank(J / scale)
    left, singular, _ = np.linalg.svd(full, full_matrices=False)
    left = left[:, singular > 1e-8 * singular[0]]
    small, _ = np.linalg.qr(J / scale)
    rest_small = float(((residual - small @ (small.T @ residual)) ** 2).sum())
    rest_full = float(((residual - left @ (left.T @ residual)) ** 2).sum())
    freedom = (left.shape[1] - rank_small, len(runs) - left.shape[1])
    if noise is not None:
        freedom = (freedom[0], noise.freedom)
    if min(freedom) < 1 or rest_full <= 0:
        return []
    variance = rest_full / freedom[1] if noise is None else noise.variance
    ratio = (rest_small - rest_full) / freedom[0] / variance
    p_value = float(f_distribution.sf(ratio, *freedom))
    if p_value > SIGNIFICANCE:
        return []
    excess = rest_small - rest_full - freedom[0] * variance
    size = np.sqrt(max(excess, 0.0) / len(runs))
    source = "" if noise is None else " of replicated runs"
    return [
        f"Lack of fit: the residuals of the surface bend with log N beyond the noise{source}, by "
        f"{size:.2%} of L (F = "
        f"{ratio:.3g} on {freedom[0]} and {freedom[1]} degrees of freedom, p = {p_value:.2g}); "
        "the five-parameter form does not describe these runs."
    ]


def _judge_outliers(
    surface: Surface, runs: RunTable, residual: Array, noise: Noise | None
) -> list[str]:
    if len(runs) < MIN_RUNS_FOR_OUTLIERS:
        return []
    studentised = studentised_residuals(surface, runs, residual, noise)
    far = np.flatnonzero(np.abs(studentised) > OUTLIER)
    if not far.size:
        return []
    far = far[np.argsort(-np.abs(studentised[far]))]
    named = ", ".join(f"{runs.id[i]} ({studentised[i]:+.1f})" for i in far[:5])
    more = f" and {far.size - 5} more" if far.size > 5 else ""
    return [
        f"{far.size} of {len(runs)} runs lie far off the surface (studentised residual: {named}"
        f"{more}): look at them, or list them in fit.exclude."
    ]


def studentised_residuals(
    surface: Surface, runs: RunTable, residual: Array, noise: Noise | None = None
) -> Array:
    """Return residuals of log L over their standard error.

    The scale is robust: the median absolute residual, or the scatter of replicates where that is
    larger, as it is where a surface of few runs bends to each of them.
    """
    data = SurfaceData.of(runs.N, runs.D, runs.L)
    J = jacobian(data.centred(surface.to_row()[np.newaxis]), data)
    # A fit of five parameters makes as many residuals small: the median is that of the others
    others = np.sort(np.abs(residual))[min(5, len(runs) - 1) :]
    scale = 1.4826 * np.median(others)
    if noise is not None:
        scale = max(scale, noise.scale)
    return residual / (max(scale, ROUNDING) * np.sqrt(1 - np.minimum(leverages(J), 0.99)))


def jacobian(theta: Array, data: SurfaceData) -> Array:
    """Return the derivatives of log Lhat by log A, log B, log E, alpha, beta: (n_runs, 5)."""
    pA, pB, pE = shares(theta, data)[1][:, 0]
    return np.stack([pA, pB, pE, -pA * data.x, -pB * data.y], axis=-1)


def leverages(J: Array) -> Array:
    """Return the diagonal of the hat matrix of the columns of `J`, shape (n_runs,)."""
    norm = np.linalg.norm(J, axis=0)
    left, singular, _ = np.linalg.svd(J / np.where(norm > 0, norm, 1.0), full_matrices=False)
    return (left[:, singular > 1e-10 * singular[0]] ** 2).sum(-1)


def compare_with_6nd(
    surface: Surface | None, flops: FlopsPerUnit, budgets: Sequence[float]
) -> tuple[float | None, list[str]]:
    """Return N_opt under the measured FLOPs over N_opt under C = 6 N D, at the largest budget.

    And a warning where they differ by more than 5%; None and none without a surface.
    """
    if surface is None:
        return None, []
    C = max(budgets)
    six = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.array([np.log(6.0)]), k=6.0)
    ratio = float(surface.N_opt(C, flops) / surface.N_opt(C, six))
    if abs(ratio - 1) <= MAX_6ND_ERROR:
        return ratio, []
    return ratio, [
        f"With the measured FLOPs per unit N_opt at C = {C:.3g} differs by {ratio - 1:+.1%} from "
        f"what C = 6 N D would give (k = {flops.k:.3g})."
    ]
