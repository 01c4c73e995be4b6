"""Approach 3 and VPNLS: one parametric surface through all runs.

Approach 3 is Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3 and D.2: the Huber loss of log L
with delta 1e-3, over log A, log B, log E, alpha, beta. VPNLS (arXiv 2603.22339) minimises the
squares of L - Lhat by variable projection. Here both search by projection and polish with Newton's
method; they differ in the objective, which is what tells their answers apart.
"""

from __future__ import annotations

import numpy as np

from flops_fit.laws.approaches.isoflop import optima_laws
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.judgement import Judgement
from flops_fit.laws.evidence.judgements import judge_laws
from flops_fit.laws.evidence.surface_judgements import judge_surface
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.results import ApproachResult, Point
from flops_fit.laws.solver.objectives import HuberLog, Objective, SquaredLoss
from flops_fit.laws.solver.search import search_surface

OBJECTIVES: dict[str, Objective] = {"3": HuberLog(), "vpnls": SquaredLoss()}
"""What each parametric approach minimises."""

MIN_C_RATIO = 1.25
"""Runs at one compute hold D to C/N: they draw one curve, and a surface needs an area."""


def fit_parametric(runs: RunTable, *, tied: bool = False, judged: bool = True) -> ApproachResult:
    """Fit approach 3: the Huber loss of log L, delta 1e-3.

    Parameters
    ----------
    runs : RunTable
        Completed runs at their best learning rates.
    tied : bool
        Keep alpha = beta, for tables with fewer runs than five parameters need.
    judged : bool
        Whether to judge the surface, which takes further fits.

    Returns
    -------
    ApproachResult
        `unsupported` where the runs are too few or at one compute, `failed` where the best surface
        has no optimum; the surface is kept where there is one.
    """
    return _fit(runs, OBJECTIVES["3"], tied=tied, judged=judged)


def fit_vpnls(
    runs: RunTable,
    *,
    tied: bool = False,
    judged: bool = True,
    objective: Objective = OBJECTIVES["vpnls"],
) -> ApproachResult:
    """Fit VPNLS: the squares of L - Lhat, or another objective; otherwise as `fit_parametric`."""
    return _fit(runs, objective, tied=tied, judged=judged)


def too_few(runs: RunTable, *, tied: bool) -> str | None:
    """Say why no surface can be fitted to these runs, None where one can."""
    n_parameters = 4 if tied else 5
    n_cells = np.unique(np.stack([runs.N, runs.D]), axis=1).shape[1] if len(runs) else 0
    if n_cells <= n_parameters:
        hint = "" if tied or n_cells < 5 else ", or set fit.tie_exponents: true"
        return (
            f"a surface of {n_parameters} parameters needs at least {n_parameters + 1} runs of "
            f"different N and D, but there are {n_cells}: add runs{hint}"
        )
    if runs.C.max() / runs.C.min() < MIN_C_RATIO:
        return (
            f"all runs spend nearly the same compute ({runs.C.min():.3g} to {runs.C.max():.3g}), "
            "where N and D cannot be told apart"
        )
    for name in ("N", "D"):
        values = getattr(runs, name)
        if np.unique(values).size < 3:
            return f"a surface needs three different {name}, but there are {np.unique(values).size}"
    if np.ptp(runs.L) <= 1e-12 * np.abs(runs.L).max():
        return f"all losses are {runs.L[0]:.4g}: nothing depends on N or D"
    if runs.L.min() <= 0:
        return f"a surface in logs needs positive losses, but the lowest is {runs.L.min():.3g}"
    return None


def _fit(runs: RunTable, objective: Objective, *, tied: bool, judged: bool) -> ApproachResult:
    reason = too_few(runs, tied=tied)
    if reason is not None:
        return ApproachResult(status="unsupported", reason=reason)
    surface, value = search_surface(runs.N, runs.D, runs.L, objective, tied=tied)
    reason = no_optimum(surface)
    judgements: tuple[Judgement, ...] = ()
    if judged:
        judgements = tuple(judge_surface(surface, runs, objective, value, tied=tied))
    if reason is not None:
        return ApproachResult(
            status="failed", reason=reason, surface=surface, objective=value, judgements=judgements
        )
    flops = FlopsPerUnit.from_runs(runs.N, runs.D, runs.C)
    points = surface_points(surface, runs, flops)
    try:
        laws = optima_laws(points, offset=surface.E)
    except ValueError as error:
        return ApproachResult(
            status="failed",
            reason=str(error).rstrip("."),
            surface=surface,
            objective=value,
            judgements=judgements,
        )
    return ApproachResult(
        status="ok",
        surface=surface,
        objective=value,
        points=points,
        judgements=(*judgements, *judge_laws(laws["N_opt"], laws["D_opt"], points)),
        **laws,
    )


def no_optimum(surface: Surface) -> str | None:
    """Say why the surface has no lowest loss at a given compute, None where it has one."""
    for name, symbol in (("A", "N"), ("B", "D")):
        if getattr(surface, name) <= 0:
            return (
                f"the best surface has {name} = 0: the losses do not fall with {symbol}, so that "
                "no compute-optimal size exists"
            )
    return None


def surface_points(surface: Surface, runs: RunTable, flops: FlopsPerUnit) -> tuple[Point, ...]:
    """Return the surface's numerical optimum at each budget, at the mean C of its runs."""
    points = []
    for budget in np.unique(runs.budget):
        own = runs.take(runs.budget == budget)
        C = float(np.exp(np.log(own.C).mean()))
        N_opt = float(surface.N_opt(C, flops))
        D_opt = float(flops.D_at(C, N_opt))
        points.append(
            Point(
                C=C,
                N_opt=N_opt,
                D_opt=D_opt,
                L_opt=float(surface.loss(N_opt, D_opt)),
                at_edge=not own.N.min() < N_opt < own.N.max(),
                n=len(own),
            )
        )
    return tuple(points)
