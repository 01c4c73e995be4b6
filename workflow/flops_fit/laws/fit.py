"""From the table of runs to fit.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.answer.answer import Question, fit_answer
from flops_fit.laws.approach import Approach, ApproachOptions, Curves
from flops_fit.laws.approaches.registry import (
    approach_named,
    approach_names,
    default_names,
    lending_approach,
    reference_approach,
)
from flops_fit.laws.backtest.own import backtest_own
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import (
    MIN_RUNS,
    RunTable,
    names_budgets,
    read_runs,
)
from flops_fit.laws.evidence.counted_runs import counted_runs
from flops_fit.laws.evidence.intervals import intervals_of, scattered_apart, standard_errors
from flops_fit.laws.evidence.judgements import judge_predictions, judge_runs
from flops_fit.laws.evidence.noise_law import NoiseLaw, judge_noise, noise_law, weighing_law
from flops_fit.laws.evidence.repeated_data import count_as_fresh
from flops_fit.laws.evidence.resampling import Resampling, bootstrap_draws
from flops_fit.laws.evidence.surface_judgements import compare_with_6nd
from flops_fit.laws.evidence.units import NATS_PER_UNIT, scales_are_wrong, without_absurdities
from flops_fit.laws.fitted import Fit, FittedApproach, Resampled
from flops_fit.laws.holdout import HoldoutScore, score_holdouts
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.predictions import merge_compute
from flops_fit.laws.recommendation import disagreements, recommend
from flops_fit.laws.results import ApproachResult, Prediction

MAX_UNSAID_LOSS = 0.01
"""Share of resamples without a law up to which no judgement is made."""

Progress = Callable[[str, int, int], None]
"""Called with the name of an approach, the chunks of resamples done, and all chunks."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of a fit. Their defaults, which `fit_runs` shares, are defined only here."""

    predict_budgets: Sequence[float] = ()
    """C (FLOPs) to predict, besides the study's budgets."""
    exclude: Collection[str] = ()
    """Ids of runs to leave out."""
    approaches: Sequence[str | int] | None = None
    """Names among `approach_names()`; None for `default_names()`."""
    bootstrap: int = 1000
    """Resamples behind the intervals; 0 computes none."""
    ci: float = 0.95
    """Nominal coverage of the intervals."""
    seed: int = 0
    """Of the resamples; the same seed gives the same intervals, whatever the number of workers."""
    stratify: bool = True
    """Resample runs within their budgets; false draws from all runs alike. Approach 2 resamples the
    residuals of its profiles in either case."""
    holdout_budgets: int = 1
    """How many of the largest budgets the hold-out leaves out; 0 skips it."""
    tie_exponents: bool = False
    """Keep alpha = beta in surfaces, for which five or six runs suffice."""
    E: float | None = None
    """Keep this E in surfaces, and as the offset of L_opt; None fits it."""
    noise: str = "constant"
    """"by_compute" weighs runs by how their noise changes with C; "constant" weighs all alike."""
    curves: Curves | None = None
    """Training curves for approach 1, by run id: rows [step, D, train_loss, lr]."""
    schedule_decays: bool = True
    """Whether the learning rate decays towards each run's own end; then curves say nothing before
    it."""
    loss_unit: str | None = NATS_PER_UNIT
    """Unit of the losses: `nats_per_unit`, `bits_per_byte`, ..., `other`; None if nobody has said
    it. Written down, and known to the judgements."""
    workers: int | None = None
    """Threads of the bootstrap; None for all cores that the process may use."""


def fit_runs(
    runs: Mapping[str, Sequence[Any]],
    *,
    study: str,
    params: str,
    predict_budgets: Sequence[float] = FitOptions.predict_budgets,
    exclude: Collection[str] = FitOptions.exclude,
    approaches: Sequence[str | int] | None = FitOptions.approaches,
    bootstrap: int = FitOptions.bootstrap,
    ci: float = FitOptions.ci,
    seed: int = FitOptions.seed,
    stratify: bool = FitOptions.stratify,
    holdout_budgets: int = FitOptions.holdout_budgets,
    tie_exponents: bool = FitOptions.tie_exponents,
    E: float | None = FitOptions.E,
    noise: str = FitOptions.noise,
    curves: Curves | None = FitOptions.curves,
    schedule_decays: bool = FitOptions.schedule_decays,
    loss_unit: str | None = FitOptions.loss_unit,
    workers: int | None = FitOptions.workers,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit the laws of a study to its runs.

    Parameters
    ----------
    runs : mapping of column name to sequence, each of length n_rows
        The columns of runs.csv, see `read_runs`: N in parameters, D in units, C in FLOPs, loss in
        nats per unit. A data frame's `to_dict("list")` is one.
    study : str
        Name of the study.
    params : str
        Which parameters N counts (total, non_embedding, as_in_table); written down, not used.
    progress : callable, optional
        Called with the bootstrap's progress.
    predict_budgets ... workers
        See the fields of `FitOptions`.

    Returns
    -------
    dict
        The content of fit.json: plain Python values, without NaN and Infinity.

    Raises
    ------
    UserError
        If an approach does not exist, the runs cannot be used (see `read_runs`), fewer than five
        are completed, or a budget to predict is not a positive number.
    """
    options = FitOptions(
        predict_budgets=predict_budgets, exclude=exclude, approaches=approaches,
        bootstrap=bootstrap, ci=ci, seed=seed, stratify=stratify, holdout_budgets=holdout_budgets,
        tie_exponents=tie_exponents, E=E, noise=noise, curves=curves, loss_unit=loss_unit,
        schedule_decays=schedule_decays, workers=workers,
    )  # fmt: skip
    found = fit_laws(runs, options, study=study, params=params, progress=progress)
    fit = found.to_json()
    # A NaN here is a defect of a fit: it must not reach a file that other tools read
    json.dumps(fit, allow_nan=False)
    return fit


def fit_laws(
    runs: Mapping[str, Sequence[Any]],
    options: FitOptions,
    *,
    study: str,
    params: str,
    progress: Progress | None = None,
) -> Fit:
    """Fit the laws of a study to its runs, see `fit_runs`."""
    wanted = [approach_named(name) for name in _checked_approaches(options.approaches)]
    table, excluded = read_runs(runs, exclude=options.exclude)
    table, dropped, told = counted_runs(table, planned=names_budgets(runs))
    repeats = count_as_fresh(table, planned=names_budgets(runs))
    table, dropped = repeats.fresh, (*dropped, *repeats.excluded)
    _check_enough(table, study, len(dropped), len(excluded))
    law = noise_law(table)
    setting = _setting(table, replace(options, curves=repeats.curves(options.curves)), law)
    fitted = [fit_approach(approach, setting, progress) for approach in wanted]
    scores = _holdout(fitted, setting, options.holdout_budgets)
    judged = judge_runs(repeats.spent, planned=names_budgets(runs), loss_unit=options.loss_unit)
    ratio, notes = (None, []) if scales_are_wrong(judged) else _against_6nd(fitted, setting)
    answer = fit_answer(
        table,
        setting.flops,
        Question(C=tuple(setting.C), measured=setting.measured, level=options.ci),
        options=setting.options,
        known={item.approach.name: item.result for item in fitted},
    )
    backtest = backtest_own(table, answer, setting.options, setting.C)
    judgements = [
        *judged,
        *repeats.judged(answer.predictions),
        *told,
        *([] if options.E is None else [judge("pinned_e", E=options.E)]),
        *judge_noise(law, weighted=options.noise == "by_compute"),
        *notes,
        *_disagreements(fitted),
        *(() if backtest is None else backtest.judgements),
        *(judgement for item in fitted for judgement in item.judgements),
    ]
    exact = recommend([(item.approach, item.result) for item in fitted], scores)
    return Fit(
        study=study,
        params=params,
        loss_unit=options.loss_unit,
        flops=setting.flops,
        N_opt_ratio_to_6ND=ratio,
        n_runs=len(table),
        excluded=tuple(sorted((*excluded, *dropped), key=lambda exclusion: exclusion.id)),
        approaches=tuple(fitted),
        holdout=tuple(scores),
        answer=answer,
        backtest=backtest,
        if_form_is_exact=exact,
        judgements=tuple(without_absurdities(judgements)),
        measured=setting.measured,
        level=options.ci,
        n_resamples=options.bootstrap,
        seed=options.seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all approaches of a fit share."""

    runs: RunTable
    flops: FlopsPerUnit
    C: Sequence[float]
    """FLOPs of the predictions."""
    options: ApproachOptions
    resampling: Resampling
    level: float

    @property
    def measured(self) -> tuple[float, ...]:
        """The budgets, and the C of runs without one: outside their range, a law extrapolates."""
        runs = self.runs
        return tuple(np.unique([*runs.budget, *runs.C[~runs.profiled]]).tolist())


def _setting(table: RunTable, options: FitOptions, law: NoiseLaw | None) -> Setting:
    budgets = np.unique(table.budget).tolist()
    return Setting(
        runs=table,
        flops=FlopsPerUnit.of(table),
        C=merge_compute(budgets, [_checked_budget(C) for C in options.predict_budgets]),
        options=ApproachOptions(
            tied=options.tie_exponents,
            E=_checked_E(options.E, table),
            noise=weighing_law(options.noise, law),
            curves=options.curves,
            decays=options.schedule_decays,
        ),
        resampling=Resampling(
            n=options.bootstrap,
            seed=options.seed,
            stratify=options.stratify,
            workers=options.workers,
        ),
        level=options.ci,
    )


def fit_approach(
    approach: Approach, setting: Setting, progress: Progress | None = None
) -> FittedApproach:
    """Fit an approach, and predict and resample where it has laws."""
    runs, flops = setting.runs, setting.flops
    result = approach.fit(runs, flops, setting.options)
    judgements = list(result.judgements)
    predictions: tuple[Prediction, ...] = ()
    resampled = None
    if result.status == "ok":
        predictions = approach.predict(result, setting.C, flops=flops, budgets=setting.measured)
        judgements += judge_predictions(
            predictions,
            budgets=setting.measured,
            sizes=(float(runs.N.min()), float(runs.N.max())),
        )
    if predictions and setting.resampling.n > 0:
        resampled, lost = _resample(approach, result, predictions, setting, progress)
        if lost > MAX_UNSAID_LOSS:
            judgements.append(judge("resamples_without_law", share=lost))
    return FittedApproach(
        approach=approach,
        result=result,
        predictions=predictions,
        judgements=tuple(judgement.of(approach.name) for judgement in judgements),
        resampled=resampled,
    )


def _resample(
    approach: Approach,
    result: ApproachResult,
    predictions: tuple[Prediction, ...],
    setting: Setting,
    progress: Progress | None,
) -> tuple[Resampled, float]:
    """Return the draws of an approach with its intervals, and the share that gave no law."""
    runs, flops, options = setting.runs, setting.flops, setting.options
    resampling, level = setting.resampling, setting.level
    resampler = approach.resampler(result, runs, flops, np.array(setting.C), options, resampling)
    report = None if progress is None else lambda done, of: progress(approach.name, done, of)
    draws = bootstrap_draws(resampler, resampling, n_runs=len(runs), progress=report)
    estimates = approach.estimates(result, predictions, flops)
    factor = approach.small_sample_factor(
        result, runs, options, level=level, stratify=resampling.stratify
    )
    scatter = approach.scatter_factor(result, level=level)
    draws = scattered_apart(estimates, draws, scatter)
    intervals, lost = intervals_of(estimates, draws, level=level, factor=factor)
    resampled = Resampled(
        draws=draws,
        what=resampler.what,
        small_sample_factor=factor,
        scatter_factor=scatter,
        intervals=intervals | dict.fromkeys(approach.settled(options)),
        std_err=None if result.surface is None else standard_errors(draws),
    )
    return resampled, lost


def _holdout(
    fitted: Sequence[FittedApproach], setting: Setting, holdout_budgets: int
) -> list[HoldoutScore]:
    """Score the approaches against the optima of the reference approach."""
    if holdout_budgets < 1:
        return []
    reference = reference_approach()
    results = [item.result for item in fitted if item.approach is reference]
    if not results:
        results = [reference.fit(setting.runs, setting.flops, setting.options)]
    return score_holdouts(
        setting.runs,
        [item.approach for item in fitted],
        setting.options,
        flops=setting.flops,
        profiles=results[0].profiles,
        lender=lending_approach(),
        holdout_budgets=holdout_budgets,
    )


def _disagreements(fitted: Sequence[FittedApproach]) -> list[Judgement]:
    exponents = [
        (item.approach, item.result.N_opt.exponent, interval)
        for item in fitted
        if (interval := item.interval("N_opt exponent")) is not None
    ]
    return disagreements(exponents)


def _against_6nd(
    fitted: Sequence[FittedApproach], setting: Setting
) -> tuple[float | None, list[Judgement]]:
    """Compare the first surface's optimum under the measured FLOPs with that under 6 N D."""
    surfaces = [item.result.surface for item in fitted if item.result.status == "ok"]
    surface = next((surface for surface in surfaces if surface is not None), None)
    return compare_with_6nd(surface, setting.flops, np.unique(setting.runs.budget).tolist())


def _check_enough(table: RunTable, study: str, n_dropped: int, n_excluded: int) -> None:
    if not len(table):
        raise UserError(
            f"Study {study} has no completed run to fit ({n_dropped} unusable, "
            f"{n_excluded} excluded)."
        )
    if len(table) < MIN_RUNS:
        raise UserError(
            f"Study {study} has {len(table)} runs to fit ({n_dropped} unusable, {n_excluded} "
            f"excluded), but a law needs at least {MIN_RUNS}: add runs."
        )


def _checked_approaches(approaches: Sequence[str | int] | None) -> list[str]:
    available = approach_names()
    wanted = default_names() if approaches is None else approaches
    names = list(dict.fromkeys(str(name) for name in wanted))
    unknown = [name for name in names if name not in available]
    if unknown or not names:
        raise UserError(
            f"fit.approaches asks for {', '.join(unknown) or 'nothing'}; "
            f"available: {', '.join(available)}."
        )
    return names


def _checked_budget(C: float) -> float:
    try:
        return float(C)
    except (TypeError, ValueError):
        raise UserError(f"A budget to predict is {C!r}, but must be a number of FLOPs.") from None


def _checked_E(E: float | None, table: RunTable) -> float | None:
    if E is None:
        return None
    lowest = int(np.argmin(table.L))
    if 0 <= E < table.L[lowest]:
        return float(E)
    raise UserError(
        f"fit.E is {E:g}, but must be from 0 to below the lowest loss, {table.L[lowest]:.6g} of "
        f"run {table.id[lowest]}."
    )
