"""Batch, steps and learning rates of one size at one budget, by number, by map or by rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flops_fit.errors import UserError
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.price import flops_per_unit
from flops_fit.study.recipe_rules import PublishedRule, rounded
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure


def cell_at(
    study: Study, measure: SizeMeasure, budget: float, size: float, *, units_per_sample: int
) -> Cell:
    """Return a size at a budget, with the batch and the whole steps that come nearest to it.

    A rule of D takes the D = budget / flops_per_unit that the budget pays for; its batch is rounded
    to whole samples (at least one), and to a multiple of the processes if parameters are sharded
    over them. D = steps * batch is exact then.

    Raises
    ------
    UserError
        If a rule gives no usable batch there.
    """
    price = flops_per_unit(study, measure)
    D = budget / price
    N = measure.n_params_non_embedding
    batch = study.train.batch.at(budget, N, D)
    if study.train.batch.rule:
        if not math.isfinite(batch):
            raise UserError(_no_number(study, "batch", batch, N, D))
        processes = study.processes_for(measure.n_params) if study.sharded else 1
        step = units_per_sample * processes
        batch = max(1, round(batch / step)) * step
    return Cell(budget=budget, size=size, steps=round(budget / (price * batch)), batch=batch)


def learning_rates(study: Study, budget: float, N: float, D: float) -> tuple[float, ...]:
    """Return the peak learning rates of an experiment, ascending; several are a grid.

    They are those of ``train.lr``, times the factor of a learning-rate pilot if one has decided.

    Parameters
    ----------
    budget
        FLOPs, as in ``plan.budgets``.
    N
        Non-embedding parameters.
    D
        Units of the training, exact.

    Raises
    ------
    UserError
        If a rule gives no usable learning rate there.
    """
    rates = study.train.lr.at(budget, N, D)
    if study.lr_factor is not None:
        rates = tuple(rounded(rate * study.lr_factor.at(N, D)) for rate in rates)
    for rate in rates:
        if not 0 < rate < math.inf:
            raise UserError(_no_number(study, "lr", rate, N, D))
    return rates


def check_batch(study: Study, budget: float, data: DatasetMeta) -> None:
    """Raise a UserError unless a batch is whole samples, and a published rule is about tokens."""
    check_unit_of_rules(study, data)
    if study.train.batch.rule:  # rounded to whole samples
        return
    batch = study.train.batch.written(budget)
    if batch % data.units_per_sample:
        below = max(1, batch // data.units_per_sample) * data.units_per_sample
        raise UserError(
            f"{study.config_file}: train.batch: found {batch} units at the budget {budget:g}, "
            f"expected a multiple of the {data.units_per_sample} units of a sample, such as {below}"
        )


def check_unit_of_rules(study: Study, data: DatasetMeta) -> None:
    """Raise a UserError if a published rule, which is about tokens, meets another unit."""
    for key in ("batch", "lr"):
        setting = getattr(study.train, key)
        if isinstance(setting.rule, PublishedRule) and data.unit != "token":
            raise UserError(
                f"{study.config_file}: train.{key}: found {setting.root}, a rule for tokens, but "
                f"the dataset's unit is {data.unit}; expected a number, a map, or the keys of a "
                "rule of your own: base, power_n, power_d, reference"
            )


def _no_number(study: Study, key: str, found: float, N: float, D: float) -> str:
    return (
        f"{study.config_file}: train.{key}: the rule gives {found:g} at N = {N:.4g} and "
        f"D = {D:.4g}, expected a positive finite number; check its powers and its reference"
    )
