"""How well each approach predicts budgets that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.approaches.isoflop import fit_isoflop, optima_laws
from flops_fit.laws.approaches.registry import ApproachOptions, fit_approach
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.predictions import predict_result
from flops_fit.laws.results import ApproachResult

MIN_BUDGETS_FOR_OFFSET = 5
"""Of fewer budgets, an offset fitted to L_opt extrapolates worse than a surface's E."""


MAX_LEFT_OUT = 20
"""Largest budgets that are left out one by one: a table may hold a group in every 10% of C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a budget really gave: its profile's vertex; None where it has none inside its sizes."""

    C: float
    N_opt: float | None
    L_opt: float | None


def score_holdouts(
    runs: RunTable,
    names: Sequence[str],
    options: ApproachOptions,
    *,
    holdout_budgets: int = 1,
) -> list[dict[str, Any]]:
    """Refit without some budgets and compare what is predicted with what was found there.

    Parameters
    ----------
    holdout_budgets : int
        How many of the largest budgets are left out together; 0 scores nothing.

    Returns
    -------
    list of dict
        `holdout` of fit.json: for each approach one entry `kind: largest`, and one `leave_one_out`
        per budget. `mean_abs_relative_error` is that of L_opt over the budgets left out,
        `N_opt_ratio` the geometric mean of predicted over found N_opt; `per_run_error` is the mean
        absolute relative error of a surface over their runs. None where there is nothing to
        compare. `offset` says where L_opt's offset came from.
    """
    budgets = np.unique(runs.budget)
    if holdout_budgets < 1 or budgets.size < 2:
        return []
    targets = _targets(runs)
    splits = []
    if budgets.size - holdout_budgets >= 2:
        splits.append(("largest", budgets[-holdout_budgets:]))
    if budgets.size >= 3:
        one_by_one = budgets[-MAX_LEFT_OUT:]
        splits += [("leave_one_out", np.array([budget])) for budget in one_by_one]
    options = replace(options, judged=False)
    found = []
    for kind, left_out in splits:
        training = runs.take(~np.isin(runs.budget, left_out))
        results = {name: fit_approach(name, training, options) for name in names}
        E = _surface_E(results, training, options)
        found += [_score(kind, left_out, name, results[name], E, runs, targets) for name in names]
    return found


def _surface_E(
    results: Mapping[str, ApproachResult], training: RunTable, options: ApproachOptions
) -> float:
    """Return E of approach 3, whether it is asked for or not; 0 without a surface."""
    if not {"1", "2"} & set(results):
        return 0.0
    surface = (results.get("3") or fit_approach("3", training, options)).surface
    return 0.0 if surface is None else surface.E


def _targets(runs: RunTable) -> dict[float, Target]:
    """Return each budget's vertex in the full data."""
    found = {}
    profiles = {profile.C: profile for profile in fit_isoflop(runs).profiles}
    for budget in np.unique(runs.budget):
        own = runs.take(runs.budget == budget)
        near = min(profiles, key=lambda C: abs(np.log(C / budget)), default=None)
        profile = profiles.get(near) if near and abs(np.log(near / budget)) < 0.1 else None
        inside = profile is not None and profile.has_minimum and 0 <= profile.position <= 1
        found[float(budget)] = Target(
            C=profile.C if profile else float(np.exp(np.log(own.C).mean())),
            N_opt=float(np.exp(profile.log_N_opt)) if inside else None,
            L_opt=profile.L_opt if inside else None,
        )
    return found


def _score(
    kind: str,
    left_out: NDArray[np.float64],
    name: str,
    result: ApproachResult,
    E: float,
    runs: RunTable,
    targets: dict[float, Target],
) -> dict[str, Any]:
    hidden = np.isin(runs.budget, left_out)
    test = runs.take(hidden)
    entry: dict[str, Any] = {
        "approach": name,
        "kind": kind,
        "budgets": left_out.tolist(),
        "mean_abs_relative_error": None,
        "N_opt_ratio": None,
        "per_run_error": None,
        "n_runs": int((~hidden).sum()),
        "offset": None,
        "status": "ok",
    }
    if result.status != "ok":
        return entry | {"status": f"{result.status}: {result.reason}"}
    result, entry["offset"] = _with_surface_offset(result, E)
    # What a model costs is known without training it: all runs tell flops_per_unit
    flops = FlopsPerUnit.from_runs(runs.N, runs.D, runs.C)
    wanted = [targets[budget] for budget in left_out.tolist()]
    try:
        C = [target.C for target in wanted]
        rows = predict_result(result, C, flops=flops, budgets=C)
    except UserError as error:
        return entry | {"status": f"failed: {error}"}
    L = [(row.L_opt, t.L_opt) for row, t in zip(rows, wanted, strict=True) if row.L_opt and t.L_opt]
    N = [row.N_opt / t.N_opt for row, t in zip(rows, wanted, strict=True) if t.N_opt]
    if L:
        entry["mean_abs_relative_error"] = float(np.mean([abs(p / found - 1) for p, found in L]))
    if N:
        entry["N_opt_ratio"] = float(np.exp(np.mean(np.log(N))))
    if result.surface is not None and test.L.min() > 0:
        predicted = result.surface.loss(test.N, test.D)
        entry["per_run_error"] = float(np.mean(np.abs(predicted / test.L - 1)))
    return entry


def _with_surface_offset(result: ApproachResult, E: float) -> tuple[ApproachResult, str]:
    """Give L_opt's law of approaches 1 and 2 the surface's E where budgets are few."""
    if result.surface is not None:
        return result, "E of the surface"
    if len({point.C for point in result.points}) >= MIN_BUDGETS_FOR_OFFSET:
        return result, "fitted"
    offset = E if E < min(point.L_opt for point in result.points) else 0.0
    law = optima_laws(result.points, offset=offset)["L_opt"]
    source = "E of approach 3, because the budgets are fewer than 5" if offset else "0"
    return replace(result, L_opt=law), source
