"""From the table of runs to fit.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.approaches.envelope import Curves
from flops_fit.laws.approaches.registry import APPROACHES, ApproachOptions, fit_approach
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable, keep_best_learning_rates, names_budgets, read_runs
from flops_fit.laws.evidence.bootstrap import Resampling, bootstrap_draws
from flops_fit.laws.evidence.holdout import score_holdouts
from flops_fit.laws.evidence.intervals import (
    ASSUMED_WHEN_TIED,
    PERCENTILES,
    WIDENED,
    add_intervals,
    estimates_of,
    intervals_of,
    standard_errors,
    stretch_of,
    widen,
)
from flops_fit.laws.evidence.judgement import add_judgements, judge
from flops_fit.laws.evidence.judgements import judge_learning_rates, judge_predictions, judge_runs
from flops_fit.laws.evidence.recommendation import disagreements, recommend
from flops_fit.laws.evidence.surface_judgements import compare_with_6nd
from flops_fit.laws.predictions import merge_compute, predict_result
from flops_fit.laws.reading import stored_laws
from flops_fit.laws.results import ApproachResult, approach_to_json

MIN_RUNS = 5
"""Fewer runs than this are no evidence of any law."""

Progress = Callable[[str, int, int], None]
"""Called with the name of an approach, the chunks of resamples done, and all chunks."""


def fit_runs(
    runs: Mapping[str, Sequence[Any]],
    *,
    study: str,
    params: str,
    predict_budgets: Sequence[float] = (),
    exclude: Collection[str] = (),
    approaches: Sequence[str | int] = APPROACHES,
    bootstrap: int = 1000,
    ci: float = 0.95,
    seed: int = 0,
    stratify: bool = True,
    holdout_budgets: int = 1,
    tie_exponents: bool = False,
    curves: Curves | None = None,
    schedule_decays: bool = True,
    workers: int | None = None,
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
        Which parameters N counts ("total" or "non_embedding"); written down, not used.
    predict_budgets : sequence of float
        C (FLOPs) to predict, besides the study's budgets.
    exclude : collection of str
        Ids of runs to leave out.
    approaches : sequence of str or int
        Names among `APPROACHES`.
    bootstrap : int
        Resamples that intervals rest on; 0 computes none.
    ci : float
        Nominal coverage of the intervals.
    seed : int
        Of the resamples; the same seed gives the same intervals, whatever the number of workers.
    stratify : bool
        Resample runs within their budgets; false draws from all runs alike. Approach 2 resamples
        the residuals of its profiles in either case.
    holdout_budgets : int
        How many of the largest budgets the hold-out leaves out; 0 does without.
    tie_exponents : bool
        Keep alpha = beta in surfaces, which five or six runs can carry.
    curves : mapping of run id to rows [step, D, train_loss, lr], optional
        Training curves for approach 1.
    schedule_decays : bool
        Whether the learning rate decays towards each run's own end; then curves say nothing
        before it.
    workers : int, optional
        Threads of the bootstrap; by default all cores that the process may use.
    progress : callable, optional
        Told of the bootstrap's progress.

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
    names = _checked_approaches(approaches)
    table, excluded = read_runs(runs, exclude=exclude)
    table, dropped, choices = keep_best_learning_rates(table)
    _check_enough(table, study, len(dropped), len(excluded))
    flops = FlopsPerUnit.from_runs(table.N, table.D, table.C)
    budgets = np.unique(table.budget).tolist()
    wanted = merge_compute(budgets, [_checked_budget(C) for C in predict_budgets])
    options = ApproachOptions(tied=tie_exponents, curves=curves, decays=schedule_decays)
    resampling = Resampling(n=bootstrap, seed=seed, stratify=stratify, workers=workers)

    results: dict[str, ApproachResult] = {}
    entries = {}
    for name in names:
        results[name] = fit_approach(name, table, options)
        entries[name] = _entry(
            name, results[name], table, wanted, flops, options, resampling, ci, progress
        )
    holdout = score_holdouts(table, names, options, holdout_budgets=holdout_budgets)
    surfaces = [result.surface for result in results.values() if result.status == "ok"]
    ratio, notes = compare_with_6nd(next(filter(None, surfaces), None), flops, budgets)

    fit = {
        "study": study,
        "params": params,
        "k": {
            "value": flops.k,
            "source": "median of C/(N D) over the runs",
            "N_opt_ratio_to_6ND": ratio,
            "N": np.exp(flops.log_N).tolist(),
            "flops_per_unit": np.exp(flops.log_flops).tolist(),
        },
        "interval_method": _interval_method(entries, bootstrap, ci, seed),
        "n_runs": len(table),
        "excluded": [
            asdict(exclusion) for exclusion in sorted((*excluded, *dropped), key=lambda e: e.id)
        ],
        "approaches": entries,
        "holdout": holdout,
        "recommended": recommend(results, holdout),
    }
    judgements = (
        judge_runs(table, planned=names_budgets(runs))
        + judge_learning_rates(choices)
        + notes
        + disagreements(entries)
    )
    judgements += [judgement for entry in entries.values() for judgement in entry["judgements"]]
    add_judgements(fit, judgements)
    fit["prediction"] = stored_laws(
        fit["recommended"]["approach"], results, entries, _measured(table), ci
    )
    for entry in entries.values():
        for internal in ("resampled", "draws", "stretch", "judgements"):
            entry.pop(internal, None)
    # A NaN here is a defect of a fit: it must not reach a file that other tools read
    json.dumps(fit, allow_nan=False)
    return fit


def _entry(
    name: str,
    result: ApproachResult,
    table: RunTable,
    wanted: Sequence[float],
    flops: FlopsPerUnit,
    options: ApproachOptions,
    resampling: Resampling,
    ci: float,
    progress: Progress | None,
) -> dict[str, Any]:
    """Return the entry of an approach, with predictions and intervals where it has laws."""
    measured = _measured(table)
    predictions = predict_result(result, wanted, flops=flops, budgets=measured)
    entry = approach_to_json(result, predictions)
    entry["judgements"] = [judgement.of(name) for judgement in result.judgements]
    entry["resampled"] = None
    if not predictions:
        return entry
    entry["judgements"] += [
        judgement.of(name)
        for judgement in judge_predictions(
            predictions, budgets=measured, sizes=(float(table.N.min()), float(table.N.max()))
        )
    ]
    if resampling.n < 1:
        return entry
    draws, resampled = bootstrap_draws(
        name,
        result,
        table,
        np.array(wanted),
        resampling,
        options,
        None if progress is None else lambda done, of: progress(name, done, of),
    )
    estimates = estimates_of(result, predictions, flops)
    stretch = stretch_of(
        name, resampled, table, result, level=ci, stratify=resampling.stratify, tied=options.tied
    )
    factor = widen(result, estimates, draws, level=ci)
    found, lost = intervals_of(estimates, draws, level=ci, stretch=stretch)
    if options.tied and result.surface is not None:
        found |= dict.fromkeys(ASSUMED_WHEN_TIED)
    add_intervals(entry, found, name)
    if result.surface is not None:
        entry["surface"]["std_err"] = standard_errors(draws)
    entry["resampled"] = PERCENTILES.format(resampled=resampled, stretch=stretch)
    if factor > 1:
        entry["resampled"] += WIDENED.format(factor=factor)
    entry["draws"], entry["stretch"] = draws, stretch
    if lost > 0.01:
        entry["judgements"].append(judge("resamples_without_law", share=lost).of(name))
    return entry


def _measured(table: RunTable) -> list[float]:
    """Return the budgets, and the C of runs that stand at none: beyond, a law extrapolates."""
    return np.unique([*table.budget, *table.C[~table.profiled]]).tolist()


def _interval_method(
    entries: Mapping[str, Mapping[str, Any]], n: int, ci: float, seed: int
) -> str | None:
    used: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if entry["resampled"]:
            used.setdefault(entry["resampled"], []).append(name)
    if not used:
        return None
    text = "; ".join(f"{how} (approach {', '.join(names)})" for how, names in used.items())
    return f"{ci:.0%} intervals from {n} resamples, seed {seed}: {text}"


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


def _checked_approaches(approaches: Sequence[str | int]) -> list[str]:
    names = list(dict.fromkeys(str(name) for name in approaches))
    unknown = [name for name in names if name not in APPROACHES]
    if unknown or not names:
        raise UserError(
            f"fit.approaches asks for {', '.join(unknown) or 'nothing'}; "
            f"available: {', '.join(APPROACHES)}."
        )
    return names


def _checked_budget(C: float) -> float:
    try:
        return float(C)
    except (TypeError, ValueError):
        raise UserError(f"A budget to predict is {C!r}, but must be a number of FLOPs.") from None
