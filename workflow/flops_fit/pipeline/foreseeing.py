"""What a plan would tell, worked out for the text of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from numpy.linalg import LinAlgError

from flops_fit.design.forecast import Forecast, expected_law, forecast, other_spends
from flops_fit.design.question import DesignError
from flops_fit.design.simulation import Designed, Sweep
from flops_fit.design.truth import Truth
from flops_fit.errors import UserError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.forecast_text import forecast_text, rounds_text
from flops_fit.plan.tried_out import expected_of_grid, laid_grid
from flops_fit.study.study import Study


def foresee_grid(study: Study, planned: Sequence[PlannedExperiment]) -> str:
    """Return the paragraph of a grid: its intervals, and those if every cell were trained twice.

    Raises
    ------
    UserError
        If ``plan.prior`` is no law.
    """
    sweep = laid_grid(study, planned)
    law = expected_of_grid(study, sweep)
    foreseen = _foreseen(sweep, law)
    if isinstance(foreseen, str):
        return f"What it would tell at {sweep.target:.4g} FLOPs is not foreseen: {foreseen}\n"
    twice = _foreseen(replace(sweep, cells=sweep.cells * 2), law)
    others = {f"for {2 * foreseen.spent:.3g} FLOPs (twice the seeds)": twice}
    return forecast_text(foreseen, f"{law.name} (plan.prior)", others)


def foresee_design(sweep: Designed, with_spend: Callable[[float], Designed]) -> str:
    """Return the paragraphs of a design: the rounds to come, its intervals, and other spends.

    Parameters
    ----------
    sweep : Designed
        With the rounds so far.
    with_spend : callable
        The same with another spend; raises DesignError where there is no design.
    """
    law = expected_law(sweep)
    foreseen = _foreseen(sweep, law)
    if isinstance(foreseen, str):
        return f"What it would tell at {sweep.target:.4g} FLOPs is not foreseen: {foreseen}\n"
    spends = other_spends(sweep, with_spend, sweep.question.spend)
    others = {f"for {spend:.3g} FLOPs": other for spend, other in spends.items()}
    name = law.name if sweep.rounds else f"{law.name} (plan.prior)"
    return rounds_text(foreseen) + forecast_text(foreseen, name, others)


def _foreseen(sweep: Sweep, law: Truth) -> Forecast | str:
    """Return a forecast, or why there is none: a plan is a plan without one."""
    try:
        return forecast(sweep, law)
    except (DesignError, UserError, LinAlgError) as error:
        return str(error)
