"""What a plan would tell, worked out for the text of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from flops_fit.design.forecast import (
    NO_FORECAST,
    Forecast,
    expected_law,
    forecast,
    other_spends,
)
from flops_fit.design.simulation import Designed, Sweep
from flops_fit.design.truth import Truth
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
    # Two runs of each cell tell what one with half the variance tells
    twice = _foreseen(sweep, replace(law, noise=law.noise / 2**0.5))
    others = {f"for {2 * foreseen.spent:.3g} FLOPs (twice the seeds)": twice}
    return forecast_text(foreseen, f"{law.name} (plan.prior)", others)


def foresee_design(spend: float, with_spend: Callable[[float], Designed]) -> str:
    """Return the paragraphs of a design: the rounds to come, its intervals, and other spends.

    Parameters
    ----------
    spend : float
        FLOPs.
    with_spend : callable
        The study with a spend and the rounds so far; raises DesignError where there is no design.
    """
    try:
        sweep = with_spend(spend)
        law = expected_law(sweep)
        foreseen = forecast(sweep, law)
    except NO_FORECAST as error:
        return f"What this design would tell is not foreseen: {error}\n"
    others = other_spends(sweep, with_spend, spend)
    named = {f"for {other:.3g} FLOPs": one for other, one in others.items()}
    name = law.name if sweep.rounds else f"{law.name} (plan.prior)"
    return rounds_text(foreseen) + forecast_text(foreseen, name, named)


def _foreseen(sweep: Sweep, law: Truth) -> Forecast | str:
    """Return a forecast, or why there is none: a plan is a plan without one."""
    try:
        return forecast(sweep, law)
    except NO_FORECAST as error:
        return str(error)
