"""The IsoFLOP grid: at each budget several sizes, each trained until the budget is spent.

Hoffmann et al. 2022 (arXiv 2203.15556), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flops_fit.errors import UserError
from flops_fit.plan.layouts.layout import Cause, Cell, Dropped, Layout
from flops_fit.plan.layouts.recipe import cell_at
from flops_fit.plan.price import flops_per_unit
from flops_fit.study.study import Study

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

LARGEST_BUDGET_DEVIATION = 0.01
FEWEST_SIZES = 3  # what a parabola needs
_MOST_REASONS = 12  # listed in one sentence
_REMEDIES = {
    Cause.TOO_FEW_STEPS: "lower plan.min_steps or train.batch",
    Cause.UNITS_PER_PARAM: "widen plan.tokens_per_param",
    Cause.MISSES_BUDGET: "lower train.batch",
    Cause.REPEATS_DATA: "raise plan.max_epochs or bring more data",
}


def lay_out(study: Study, sizes: Mapping[float, SizeMeasure], *, units_per_sample: int) -> Layout:
    """Choose the sizes of each budget.

    Parameters
    ----------
    sizes
        Parameters and FLOPs per unit of each size that was measured, in ascending order.
    units_per_sample
        Of the dataset; batches by rule are whole samples.

    Raises
    ------
    UserError
        If a budget is left with fewer than three sizes.
    """
    cells: list[Cell] = []
    dropped: list[Dropped] = []
    for budget in study.plan.budgets:
        tried = [
            feasible_cell(study, sizes[size], budget, size, units_per_sample=units_per_sample)
            for size in sizes
        ]
        feasible = {cell.size: cell for cell in tried if isinstance(cell, Cell)}
        left_out = [drop for drop in tried if isinstance(drop, Dropped)]
        if len(feasible) < FEWEST_SIZES:
            raise UserError(_too_few_sizes(study, budget, len(feasible), len(sizes), left_out))
        log_n = {size: math.log(sizes[size].n_params_non_embedding) for size in feasible}
        chosen = spread_evenly(log_n, study.plan.sizes_per_budget)
        cells += [feasible[size] for size in chosen]
        reason = f"more sizes than plan.sizes_per_budget ({study.plan.sizes_per_budget})"
        dropped += left_out
        dropped += [
            Dropped(budget=budget, size=size, cause=Cause.NOT_NEEDED, reason=reason)
            for size in sorted(set(feasible) - set(chosen))
        ]
    return Layout(cells=tuple(cells), dropped=tuple(dropped))


def spread_evenly(log_n: Mapping[float, float], count: int) -> list[float]:
    """Choose ``count`` sizes whose log N are spread as evenly as the given ones allow.

    The targets are evenly spaced between the smallest and the largest log N; sizes are assigned to
    them so that the sum of squared distances is smallest (a linear sum assignment).

    Parameters
    ----------
    log_n
        Natural logarithm of N for each size.
    count
        How many to choose; all if there are no more.

    Returns
    -------
    list
        The chosen sizes in ascending order of N.
    """
    # Its import takes most of a second, and whoever reads a plan comes past this module.
    from scipy.optimize import linear_sum_assignment

    ordered = sorted(log_n, key=lambda size: (log_n[size], size))
    if len(ordered) <= count:
        return ordered
    positions = np.array([log_n[size] for size in ordered])  # (n_sizes,)
    targets = np.linspace(positions[0], positions[-1], count)  # (count,)
    _, columns = linear_sum_assignment((targets[:, None] - positions[None, :]) ** 2)
    return [ordered[i] for i in sorted(columns)]


def feasible_cell(
    study: Study, measure: SizeMeasure, budget: float, size: float, *, units_per_sample: int
) -> Cell | Dropped:
    """Return a size with the batch and the steps that spend the budget, or why it is left out."""
    cell = cell_at(study, measure, budget, size, units_per_sample=units_per_sample)
    low, high = study.plan.tokens_per_param or (0.0, math.inf)
    ratio = cell.D / measure.n_params_non_embedding
    deviation = cell.steps * (flops_per_unit(study, measure) * cell.batch) / budget - 1
    if cell.steps < study.plan.min_steps:
        cause = Cause.TOO_FEW_STEPS
        least = study.plan.min_steps
        reason = f"{cell.steps} steps of {cell.batch} units are fewer than min_steps {least}"
    elif not low <= ratio <= high:
        cause = Cause.UNITS_PER_PARAM
        reason = f"D/N = {ratio:.3g} is outside of tokens_per_param [{low:g}, {high:g}]"
    elif abs(deviation) > LARGEST_BUDGET_DEVIATION:
        cause = Cause.MISSES_BUDGET
        reason = f"whole steps miss the budget by {deviation:+.1%}, more than 1%"
    else:
        return cell
    return Dropped(budget=budget, size=size, cause=cause, reason=reason)


def remedies(dropped: Sequence[Dropped]) -> list[str]:
    """Return what would help where sizes were left out."""
    causes = {drop.cause for drop in dropped}
    if Cause.TOO_FEW_STEPS in causes:
        causes -= {Cause.MISSES_BUDGET}  # a smaller batch is advised already
    return [remedy for cause, remedy in _REMEDIES.items() if cause in causes]


def _too_few_sizes(
    study: Study, budget: float, n_feasible: int, n_sizes: int, dropped: Sequence[Dropped]
) -> str:
    advice = remedies(dropped)
    reasons = [f"{drop.size:g} ({drop.reason})" for drop in dropped]
    if len(reasons) > _MOST_REASONS:
        left_out = len(reasons) - _MOST_REASONS
        half = _MOST_REASONS // 2
        reasons = [*reasons[:half], f"{left_out} more in between", *reasons[-half:]]
    return (
        f"{study.config_file}: plan.budgets: the budget {budget:g} is left with {n_feasible} of "
        f"the {n_sizes} sizes, expected at least {FEWEST_SIZES}; add model.sizes in "
        f"between or around, {', '.join(advice)}, or change the budget. Dropped: "
        f"{'; '.join(reasons)}"
    )
