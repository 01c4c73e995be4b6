"""From the table of runs to fit.json."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.accounting import FlopsPerUnit
from flops_fit.laws.approaches import APPROACHES, ApproachOptions, fit_approach
from flops_fit.laws.judgements import judge_learning_rates, judge_predictions, judge_runs
from flops_fit.laws.predictions import predict_result
from flops_fit.laws.results import ApproachResult, approach_to_json
from flops_fit.laws.table import keep_best_learning_rates, read_runs


def fit_runs(
    runs: Mapping[str, Sequence[Any]],
    *,
    study: str,
    params: str,
    predict_budgets: Sequence[float] = (),
    exclude: Collection[str] = (),
    approaches: Sequence[str | int] = APPROACHES,
    tie_exponents: bool = False,
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

    Returns
    -------
    dict
        The content of fit.json: plain Python values, without NaN and Infinity.

    Raises
    ------
    UserError
        If an approach does not exist, the runs cannot be used (see `read_runs`), none is
        completed, or a budget to predict is not a positive number.
    """
    names = _checked_approaches(approaches)
    table, excluded = read_runs(runs, exclude=exclude)
    table, dropped, choices = keep_best_learning_rates(table)
    if not len(table):
        raise UserError(
            f"Study {study} has no completed run to fit ({len(dropped)} unusable, "
            f"{len(excluded)} excluded)."
        )
    flops = FlopsPerUnit.from_runs(table.N, table.D, table.C)
    budgets = np.unique(table.budget).tolist()
    wanted = sorted({*budgets, *(_checked_budget(C) for C in predict_budgets)})
    sizes = (float(table.N.min()), float(table.N.max()))

    options = ApproachOptions(tied=tie_exponents)
    results: dict[str, ApproachResult] = {}
    entries = {}
    for name in names:
        result = results[name] = fit_approach(name, table, options)
        predictions = predict_result(result, wanted, flops=flops, budgets=budgets)
        entries[name] = approach_to_json(result, predictions)
        if predictions:
            entries[name]["warnings"] += judge_predictions(
                predictions, budgets=budgets, sizes=sizes
            )

    fit = {
        "study": study,
        "params": params,
        "k": {"value": flops.k, "source": "median of C/(N D) over the runs"},
        "interval_method": None,
        "n_runs": len(table),
        "excluded": [
            asdict(exclusion) for exclusion in sorted((*excluded, *dropped), key=lambda e: e.id)
        ],
        "approaches": entries,
        "holdout": [],
        "recommended": _recommend(results),
        "warnings": judge_runs(table, planned="budget" in runs) + judge_learning_rates(choices),
    }
    # A NaN here is a defect of a fit: it must not reach a file that other tools read
    json.dumps(fit, allow_nan=False)
    return fit


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


def _recommend(results: Mapping[str, ApproachResult]) -> dict[str, str | None]:
    for name, result in results.items():
        if result.status == "ok":
            return {
                "approach": name,
                "why": f"the only approach that was fitted; it rests on {len(result.points)} "
                "measured optima",
            }
    reasons = "; ".join(f"approach {n}: {r.status}, {r.reason}" for n, r in results.items())
    return {"approach": None, "why": f"no approach gave laws ({reasons})"}
