"""The fit.json of runs that are too few for a law, and were not meant to give one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.answer.answer import Answer
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import MIN_RUNS, read_runs
from flops_fit.laws.evidence.counted_runs import counted_runs
from flops_fit.laws.fit import FitOptions
from flops_fit.laws.fitted import Fit
from flops_fit.laws.recommendation import Recommendation


def too_few_for_laws(runs: Mapping[str, Sequence[Any]], exclude: Collection[str] = ()) -> bool:
    """Say whether fewer runs count than `fit_runs` asks for, but at least one.

    Parameters
    ----------
    runs : mapping of column name to sequence, each of length n_rows
        The columns of runs.csv, see `fit_runs`.
    exclude
        Ids of runs that do not count.
    """
    table, _, _ = counted_runs(read_runs(runs, exclude=exclude)[0], planned=True)
    return 0 < len(table) < MIN_RUNS


def without_law(
    runs: Mapping[str, Sequence[Any]],
    study: str,
    params: str,
    *,
    exclude: Collection[str] = (),
    ci: float = FitOptions.ci,
    loss_unit: str | None = FitOptions.loss_unit,
) -> dict[str, Any]:
    """Return the content of fit.json for runs that are too few: no approach, and no answer.

    Parameters are those of `fit_runs`.

    Raises
    ------
    UserError
        If the runs cannot be used, or none is completed.
    """
    table, excluded = read_runs(runs, exclude=exclude)
    table, dropped, told = counted_runs(table, planned=True)
    if not len(table):
        raise UserError(f"Study {study} has no completed run.")
    n = len(table)
    why = (
        f"{n} {'run is' if n == 1 else 'runs are'} too few for a law, which needs at least "
        f"{MIN_RUNS}"
    )
    fit = Fit(
        study=study,
        params=params,
        loss_unit=loss_unit,
        flops=FlopsPerUnit.of(table),
        N_opt_ratio_to_6ND=None,
        n_runs=n,
        excluded=tuple(sorted((*excluded, *dropped), key=lambda exclusion: exclusion.id)),
        approaches=(),
        holdout=(),
        answer=Answer(method=None, why=why, level=ci),
        backtest=None,
        if_form_is_exact=Recommendation(approach=None, why=why),
        judgements=tuple(told),
        measured=tuple(np.unique(table.C).tolist()),
        level=ci,
        n_resamples=0,
        seed=FitOptions.seed,
    ).to_json()
    json.dumps(fit, allow_nan=False)
    return fit
