"""Experiments that are named one by one (``plan.experiments``), such as the final training.

They are ordinary experiments: one that equals an experiment of a grid in everything has its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flops_fit.errors import UserError
from flops_fit.plan.layouts.isoflop_grid import LARGEST_BUDGET_DEVIATION
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.layouts.recipe import (
    cell_at,
    check_batch,
    check_unit_of_rules,
    learning_rates,
)
from flops_fit.plan.price import flops_per_unit
from flops_fit.study.given_settings import GivenExperiment
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCell:
    """A size with its steps, and the learning rates and seeds that it is trained with."""

    cell: Cell
    rates: tuple[float, ...]
    seeds: tuple[int, ...]


def lay_out(
    study: Study, sizes: Mapping[float, SizeMeasure], data: DatasetMeta
) -> tuple[GivenCell, ...]:
    """Return the experiments of ``plan.experiments``, ordered by C and size.

    An entry with a C is trained as at that budget of a grid. One with a D is trained on the whole
    steps that come nearest to it, and its budget is the C that they take.

    Raises
    ------
    UserError
        If a batch is no whole samples, D is less than half a step, whole steps miss C by more than
        1%, or a rule gives no number.
    """
    check_unit_of_rules(study, data)
    found = []
    for place, entry in enumerate(study.plan.experiments):
        named = f"{study.config_file}: plan.experiments[{place}]"
        cell = _cell(study, sizes[size_of(entry)], entry, data, named)
        N = sizes[cell.size].n_params_non_embedding
        rates = (entry.lr,) if entry.lr else learning_rates(study, cell.budget, N, cell.D)
        seeds = study.plan.seeds if entry.seed is None else (entry.seed,)
        found.append(GivenCell(cell=cell, rates=rates, seeds=tuple(seeds)))
    return tuple(sorted(found, key=lambda one: (one.cell.budget, one.cell.size)))


def size_of(entry: GivenExperiment) -> float:
    """Return the size of an entry; a model that accepts a width of 64 may not accept 64.0."""
    return int(entry.size) if float(entry.size).is_integer() else entry.size


def _cell(
    study: Study, measure: SizeMeasure, entry: GivenExperiment, data: DatasetMeta, named: str
) -> Cell:
    price = flops_per_unit(study, measure)
    budget = price * entry.D if entry.C is None else entry.C
    size, units = size_of(entry), data.units_per_sample
    if entry.batch is None:
        check_batch(study, budget, data)
        batch = cell_at(study, measure, budget, size, units_per_sample=units).batch
    elif entry.batch % units:
        raise UserError(
            f"{named}.batch: found {entry.batch} units, expected a multiple of the {units} units "
            "of a sample"
        )
    else:
        batch = entry.batch
    steps = round((budget / price if entry.D is None else entry.D) / batch)
    if steps < 1:
        raise UserError(
            f"{named}: found less than half a step of {batch} units, expected at least one; lower "
            "the batch"
        )
    deviation = steps * price * batch / budget - 1
    if entry.C is not None and abs(deviation) > LARGEST_BUDGET_DEVIATION:
        raise UserError(
            f"{named}.C: found {entry.C:g}, which whole steps of {batch} units miss by "
            f"{deviation:+.1%}, expected at most 1%; lower the batch, or state D"
        )
    if entry.C is None:
        budget = price * (steps * batch)
    return Cell(budget=budget, size=size, steps=steps, batch=batch)
