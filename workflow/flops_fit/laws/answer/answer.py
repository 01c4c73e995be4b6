"""The answer of a study: from its runs to N_opt, D_opt and L_opt, and how sure they are.

Which of the three methods is used depends on where the runs lie, never on their losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from flops_fit.errors import UserError
from flops_fit.laws.answer.form_error import form_error
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.answer.optimum import Optimum
from flops_fit.laws.answer.paths import N_PAIRS, fit_paths
from flops_fit.laws.answer.priors import PRIORS, PathPriors, Priors
from flops_fit.laws.answer.strata import find_stratum_optima
from flops_fit.laws.answer.surfaces import above_zero, surfaces_through
from flops_fit.laws.answer.valleys import find_optima, has_valley
from flops_fit.laws.approach import ApproachOptions
from flops_fit.laws.approaches.isoflop import losses_at_budgets
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.parabola import MIN_SIZES
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.predictions import is_extrapolated
from flops_fit.laws.results import ApproachResult

Array = NDArray[np.float64]
Method = Literal["path", "strata", "minimum"]

MIN_SHARE = 0.9
"""Share of the runs that must stand at budgets for these to be a sweep's: in a grid of N and D,
runs of equal C come about by chance."""

ONE_BUDGET = 1.25
"""Ratio of the largest to the smallest C up to which all runs are at one budget."""

PAIR, LENDERS = 2, 2
"""Sizes of a budget whose curvature is that of others, and how many such others there are at least.
In simulated designs of an exact form, whose largest budget has two sizes, errors of N_opt were 0.7
times those without that budget (`benchmarks/planner.py`)."""

INTERVALS = (
    "percentiles of draws of a path that may bend and scatter, and of E, so that they hold the "
    "error of the form"
)
NORMAL_QUANTILES = (np.arange(2 * N_PAIRS) + 0.5) / (2 * N_PAIRS)
"""Where a normal distribution is read off for as many even draws as a law has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPrediction:
    """The answer at one C: estimates, and intervals (lo, hi)."""

    C: float
    extrapolated: bool
    N_opt: float
    N_opt_ci: tuple[float, float]
    D_opt: float
    D_opt_ci: tuple[float, float]
    D_per_N: float
    D_per_N_ci: tuple[float, float]
    L_opt: float | None
    L_opt_ci: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return an entry of `answer.predictions` in fit.json."""
        pairs = ((key, value) for key, value in asdict(self).items())
        return {key: list(v) if isinstance(v, tuple) else v for key, v in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a study, or why there is none."""

    method: Method | None
    why: str
    level: float
    optima: tuple[Optimum, ...] = ()
    law: OptimumLaw | None = None
    """None for a single budget, which has a minimum but no law."""
    predictions: tuple[AnswerPrediction, ...] = ()
    form_error: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `answer` of fit.json, but for "if_form_is_exact"."""
        return {
            "method": self.method,
            "why": self.why,
            "ci": self.level,
            "interval_method": INTERVALS if self.predictions else None,
            "form_error": self.form_error,
            "points": [optimum.to_json() for optimum in self.optima],
            "predictions": [prediction.to_json() for prediction in self.predictions],
            "law": None if self.law is None else self.law.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a study."""

    C: tuple[float, ...] = ()
    """FLOPs to predict at."""
    measured: tuple[float, ...] = ()
    """Budgets; C outside of their range is extrapolated."""
    level: float = 0.95
    """Nominal coverage of the intervals."""


def fit_answer(
    runs: RunTable,
    flops: FlopsPerUnit,
    question: Question | None = None,
    *,
    options: ApproachOptions | None = None,
    known: Mapping[str, ApproachResult] | None = None,
    priors: Priors = PRIORS,
) -> Answer:
    """Return the answer that the runs give.

    Parameters
    ----------
    runs : RunTable
        Completed runs at their best learning rates.
    flops : FlopsPerUnit
        Of the runs.
    question : Question, optional
        Without one there is a law, but nothing is predicted.
    options : ApproachOptions, optional
        Of the surfaces, which a grid without budgets needs; E, if it is pinned.
    known : mapping of approach name to ApproachResult, optional
        What was fitted to these runs already; the surfaces are fitted where they are not there.
    priors : Priors

    Raises
    ------
    UserError
        If the laws leave the range of numbers at a C.
    """
    question, options = question or Question(), options or ApproachOptions()
    budgets, n_runs = _budgets(runs)
    lifted, by = above_zero(runs)
    surfaces: tuple[Surface, ...] = ()
    if len(budgets) < 2 or n_runs < MIN_SHARE * len(runs):
        surfaces = surfaces_through(lifted, flops, options, {} if by else known or {})
    chosen = _method(runs, budgets, surfaces)
    if isinstance(chosen, str):
        return Answer(method=None, why=chosen, level=question.level)
    method, budgets = chosen
    positive = bool(runs.L.min() > 0)
    if method == "strata":
        optima, common = find_stratum_optima(lifted, flops, surfaces, priors, by=by)
    else:
        optima, common = find_optima(budgets, priors.valley, positive=positive)
    why = _why(method, optima, len(runs), question.C, options.E)
    answer = Answer(method=method, why=why, level=question.level, optima=optima)
    if method == "minimum":
        return replace(answer, predictions=_at_minimum(optima[0], common, flops, question))

    def through(path: PathPriors) -> OptimumLaw:
        return fit_paths(optima, common, path, positive=positive, E=options.E)

    law = through(priors.path)
    return replace(
        answer,
        law=law,
        predictions=predict_answer(law, question, flops),
        form_error=form_error(through, law, priors.path, question.C, question.level),
    )


Budget = tuple[float, Array, Array]
"""The mean log C of its runs, their log N, and their losses at that C."""


def _method(
    runs: RunTable, budgets: list[Budget], surfaces: Sequence[Surface]
) -> tuple[Method, list[Budget]] | str:
    """Return the method that the layout of the runs allows, with its budgets, or why there is none.

    Surfaces are only given where the budgets do not hold nearly all runs.
    """
    spread = float(runs.C.max() / runs.C.min())
    if surfaces and spread > ONE_BUDGET:
        return "strata", []
    if not budgets and np.unique(runs.N).size >= MIN_SIZES and spread <= ONE_BUDGET:
        budgets = [(float(np.log(runs.C).mean()), np.log(runs.N), runs.L)]
    if not budgets:
        return "no budget holds three sizes, and no surface with an optimum fits the runs"
    if not any(has_valley(log_N, L) for _, log_N, L in budgets if np.unique(log_N).size > PAIR):
        return "at no budget do the losses have a minimum between sizes, so that none is the best"
    return ("path" if len(budgets) > 1 else "minimum"), budgets


def _budgets(runs: RunTable) -> tuple[list[Budget], int]:
    """Return the budgets whose sizes show an optimum, ascending, and how many runs they hold.

    These have three sizes or more; where there are two of them, budgets of two sizes are added, as
    a design's largest: the others lend them their curvature.
    """
    L = losses_at_budgets(runs)
    found: dict[int, list[Budget]] = {PAIR: [], MIN_SIZES: []}
    for budget in np.unique(runs.budget[runs.profiled]):
        own = runs.profiled & (runs.budget == budget)
        n_sizes = min(np.unique(runs.N[own]).size, MIN_SIZES)
        if n_sizes >= PAIR:
            log_C = float(np.log(runs.C[own]).mean())
            found[n_sizes].append((log_C, np.log(runs.N[own]), L[own]))
    pairs = found[PAIR] if len(found[MIN_SIZES]) >= LENDERS else []
    budgets = sorted(found[MIN_SIZES] + pairs, key=itemgetter(0))
    return budgets, sum(log_N.size for _, log_N, _ in budgets)


def _why(
    method: Method, optima: Sequence[Optimum], n_runs: int, C: Sequence[float], E: float | None
) -> str:
    pinned = "" if E is None else f"; E is pinned to {E:g}"
    if method == "minimum":
        own = np.exp(optima[0].log_C)
        further = "; the other budgets are not predicted" if _elsewhere(C, own) else ""
        return f"all {n_runs} runs are at one budget, which has a minimum but gives no law{further}"
    if method == "path":
        return (
            f"a path through the minima of {len(optima)} budgets, which may bend and scatter, so "
            f"that the intervals hold the error of the form{pinned}"
        )
    return (
        f"no budgets of three sizes hold nearly all runs: a path through {len(optima)} minima that "
        f"surfaces, corrected by their residuals at like compute, have; it may bend and scatter, "
        f"so that the intervals hold the error of the form{pinned}"
    )


def _elsewhere(C: Sequence[float], own: float) -> list[float]:
    return [c for c in C if abs(np.log(c / own)) > np.log(ONE_BUDGET)]


def predict_answer(
    law: OptimumLaw, question: Question, flops: FlopsPerUnit
) -> tuple[AnswerPrediction, ...]:
    """Return the medians of the draws at each C, with their percentiles.

    Raises
    ------
    UserError
        If the laws leave the range of numbers at a C.
    """
    if not question.C:
        return ()
    log_C, measured = np.log(question.C), question.measured or question.C
    log_N = law.log_N_opt(log_C)
    L = law.L_opt(log_C) if law.has_loss else None
    return tuple(
        _prediction(
            C,
            log_N[:, i],
            None if L is None else L[:, i],
            flops,
            is_extrapolated(C, measured),
            question.level,
        )
        for i, C in enumerate(question.C)
    )


def _prediction(
    C: float, log_N: Array, L: Array | None, flops: FlopsPerUnit, extrapolated: bool, level: float
) -> AnswerPrediction:
    tails = (0.5, (1 - level) / 2, (1 + level) / 2)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        log_D = np.log(flops.D_at(C, np.exp(log_N)))
        N, D, ratio = (
            np.exp(np.quantile(values, tails)).tolist() for values in (log_N, log_D, log_D - log_N)
        )
    loss = [None] * 3 if L is None else np.quantile(L, tails).tolist()
    if not np.all(np.isfinite([*N, *D, *ratio, *(v for v in loss if v is not None)])):
        raise UserError(f"The laws leave the range of numbers at C = {C:g}; ask for less.")
    return AnswerPrediction(
        C=C,
        extrapolated=extrapolated,
        N_opt=N[0],
        N_opt_ci=(N[1], N[2]),
        D_opt=D[0],
        D_opt_ci=(D[1], D[2]),
        D_per_N=ratio[0],
        D_per_N_ci=(ratio[1], ratio[2]),
        L_opt=loss[0],
        L_opt_ci=None if L is None else (loss[1], loss[2]),
    )


def _at_minimum(
    optimum: Optimum, common: float, flops: FlopsPerUnit, question: Question
) -> tuple[AnswerPrediction, ...]:
    """Return the minimum of a single budget, for those C that are that budget."""
    z = norm.ppf(NORMAL_QUANTILES)
    log_N = optimum.log_N + float(np.hypot(optimum.log_N_std_err, common)) * z
    L = optimum.L + optimum.L_std_err * z
    away = _elsewhere(question.C, float(np.exp(optimum.log_C)))
    return tuple(
        _prediction(C, log_N, L, flops, False, question.level) for C in question.C if C not in away
    )
