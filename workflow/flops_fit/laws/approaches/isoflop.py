"""Approach 2: IsoFLOP profiles (Hoffmann et al. 2022, arXiv 2203.15556, section 3.2).

At each budget the loss against log N is a valley; a parabola gives its lowest point, and the
lowest points of all budgets give the laws. `profile` fits one budget, `fit_isoflop` a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from flops_fit.laws.approach import Approach, ApproachOptions
from flops_fit.laws.approaches.profile import MAX_REACH, fit_profile, resampled_optima
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.noise import replicate_noise
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.judgements import (
    judge_laws,
    judge_profiles,
    judge_scatter,
    judge_support,
    judge_weights,
)
from flops_fit.laws.evidence.noise_law import NoiseLaw
from flops_fit.laws.evidence.optima_scatter import optima_scatter, scattered_quantile
from flops_fit.laws.evidence.resampling import Chunk, Resampler, Resampling
from flops_fit.laws.evidence.small_sample import student_over_normal
from flops_fit.laws.forms.parabola import MIN_SIZES
from flops_fit.laws.forms.profile_weights import residual_limits
from flops_fit.laws.forms.quantities import Draws, law_quantities
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.optima import Laws, loss_law, optima_laws, shift_above_0
from flops_fit.laws.results import ApproachResult, Point, Profile
from flops_fit.laws.solver.objectives import HuberLog
from flops_fit.laws.solver.search import search_surface

MIN_BUDGETS = 2
"""Optima that a power law needs."""

MAX_SPREAD = 0.02
"""Spread of C within a budget up to which losses are compared unchanged: a plan's tolerance."""


def fit_isoflop(
    runs: RunTable,
    flops: FlopsPerUnit | None = None,
    *,
    E: float | None = None,
    noise: NoiseLaw | None = None,
) -> ApproachResult:
    """Fit approach 2: one parabola per budget, and power laws through the vertices.

    The C of a vertex is the mean of what its runs actually spent, and D_opt is the number of units
    that C pays for at N_opt: C / flops_per_unit(N_opt).

    Parameters
    ----------
    runs : RunTable
        Completed runs at their best learning rates.
    flops : FlopsPerUnit, optional
        Of the runs, where it is known already.
    E : float, optional
        The offset of L_opt; without it the offset is fitted.
    noise : NoiseLaw, optional
        How noise changes from budget to budget; without it all have the same.

    Returns
    -------
    ApproachResult
        `unsupported` if fewer than two budgets hold three sizes, `failed` if fewer than two
        profiles have a minimum or no power law joins them; both keep the points found.
    """
    if not runs.profiled.any():
        return ApproachResult(
            status="unsupported",
            reason="approach 2 needs budgets, but fewer than 2 groups of runs span at most 10% in "
            "C and hold at least 4 distinct N, or they hold less than a third of the runs",
        )
    flops = flops or FlopsPerUnit.of(runs)
    profiles, judgements = _fit_profiles(runs, noise)
    usable = [profile for profile in profiles if judge_usable(profile) is None]
    points = tuple(_point(profile, flops) for profile in usable)
    judgements += [found for profile in profiles if (found := judge_usable(profile))]
    judgements += judge_profiles(usable, points) + judge_weights(profiles)
    beyond = [point for point in points if not flops.covers(point.N_opt)]
    if beyond:
        judgements.append(judge("optimum_beyond_sizes", C=[point.C for point in beyond]))

    result = ApproachResult(status="ok", points=points, profiles=tuple(profiles))
    judgements += judge_support(points)
    reason = _too_few(profiles, points)
    if reason is not None:
        status = "unsupported" if len(profiles) < MIN_BUDGETS else "failed"
        return replace(result, status=status, reason=reason, judgements=tuple(judgements))
    try:
        laws, notes = _fit_laws(points, E)
    except ValueError as error:
        # No power law joins the optima, for example of two budgets with almost the same C
        reason = str(error).rstrip(".")
        return replace(result, status="failed", reason=reason, judgements=tuple(judgements))
    scatter = optima_scatter(_with_equal_noise(usable, noise))
    judgements += notes + judge_laws(laws["N_opt"], laws["D_opt"], points) + judge_scatter(scatter)
    return replace(result, scatter=scatter.ratio, judgements=tuple(judgements), **laws)


def _fit_profiles(runs: RunTable, law: NoiseLaw | None) -> tuple[list[Profile], list[Judgement]]:
    """Return the profiles of the budgets that have enough sizes, ascending in C."""
    judgements: list[Judgement] = []
    noise = replicate_noise(runs)
    grouped = replace(runs, L=losses_at_budgets(runs)).take(runs.profiled)
    if len(grouped) < len(runs):
        judgements.append(judge("runs_at_no_budget", n=len(runs) - len(grouped), of=len(runs)))
    wide_enough = []
    for budget in np.unique(grouped.budget):
        own = grouped.take(grouped.budget == budget)
        n_sizes = np.unique(own.N).size
        if n_sizes < MIN_SIZES:
            judgements.append(judge("too_few_sizes", budget=budget, n=n_sizes, needed=MIN_SIZES))
            continue
        wide_enough.append(own)
    C = [_profile_C(own.C) for own in wide_enough]
    scales = np.ones(len(C)) if law is None else law.scale(C)
    limits = residual_limits(
        (np.log(own.N), own.L / scale) for own, scale in zip(wide_enough, scales, strict=True)
    )
    profiles = [
        fit_profile(c, own.N, own.L, noise=noise, limits=limits.times(scale))
        for c, own, scale in zip(C, wide_enough, scales, strict=True)
    ]
    return profiles, judgements


def _too_few(profiles: Sequence[Profile], points: Sequence[Point]) -> str | None:
    """Say why these profiles cannot give a law, None if they may."""
    if len(profiles) < MIN_BUDGETS:
        reason = (
            f"approach 2 needs {MIN_BUDGETS} budgets with {MIN_SIZES} sizes each, "
            f"but the runs hold {len(profiles)}"
        )
        for point in points:
            reason += f", which has a minimum (N = {point.N_opt:.4g}) but gives no law"
        return reason
    if len(points) < MIN_BUDGETS:
        return (
            f"only {len(points)} of {len(profiles)} profiles has a minimum within reach, "
            f"and a law needs {MIN_BUDGETS}"
        )
    if all(point.at_edge for point in points):
        return f"none of the {len(points)} profiles encloses its minimum, on which no law can rest"
    return None


@dataclass(frozen=True, kw_only=True)
class IsoFLOP(Approach):
    """Approach 2; it resamples the residuals of its profiles."""

    is_reference: bool = True

    def fit(self, runs: RunTable, flops: FlopsPerUnit, options: ApproachOptions) -> ApproachResult:
        """Fit it, see `fit_isoflop`."""
        return fit_isoflop(runs, flops, E=options.E, noise=options.noise)

    def resampler(
        self,
        result: ApproachResult,
        runs: RunTable,
        flops: FlopsPerUnit,
        C: NDArray[np.float64],
        options: ApproachOptions,
        resampling: Resampling,
    ) -> Resampler:
        """Draw laws through the optima of profiles with other noise."""
        usable = _with_equal_noise(_usable(result), options.noise)
        scales = [1.0 if options.noise is None else options.noise.scale(p.C) for p in usable]
        limits = residual_limits(
            (np.log(p.N), p.L) for p in _with_equal_noise(result.profiles, options.noise)
        )

        positive = bool(runs.L.min() > 0)
        shift = 0.0 if options.E is not None else shift_above_0([p.L_opt for p in result.points])

        def draw(chunks: Sequence[Chunk]) -> Draws:
            drawn = [
                resampled_optima(usable, *chunk, limits, positive=positive) for chunk in chunks
            ]
            log_N, L, mask = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
            L = L * scales
            log_C = np.broadcast_to(np.log([p.C for p in usable]), log_N.shape)
            log_D = np.log(flops.D_at(np.exp(log_C), np.exp(log_N)))
            return law_quantities(
                log_C, log_N, log_D, L, mask, np.log(C), flops, offset=options.E, shift=shift
            )

        return Resampler(draw=draw, what="leverage-scaled residuals of the profiles")

    def small_sample_factor(
        self,
        result: ApproachResult,
        runs: RunTable,
        options: ApproachOptions,
        *,
        level: float,
        stratify: bool,
    ) -> float:
        """Return Student's quantile over the normal one: these residuals keep all the variance."""
        return student_over_normal(level, _freedom(result))

    def scatter_factor(self, result: ApproachResult, *, level: float) -> float:
        """Return what the scatter of the optima makes of the factor for noise, by its posterior."""
        runs = _freedom(result)
        if result.scatter is None or runs < 1:
            return 1.0
        quantile = scattered_quantile(result.scatter, level, line=len(result.points) - 2, runs=runs)
        return quantile / float(student_t.ppf((1 + level) / 2, runs))


ISOFLOP = IsoFLOP(
    name="2",
    called="approach 2",
    does="IsoFLOP profiles",
    colour="#0072B2",
    marker="o",
    rank=0,
)


def _usable(result: ApproachResult) -> list[Profile]:
    return [profile for profile in result.profiles if judge_usable(profile) is None]


def _with_equal_noise(profiles: Sequence[Profile], law: NoiseLaw | None) -> list[Profile]:
    """Return profiles whose losses are divided by the noise of their budgets.

    Their vertices are the same, and their residuals can be pooled.
    """
    if law is None:
        return list(profiles)
    found = []
    for profile in profiles:
        scale = float(law.scale(profile.C))
        coefficients = tuple(c / scale for c in profile.coefficients)
        found.append(replace(profile, L=profile.L / scale, coefficients=coefficients))
    return found


def _freedom(result: ApproachResult) -> int:
    return sum(profile.N.size - 3 for profile in _usable(result))


def _profile_C(C: NDArray[np.float64]) -> float:
    return float(C.mean() if _spread(C) <= MAX_SPREAD else np.exp(np.log(C).mean()))


def _spread(C: NDArray[np.float64]) -> float:
    return float(C.max() / C.min() - 1)


def losses_at_budgets(runs: RunTable) -> NDArray[np.float64]:
    """Return each run's loss moved from its own C to the mean C of its budget, at its own N.

    The slope is that of a surface through all runs (approach 3). A plan's runs stand within 1% of
    their budget and keep their losses; the groups of an imported table may span 10%.
    """
    wide = [
        runs.budget == budget
        for budget in np.unique(runs.budget[runs.profiled])
        if _spread(runs.C[(runs.budget == budget) & runs.profiled]) > MAX_SPREAD
    ]
    usable = np.unique(runs.N).size > 2 and len(runs) > 5 and runs.L.min() > 0
    if not wide or not usable:
        return runs.L
    surface, _ = search_surface(runs.N, runs.D, runs.L, HuberLog())
    moved = runs.L.copy()
    for own in wide:
        rows = np.flatnonzero(own & runs.profiled)
        C = _profile_C(runs.C[rows])
        D = runs.D[rows] * C / runs.C[rows]
        moved[rows] += surface.loss(runs.N[rows], D) - surface.loss(runs.N[rows], runs.D[rows])
    return moved


def judge_usable(profile: Profile) -> Judgement | None:
    """Say why a profile gives no optimum, None if it does."""
    if not profile.has_minimum:
        return judge("no_minimum", C=profile.C, curvature=profile.coefficients[2])
    outside = max(-profile.position, profile.position - 1)
    if outside > MAX_REACH:
        side = "smaller" if profile.position < 0 else "larger"
        return judge("minimum_out_of_reach", C=profile.C, outside=outside, add=side)
    return None


def _point(profile: Profile, flops: FlopsPerUnit) -> Point:
    N_opt = float(np.exp(profile.log_N_opt))
    lowest = profile.N[np.argmin(profile.L)]
    return Point(
        C=profile.C,
        N_opt=N_opt,
        D_opt=float(flops.D_at(profile.C, N_opt)),
        L_opt=profile.L_opt,
        at_edge=bool(
            lowest in (profile.N.min(), profile.N.max()) or not 0 <= profile.position <= 1
        ),
        n=profile.N.size,
    )


def _fit_laws(points: Sequence[Point], E: float | None) -> tuple[Laws, list[Judgement]]:
    laws = optima_laws(points)
    laws["L_opt"], judgements = loss_law(points, E)
    return laws, judgements
