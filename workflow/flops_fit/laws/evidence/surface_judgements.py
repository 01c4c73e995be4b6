"""What a statistician would say about a fitted surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import t as student_t

from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.noise import Noise, replicate_noise
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.bending import bending_of
from flops_fit.laws.evidence.judgements import MAX_6ND_ERROR
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.solver.bracket import GAMMA, GAMMA_BOUNDS
from flops_fit.laws.solver.newton import EXPONENT_BOUNDS, minimise_rows
from flops_fit.laws.solver.objectives import Objective
from flops_fit.laws.solver.search import E_COLUMN, search_surface
from flops_fit.laws.solver.terms import SurfaceData, jacobian

Array = NDArray[np.float64]

SIGNIFICANCE = 0.01
"""Of lack of fit and of E: surfaces are compared with exact nulls on few runs."""

FALSE_ALARMS = 0.003
"""Share of studies with normal noise in which some run is falsely called an outlier."""

SUSPICIOUS = 4.0
"""Robustly studentised residual from which a run is tested as an outlier; the farthest run is
always tested."""

ROUNDING = 1e-9
"""Residuals of log L below this are rounding: nothing is tested on them."""


def judge_surface(
    surface: Surface,
    runs: RunTable,
    objective: Objective,
    value: float,
    *,
    tied: bool = False,
    pinned: bool = False,
    scale: Array | None = None,
) -> list[Judgement]:
    """Judge the best surface of an objective against the runs that it was fitted to.

    Parameters
    ----------
    tied, pinned : bool
        Whether alpha = beta was kept, and E.
    scale : ndarray, shape (n_runs,), optional
        Of the noise of each run, which the surface was fitted with.
    """
    each = np.ones(len(runs)) if scale is None else scale
    objective = objective if scale is None else objective.scaled(scale)
    residual = (np.log(runs.L) - np.log(surface.loss(runs.N, runs.D))) / each
    found = _judge_bounds(surface, pinned=pinned)
    if tied:
        found.append(judge("tied_exponents"))
    if np.abs(residual).max() < ROUNDING:
        return found
    # Replicates pool all budgets, which weighted noise is not the same at
    noise = replicate_noise(runs) if scale is None else None
    kept = {"tied": tied, "pinned": pinned}
    return (
        found
        + ([] if pinned else _judge_E(surface, runs, objective, value, each, tied=tied))
        + _judge_gamma(surface, runs, objective, value, each, **kept)
        + _judge_lack_of_fit(surface, runs, residual, noise, each, pinned=pinned)
        + _judge_outliers(surface, runs, residual, noise, each, **kept)
    )


def _judge_bounds(surface: Surface, *, pinned: bool) -> list[Judgement]:
    gamma = getattr(surface, "gamma", 1.0)
    parameters = {
        name: getattr(surface, name)
        for name in ("alpha", "beta")
        for bound in EXPONENT_BOUNDS
        # Of a bracket the search bounds what each term alone would be
        if abs(getattr(surface, name) * gamma / bound - 1) < 1e-6
    }
    if any(abs(gamma / bound - 1) < 1e-6 for bound in GAMMA_BOUNDS):
        parameters["gamma"] = gamma
    searched = ("A", "B") if pinned else ("E", "A", "B")
    parameters |= {name: 0.0 for name in searched if getattr(surface, name) <= 0}
    return [judge("parameters_on_bound", parameters=parameters)] if parameters else []


def _judge_E(
    surface: Surface, runs: RunTable, objective: Objective, value: float, each: Array, *, tied: bool
) -> list[Judgement]:
    """Say whether the runs distinguish E from 0, by the objective of the best surface without E."""
    if surface.E <= 0:
        return [judge("e_is_zero")]
    freedom = len(runs) - len(surface.columns) + tied
    data = SurfaceData.of(runs.N, runs.D, runs.L, each**-2)
    without = _best_without_E(surface, data, objective, tied=tied)
    # Ratio of objectives as of sums of squares; a Huber loss grows more slowly, so that this errs
    # towards the warning
    ratio = (without / value - 1) * freedom
    p_value = float(f_distribution.sf(ratio, 1, freedom))
    if p_value <= SIGNIFICANCE:
        return []
    return [judge("e_not_identified", without=without, objective=value, p_value=p_value)]


def _best_without_E(
    surface: Surface, data: SurfaceData, objective: Objective, *, tied: bool
) -> float:
    row = data.centred(surface.to_row()[np.newaxis])
    starts = np.repeat(row, 3, axis=0)
    starts[:, 2] = data.lowest_log
    # The other two terms take over the share of E, and so fall more slowly
    starts[:, :2] = np.log(np.median(data.L) / 2)
    starts[1, 3:5] *= 0.5
    starts[2, 3:5] *= 0.25
    return float(minimise_rows(starts, data, objective, tied=tied, frozen=(E_COLUMN,))[1].min())


def _judge_gamma(
    surface: Surface,
    runs: RunTable,
    objective: Objective,
    value: float,
    each: Array,
    *,
    tied: bool,
    pinned: bool,
) -> list[Judgement]:
    """Say whether the runs distinguish a bracket from the surface without (F-test)."""
    if len(surface.columns) <= GAMMA:
        return []
    E = surface.E if pinned else None
    _, without = search_surface(runs.N, runs.D, runs.L, objective, weights=each**-2, tied=tied, E=E)
    freedom = len(runs) - len(surface.columns) + tied + pinned
    p_value = float(f_distribution.sf((without / value - 1) * freedom, 1, freedom))
    if p_value <= SIGNIFICANCE:
        return []
    values = {"gamma": surface.gamma, "without": without, "objective": value, "p_value": p_value}
    return [judge("gamma_not_identified", **values)]


def _judge_lack_of_fit(
    surface: Surface,
    runs: RunTable,
    residual: Array,
    noise: Noise | None,
    each: Array,
    *,
    pinned: bool,
) -> list[Judgement]:
    """Test the residuals for curvature in log N within budgets, which a surface cannot follow."""
    J = _jacobian_of(surface, runs, each, pinned=pinned)
    found = bending_of(J, np.log(runs.N), runs.budget, residual, each, noise)
    if found is None or found.p_value > SIGNIFICANCE:
        return []
    return [
        judge(
            "lack_of_fit",
            share=np.sqrt(max(found.excess, 0.0) / len(runs)),
            F=found.F,
            freedom=found.freedom,
            p_value=found.p_value,
            replicated=noise is not None,
        )
    ]


def _judge_outliers(
    surface: Surface,
    runs: RunTable,
    residual: Array,
    noise: Noise | None,
    each: Array,
    *,
    tied: bool,
    pinned: bool,
) -> list[Judgement]:
    studentised = studentised_residuals(surface, runs, residual, noise, each)
    J = _jacobian_of(surface, runs, each, tied=tied, pinned=pinned)
    far, studentised = _far_off(J, residual, np.abs(studentised), noise)
    if not far.size:
        return []
    named = [{"id": runs.id[i], "t": t} for i, t in zip(far, studentised, strict=True)]
    return [judge("outliers", n=far.size, of=len(runs), runs=named)]


def _far_off(
    J: Array, residual: Array, suspicion: Array, noise: Noise | None
) -> tuple[NDArray[np.intp], Array]:
    """Return the runs far off the surface, the farthest first, and their studentised residuals.

    The residuals are t-statistics against the surface of the other runs without outliers,
    linearised, with the scatter of those runs, or that of replicates if it is larger. First the
    most suspicious tenth of the runs, or the clearly suspicious part of it, is left out; then each
    run that the test does not confirm returns, until all are confirmed. This way two outliers do
    not hide each other, and an outlier among few runs is not hidden by a surface that bends to it.
    Student's quantile for all runs together keeps the share of studies with a false alarm below
    `FALSE_ALARMS`.

    Parameters
    ----------
    J : ndarray, shape (n_runs, 5)
        Derivatives of log Lhat by the parameters.
    suspicion : ndarray, shape (n_runs,)
        By which the runs are ranked.
    """
    J = J / np.maximum(np.linalg.norm(J, axis=0), 1e-300)
    # If a parameter depends on a single run, the other runs cannot predict that run
    testable = np.flatnonzero(leverages(J) < 0.99)
    ranked = testable[np.argsort(-suspicion[testable], kind="stable")]
    most = max(1, len(residual) // 10)
    suspects = ranked[: max(1, min(most, int((suspicion[ranked] > SUSPICIOUS).sum())))]
    while suspects.size:
        others = np.delete(np.arange(len(residual)), suspects)
        left, singular, right = np.linalg.svd(J[others], full_matrices=False)
        kept = singular > 1e-10 * singular[0]
        freedom = others.size - int(kept.sum())
        if freedom < 1:
            break
        coordinates = left[:, kept].T @ residual[others]
        rest = residual[others] - left[:, kept] @ coordinates
        scale = float(np.sqrt((rest**2).sum() / freedom))
        if noise is not None:
            scale = max(scale, noise.scale)
        directions = J[suspects] @ right[kept].T / singular[kept]
        error = max(scale, ROUNDING) * np.sqrt(1 + (directions**2).sum(-1))
        t = (residual[suspects] - directions @ coordinates) / error
        confirmed = np.abs(t) > student_t.isf(FALSE_ALARMS / 2 / len(residual), freedom)
        if confirmed.all():
            order = np.argsort(-np.abs(t), kind="stable")
            return suspects[order], t[order]
        suspects = suspects[confirmed]
    return np.empty(0, dtype=int), np.empty(0)


def _jacobian_of(
    surface: Surface,
    runs: RunTable,
    each: Array | float,
    *,
    tied: bool = False,
    pinned: bool = False,
) -> Array:
    """Return the derivatives of log Lhat, over the noise of `each` run, by what was searched."""
    data = SurfaceData.of(runs.N, runs.D, runs.L)
    J = jacobian(data.centred(surface.to_row()[np.newaxis]), data)[0]
    J = J / np.reshape(each, (-1, 1))
    if tied:
        J = np.column_stack([J[:, :3], J[:, 3] + J[:, 4], J[:, 5:]])
    return np.delete(J, E_COLUMN, axis=1) if pinned else J


def studentised_residuals(
    surface: Surface,
    runs: RunTable,
    residual: Array,
    noise: Noise | None = None,
    each: Array | float = 1.0,
) -> Array:
    """Return residuals of log L over their standard error, by a scale robust to a few runs.

    The scale is the median absolute residual, or the scatter of replicates if that is larger, as
    when a surface of few runs bends to each of them. Residuals are over the noise of `each` run.
    """
    J = _jacobian_of(surface, runs, each)
    # A fit of five parameters makes as many residuals small: the median is that of the others
    others = np.sort(np.abs(residual))[min(5, len(runs) - 1) :]
    scale = 1.4826 * np.median(others)
    if noise is not None:
        scale = max(scale, noise.scale)
    return residual / (max(scale, ROUNDING) * np.sqrt(1 - np.minimum(leverages(J), 0.99)))


def leverages(J: Array) -> Array:
    """Return the diagonal of the hat matrix of the columns of `J`, shape (n_runs,)."""
    norm = np.linalg.norm(J, axis=0)
    left, singular, _ = np.linalg.svd(J / np.where(norm > 0, norm, 1.0), full_matrices=False)
    return (left[:, singular > 1e-10 * singular[0]] ** 2).sum(-1)


def compare_with_6nd(
    surface: Surface | None, flops: FlopsPerUnit, budgets: Sequence[float]
) -> tuple[float | None, list[Judgement]]:
    """Return N_opt under the measured FLOPs over N_opt under C = 6 N D, at the largest budget.

    Also return a judgement if they differ by more than 5%; None and no judgement without a surface.
    """
    if surface is None:
        return None, []
    C = max(budgets)
    six = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.array([np.log(6.0)]), k=6.0)
    ratio = float(surface.N_opt(C, flops) / surface.N_opt(C, six))
    if abs(ratio - 1) <= MAX_6ND_ERROR:
        return ratio, []
    return ratio, [judge("optimum_differs_from_6nd", C=C, difference=ratio - 1, k=flops.k)]
