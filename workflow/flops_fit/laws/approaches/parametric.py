"""Approach 3 and VPNLS: one parametric surface through all runs.

Approach 3 is Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3 and D.2: the Huber loss of log L
with delta 1e-3, over log A, log B, log E, alpha, beta. VPNLS (arXiv 2603.22339) minimises the
squares of L - Lhat by variable projection. Here both search by projection and polish with Newton's
method; they differ only in the objective.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.approach import Approach, ApproachOptions
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.judgements import judge_laws
from flops_fit.laws.evidence.noise_law import NoiseLaw
from flops_fit.laws.evidence.resampling import (
    Chunk,
    Resampler,
    Resampling,
    draw_run_counts,
)
from flops_fit.laws.evidence.small_sample import (
    overdispersed,
    restored_variance,
    student_over_normal,
)
from flops_fit.laws.evidence.surface_judgements import judge_surface
from flops_fit.laws.forms.quantities import SURFACE_COLUMNS, Draws, surface_quantities
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.judgement.judgement import Judgement
from flops_fit.laws.optima import optima_laws
from flops_fit.laws.predictions import predict_surface_optima
from flops_fit.laws.results import ApproachResult, Point, Prediction
from flops_fit.laws.solver.many_surfaces import MAX_REFITTED, resampled_surfaces
from flops_fit.laws.solver.objectives import HuberLog, Objective, SquaredLoss
from flops_fit.laws.solver.search import search_surface

Array = NDArray[np.float64]

LOWEST_LOG = -700.0
"""Of E in a file, in place of the logarithm of 0."""

TOLD_BY_TRAININGS = 3
"""E, A and alpha do not change along a training: only its number of trainings tells them (Donald
and Lang 2007, Inference with difference-in-differences and other panel data)."""

MIN_C_RATIO = 1.25
"""Runs at one compute tie D to C/N: they lie on a curve, but a surface needs an area."""


def fit_parametric(
    runs: RunTable, *, tied: bool = False, E: float | None = None, judged: bool = True
) -> ApproachResult:
    """Fit approach 3: the Huber loss of log L, delta 1e-3.

    Parameters
    ----------
    runs : RunTable
        Completed runs at their best learning rates.
    tied : bool
        Keep alpha = beta, for tables with fewer runs than five parameters need.
    E : float, optional
        Keep this E; without it E is fitted.
    judged : bool
        Whether to judge the surface, which takes further fits.

    Returns
    -------
    ApproachResult
        `unsupported` if the runs are too few or at one compute, `failed` if the best surface has no
        optimum; the surface is kept if there is one.
    """
    return fit_surface(runs, APPROACH_3.objective, tied=tied, E=E, judged=judged)


def fit_vpnls(
    runs: RunTable, *, tied: bool = False, E: float | None = None, judged: bool = True
) -> ApproachResult:
    """Fit VPNLS, the squares of L - Lhat; otherwise as `fit_parametric`."""
    return fit_surface(runs, VPNLS.objective, tied=tied, E=E, judged=judged)


def fit_surface(
    runs: RunTable,
    objective: Objective,
    *,
    flops: FlopsPerUnit | None = None,
    tied: bool = False,
    E: float | None = None,
    form: type[Surface] = Surface,
    noise: NoiseLaw | None = None,
    judged: bool = True,
) -> ApproachResult:
    """Fit the surface that minimises an objective; `flops` are those of the runs, where known."""
    reason = too_few(runs, tied=tied, E=E, form=form)
    if reason is not None:
        return ApproachResult(status="unsupported", reason=reason)
    scale = None if noise is None else noise.scale(runs.C)
    surface, value = search_surface(
        runs.N,
        runs.D,
        runs.L,
        objective if scale is None else objective.scaled(scale),
        weights=None if scale is None else scale**-2,
        tied=tied,
        E=E,
        form=form,
    )
    judgements: tuple[Judgement, ...] = ()
    if judged:
        judgements = tuple(
            judge_surface(
                surface, runs, objective, value, tied=tied, pinned=E is not None, scale=scale
            )
        )
    result = ApproachResult(status="ok", surface=surface, objective=value, judgements=judgements)
    reason = no_optimum(surface)
    if reason is not None:
        return replace(result, status="failed", reason=reason)
    points = surface_points(surface, runs, flops or FlopsPerUnit.of(runs))
    try:
        laws = optima_laws(points, offset=surface.E)
    except ValueError as error:
        return replace(result, status="failed", reason=str(error).rstrip("."))
    judgements += tuple(judge_laws(laws["N_opt"], laws["D_opt"], points))
    return replace(result, points=points, judgements=judgements, **laws)


@dataclass(frozen=True, kw_only=True)
class SurfaceApproach(Approach):
    """The surface that minimises an objective; it resamples runs and refits."""

    objective: Objective
    form: type[Surface] = Surface
    columns: tuple[str, ...] = SURFACE_COLUMNS
    assumes_form: bool = True
    flaws: Mapping[str, str] = field(default_factory=lambda: SURFACE_FLAWS)

    def fit(self, runs: RunTable, flops: FlopsPerUnit, options: ApproachOptions) -> ApproachResult:
        """Fit it, see `fit_surface`."""
        return fit_surface(
            runs,
            self.objective,
            flops=flops,
            tied=options.tied,
            E=options.E,
            form=self.form,
            noise=options.noise,
            judged=options.judged,
        )

    def resampler(
        self,
        result: ApproachResult,
        runs: RunTable,
        flops: FlopsPerUnit,
        C: Array,
        options: ApproachOptions,
        resampling: Resampling,
    ) -> Resampler:
        """Draw the surfaces of resampled runs."""
        log_budgets = np.log([point.C for point in result.points])

        scale = None if options.noise is None else options.noise.scale(runs.C)

        def draw(chunks: Sequence[Chunk]) -> Draws:
            counts = draw_run_counts(runs, chunks, resampling)
            rows = resampled_surfaces(
                result.surface,
                runs,
                counts,
                self.objective,
                tied=options.tied,
                pinned=options.E is not None,
                scale=scale,
            )
            return surface_quantities(rows, log_budgets, np.log(C), flops)

        single = " (one Newton step each)" if len(runs) > MAX_REFITTED else ""
        return Resampler(draw=draw, what=resampling.rows(runs) + single)

    def small_sample_factor(
        self,
        result: ApproachResult,
        runs: RunTable,
        options: ApproachOptions,
        *,
        level: float,
        stratify: bool,
    ) -> float:
        """Return the objective's factor: robust losses scatter too much, squares too little."""
        trainings = runs.trainings
        if trainings is not None:
            freedom = int(trainings.max()) + 1 - TOLD_BY_TRAININGS
            variance = restored_variance(runs, stratify=stratify)
            return variance * student_over_normal(level, freedom)
        if self.is_robust:
            return overdispersed(len(runs))
        freedom = len(runs) - n_parameters(self.form, tied=options.tied, E=options.E)
        return restored_variance(runs, stratify=stratify) * student_over_normal(level, freedom)

    def settled(self, options: ApproachOptions) -> tuple[str, ...]:
        """Return the quantities that alpha = beta, or a given E, fix regardless of the runs."""
        by_E = () if options.E is None else ("E", "L_opt offset")
        return (*by_E, *(("a", "b", "N_opt exponent", "D_opt exponent") if options.tied else ()))

    def predict(
        self,
        result: ApproachResult,
        C: Iterable[float],
        *,
        flops: FlopsPerUnit,
        budgets: Collection[float],
    ) -> tuple[Prediction, ...]:
        """Return the surface's own optima, as `predict_surface_optima`."""
        return predict_surface_optima(C, surface=result.surface, flops=flops, budgets=budgets)

    def estimates(
        self, result: ApproachResult, predictions: tuple[Prediction, ...], flops: FlopsPerUnit
    ) -> Draws:
        """Return the quantities of the surface itself."""
        log_budgets = np.log([point.C for point in result.points])
        log_C = np.log([prediction.C for prediction in predictions])
        row = result.surface.to_row()[np.newaxis]
        found = surface_quantities(row, log_budgets, log_C, flops)
        return {key: value[0] for key, value in found.items()}

    def with_offset(
        self, result: ApproachResult, E: float, lender: str
    ) -> tuple[ApproachResult, str]:
        """Keep the surface's own E."""
        return result, "E of the surface"

    def parameters(self, result: ApproachResult) -> list[float | None]:
        """Return the surface as a row; E = 0 has no logarithm that JSON can hold."""
        return np.maximum(result.surface.to_row(), LOWEST_LOG).tolist()

    def drawn_parameters(self, draws: Draws) -> Array:
        """Return the surfaces of draws as rows."""
        log_E = np.log(np.maximum(draws["E"], np.exp(LOWEST_LOG)))
        return super().drawn_parameters(draws | {"log E": log_E})

    def quantities(self, rows: Array, log_C: Array, flops: FlopsPerUnit) -> Draws:
        """Return the optima of surfaces."""
        return surface_quantities(rows, log_C[:1], log_C, flops)


SURFACE_FLAWS = {
    "lack_of_fit": "lack of fit",
    "parameters_on_bound": "parameters on a bound",
    "e_is_zero": "E is not identified",
    "e_not_identified": "E is not identified",
}

APPROACH_3 = SurfaceApproach(
    name="3",
    called="approach 3",
    does="parametric surface",
    colour="#009E73",
    marker="^",
    rank=1,
    is_robust=True,
    lends_offset=True,
    objective=HuberLog(),
)

VPNLS = SurfaceApproach(
    name="vpnls",
    called="VPNLS",
    does="parametric surface",
    colour="#CC79A7",
    marker="v",
    rank=2,
    objective=SquaredLoss(),
)


def n_parameters(form: type[Surface], *, tied: bool, E: float | None) -> int:
    """Return how many parameters of a surface are fitted: of all, those that are not given."""
    return len(form.columns) - tied - (E is not None)


def too_few(
    runs: RunTable, *, tied: bool, E: float | None = None, form: type[Surface] = Surface
) -> str | None:
    """Say why no surface can be fitted to these runs, None if one can."""
    needed = n_parameters(form, tied=tied, E=E)
    n_cells = np.unique(np.stack([runs.N, runs.D]), axis=1).shape[1] if len(runs) else 0
    if n_cells <= needed:
        hint = "" if tied or n_cells < 5 else ", or set fit.tie_exponents: true"
        return (
            f"a surface of {needed} parameters needs at least {needed + 1} runs of "
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
    if E is not None and runs.L.min() <= E:
        return f"the lowest loss {runs.L.min():.4g} is not above the given E = {E:.4g}"
    return None


def no_optimum(surface: Surface) -> str | None:
    """Say why the surface has no lowest loss at a given compute, None if it has one."""
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
