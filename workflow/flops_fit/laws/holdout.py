"""How well each approach predicts budgets that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.approach import Approach, ApproachOptions
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.results import ApproachResult, Profile

Kind = Literal["largest", "leave_one_out"]

MAX_LEFT_OUT = 20
"""How many of the largest budgets are left out one by one: a table may hold very many groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The measured optimum of a budget: its profile's vertex, None if not inside its sizes."""

    C: float
    N_opt: float | None
    L_opt: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutScore:
    """How well one approach predicted budgets that it was refitted without."""

    approach: str
    kind: Kind
    budgets: tuple[float, ...]
    mean_abs_relative_error: float | None = None
    """Of L_opt over the budgets left out; None if there is nothing to compare."""
    N_opt_ratio: float | None = None
    """Geometric mean of predicted over found N_opt."""
    per_run_error: float | None = None
    """Mean absolute relative error of a surface over the runs left out."""
    n_runs: int
    """Number of runs in the refit."""
    offset: str | None = None
    """Where L_opt's offset came from."""
    status: str = "ok"

    @property
    def error(self) -> float | None:
        """The error of L_opt, or the error over runs if there is no measured L_opt."""
        error = self.mean_abs_relative_error
        return self.per_run_error if error is None else error

    def to_json(self) -> dict[str, Any]:
        """Return an entry of `holdout` in fit.json."""
        return asdict(self) | {"budgets": list(self.budgets)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """What all approaches share when some budgets are left out."""

    kind: Kind
    left_out: tuple[float, ...]
    training: RunTable
    test: RunTable
    targets: tuple[Target, ...]
    flops: FlopsPerUnit
    """Of all runs: what a model costs is known without training it."""
    training_flops: FlopsPerUnit
    E: float | None
    """The offset of L_opt where it is given."""


def score_holdouts(
    runs: RunTable,
    approaches: Sequence[Approach],
    options: ApproachOptions,
    *,
    flops: FlopsPerUnit,
    profiles: Sequence[Profile],
    lender: Approach,
    holdout_budgets: int = 1,
) -> list[HoldoutScore]:
    """Refit without some budgets and compare the predictions with the measurements there.

    Parameters
    ----------
    flops : FlopsPerUnit
        Of the runs.
    profiles : sequence of Profile
        Of all runs; their vertices are the measured optima.
    lender : Approach
        Whose surface lends its E to laws of L_opt through few budgets.
    holdout_budgets : int
        How many of the largest budgets are left out together; 0 scores nothing.

    Returns
    -------
    list of HoldoutScore
        For each approach one of kind `largest`, and one `leave_one_out` per budget.
    """
    budgets = np.unique(runs.budget)
    if holdout_budgets < 1 or budgets.size < 2:
        return []
    targets = _targets(runs, profiles)
    splits = []
    if budgets.size - holdout_budgets >= 2:
        splits.append(("largest", budgets[-holdout_budgets:]))
    if budgets.size >= 3:
        one_by_one = budgets[-MAX_LEFT_OUT:]
        splits += [("leave_one_out", np.array([budget])) for budget in one_by_one]
    options = replace(options, judged=False)
    found = []
    for kind, left_out in splits:
        refit = _refit(runs, flops, targets, kind, left_out, options.E)
        results = {
            approach.name: approach.fit(refit.training, refit.training_flops, options)
            for approach in approaches
        }
        E = _lent_offset(lender, approaches, results, refit, options)
        found += [
            _score(approach, results[approach.name], E, lender.called, refit)
            for approach in approaches
        ]
    return found


def _refit(
    runs: RunTable,
    flops: FlopsPerUnit,
    targets: Mapping[float, Target],
    kind: Kind,
    left_out: NDArray[np.float64],
    E: float | None,
) -> Refit:
    hidden = np.isin(runs.budget, left_out)
    training = runs.take(~hidden)
    return Refit(
        kind=kind,
        left_out=tuple(left_out.tolist()),
        training=training,
        test=runs.take(hidden),
        targets=tuple(targets[budget] for budget in left_out.tolist()),
        flops=flops,
        training_flops=FlopsPerUnit.of(training),
        E=E,
    )


def _lent_offset(
    lender: Approach,
    approaches: Sequence[Approach],
    results: Mapping[str, ApproachResult],
    refit: Refit,
    options: ApproachOptions,
) -> float:
    """Return E of the lender's surface, even if the lender is not requested; 0 without one."""
    if options.E is not None or all(approach.assumes_form for approach in approaches):
        return 0.0
    result = results.get(lender.name)
    if result is None:
        result = lender.fit(refit.training, refit.training_flops, options)
    return 0.0 if result.surface is None else result.surface.E


def _targets(runs: RunTable, profiles: Sequence[Profile]) -> dict[float, Target]:
    """Return each budget's vertex in the full data."""
    found = {}
    by_C = {profile.C: profile for profile in profiles}
    for budget in np.unique(runs.budget):
        own = runs.take(runs.budget == budget)
        near = min(by_C, key=lambda C: abs(np.log(C / budget)), default=None)
        profile = by_C.get(near) if near and abs(np.log(near / budget)) < 0.1 else None
        inside = profile is not None and profile.has_minimum and 0 <= profile.position <= 1
        found[float(budget)] = Target(
            C=profile.C if profile else float(np.exp(np.log(own.C).mean())),
            N_opt=float(np.exp(profile.log_N_opt)) if inside else None,
            L_opt=profile.L_opt if inside else None,
        )
    return found


def _score(
    approach: Approach, result: ApproachResult, E: float, lender: str, refit: Refit
) -> HoldoutScore:
    score = HoldoutScore(
        approach=approach.name,
        kind=refit.kind,
        budgets=refit.left_out,
        n_runs=len(refit.training),
    )
    if result.status != "ok":
        return replace(score, status=f"{result.status}: {result.reason}")
    offset = "fit.E"
    if refit.E is None:
        result, offset = approach.with_offset(result, E, lender)
    score = replace(score, offset=offset)
    try:
        C = [target.C for target in refit.targets]
        rows = approach.predict(result, C, flops=refit.flops, budgets=C)
    except UserError as error:
        return replace(score, status=f"failed: {error}")
    pairs = list(zip(rows, refit.targets, strict=True))
    L = [abs(row.L_opt / t.L_opt - 1) for row, t in pairs if row.L_opt and t.L_opt]
    N = [row.N_opt / t.N_opt for row, t in pairs if t.N_opt]
    per_run = None
    if result.surface is not None and refit.test.L.min() > 0:
        predicted = result.surface.loss(refit.test.N, refit.test.D)
        per_run = float(np.mean(np.abs(predicted / refit.test.L - 1)))
    return replace(
        score,
        mean_abs_relative_error=float(np.mean(L)) if L else None,
        N_opt_ratio=float(np.exp(np.mean(np.log(N)))) if N else None,
        per_run_error=per_run,
    )
