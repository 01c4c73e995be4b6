"""A planned grid as its forecast and its simulations see it, and the law that a study expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flops_fit.design.history import Cell
from flops_fit.design.prior import prior_of
from flops_fit.design.simulation import Laid, Sweep
from flops_fit.design.truth import Truth, truth_of
from flops_fit.errors import UserError
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.study.study import Study


def laid_grid(study: Study, planned: Sequence[PlannedExperiment]) -> Laid:
    """Return the cells of a grid, each once for every seed; of several learning rates one counts.

    What it is asked about is the largest budget that the study predicts, or its own largest one.
    """
    rows = {(row.budget, row.size, row.seed): row for row in planned}.values()
    cells = tuple(
        Cell(
            budget=row.budget,
            size_index=-1,
            N=float(row.n_params_non_embedding),
            D=float(row.D),
            C=row.C,
            seed=row.seed,
        )
        for row in rows
    )
    costs = sorted({row.n_params_non_embedding: row.flops_per_unit for row in rows}.items())
    N, cost = (np.array(values, dtype=float) for values in zip(*costs, strict=True))
    flops = FlopsPerUnit(log_N=np.log(N), log_flops=np.log(cost), k=float(np.median(cost / N)))
    target = max([*study.predict_budgets, *(cell.budget for cell in cells)])
    return Laid(cells=cells, target=target, flops=flops)


def expected_of_grid(study: Study, sweep: Laid) -> Truth:
    """Return the law of ``plan.prior``, which a forecast of a grid assumes.

    Raises
    ------
    UserError
        If it is none.
    """
    budget = max(cell.budget for cell in sweep.cells)
    prior = _named(study, "plan.prior", prior_of, study.plan.prior, sweep.flops, budget)
    return truth_of(None, prior, sweep.flops, budget)


def truth_of_study(study: Study, sweep: Sweep) -> Truth:
    """Return the law of ``plan.truth``, which losses are simulated from; without it the prior's.

    Raises
    ------
    UserError
        If ``plan.truth`` or ``plan.prior`` is none.
    """
    truth = study.plan.truth
    if isinstance(sweep, Laid):
        if truth is None:
            return expected_of_grid(study, sweep)
        prior, budget = None, max(cell.budget for cell in sweep.cells)
    else:
        prior, budget = sweep.prior, sweep.question.budgets[-1]
    stated = truth if truth is None or isinstance(truth, str | float) else truth.model_dump()
    return _named(study, "plan.truth", truth_of, stated, prior, sweep.flops, budget)


def _named(study: Study, key: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """Read a law; its errors name the file and the key."""
    try:
        return read(*arguments, study.folder)
    except UserError as error:
        raise UserError(f"{study.config_file}: {key}: {error}") from None
