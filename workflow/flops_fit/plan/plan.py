"""The experiments that a study asks for, each with its spec and its id. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flops_fit.errors import UserError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.layouts import given, isoflop_grid
from flops_fit.plan.layouts.layout import Cell, Dropped
from flops_fit.plan.layouts.recipe import check_batch, learning_rates
from flops_fit.plan.price import flops_per_unit
from flops_fit.plan.trunks import check_trunks
from flops_fit.study.identity import fingerprint
from flops_fit.study.spec import (
    DatasetSpec,
    LossSpec,
    LrScaling,
    ModelSpec,
    OptimizerSpec,
    Spec,
)
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

# Part of every id. Raise it when the trainer's arithmetic changes: initialisation, data order,
# schedule, optimizer, evaluation. Every experiment of every study is then trained again.
RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All experiments of a study, ordered by budget, size, learning rate and seed."""

    study: str
    unit: str  # what D counts, in the singular
    experiments: tuple[PlannedExperiment, ...]
    specs: Mapping[str, Spec]  # by id, which is derived from the spec
    dropped: tuple[Dropped, ...]
    trunks: bool = False  # whether what experiments share is trained once


def make_plan(study: Study, sizes: Mapping[float, SizeMeasure], data: DatasetMeta) -> Plan:
    """Lay out the sweep of a study.

    Parameters
    ----------
    study
        The checked configuration.
    sizes
        Parameters and FLOPs per unit of each size that was measured, in ascending order.
    data
        The prepared dataset.

    Raises
    ------
    UserError
        If the sizes do not differ in N, a batch is not a multiple of the units per sample, two rows
        get the same id, or a budget is left with fewer than three sizes.
    """
    cells, dropped = _laid_out(study, sizes, data)
    experiments: list[PlannedExperiment] = []
    specs: dict[str, Spec] = {}
    for cell, rates, seeds in cells:
        for lr in rates:
            for seed in seeds:
                row, spec = planned_experiment(
                    study, sizes[cell.size], data, cell, lr=lr, seed=seed
                )
                experiments.append(row)
                specs[row.id] = spec
    check_unique(study, experiments)
    if study.plan.trunks:
        check_trunks(study, specs.values())
    return Plan(
        study=study.name,
        unit=data.unit,
        experiments=tuple(experiments),
        specs=specs,
        dropped=dropped,
        trunks=study.plan.trunks,
    )


def _laid_out(
    study: Study, sizes: Mapping[float, SizeMeasure], data: DatasetMeta
) -> tuple[list[tuple[Cell, Sequence[float], Sequence[int]]], tuple[Dropped, ...]]:
    """Return the cells with their learning rates and seeds, and what was dropped."""
    if study.plan.experiments is not None:
        named = given.lay_out(study, sizes, data)
        return [(one.cell, one.rates, one.seeds) for one in named], ()
    check_growth(study, sizes)
    for budget in study.plan.budgets:
        check_batch(study, budget, data)
    layout = isoflop_grid.lay_out(study, sizes, units_per_sample=data.units_per_sample)
    cells = []
    for cell in layout.cells:
        N = sizes[cell.size].n_params_non_embedding
        rates = learning_rates(study, cell.budget, N, cell.D)
        cells.append((cell, rates, study.plan.seeds))
    return cells, layout.dropped


def experiment_spec(study: Study, data: DatasetMeta, cell: Cell, *, lr: float, seed: int) -> Spec:
    """Return everything that changes the outcome of an experiment, and nothing else.

    Processes, micro-batch, GPUs, names, the budget's own spelling and other experiments are
    deliberately left out.
    """
    train, scaling = study.train, study.train.lr_scaling
    scaled = scaling.power != 0 and scaling.apply != "none"
    decays = train.schedule == "wsd"
    return Spec(
        recipe=RECIPE_VERSION,
        model=ModelSpec(**study.model.target.identity(), size_param=study.model.size_param),
        size=cell.size,
        dataset=DatasetSpec(
            **study.dataset.identity(),
            content=data.content_fingerprint,
            units_per_sample=data.units_per_sample,
        ),
        loss=LossSpec(target=study.loss.path, version=study.loss.version),
        D=cell.D,
        batch=cell.batch,
        lr=lr,
        lr_scaling=LrScaling(
            power=scaling.power if scaled else 0.0,
            reference_size=scaling.reference_size if scaled else 1.0,
            apply=scaling.apply if scaled else "none",
        ),
        optimizer=OptimizerSpec(target=study.optimizer.path, version=study.optimizer.version),
        weight_decay=train.weight_decay,
        warmup_fraction=train.warmup_fraction if train.warmup_steps is None else 0.0,
        warmup_steps=train.warmup_steps,
        grad_clip=train.grad_clip,
        schedule=train.schedule,
        decay_fraction=train.decay_fraction if decays else None,
        decay_shape=train.decay_shape if decays else None,
        final_lr_fraction=1.0 if train.schedule == "constant" else train.final_lr_fraction,
        precision=train.precision,
        eval_units=min(train.eval_units, data.units_validation),
        seed=seed,
    )


def planned_experiment(
    study: Study, measure: SizeMeasure, data: DatasetMeta, cell: Cell, *, lr: float, seed: int
) -> tuple[PlannedExperiment, Spec]:
    """Return an experiment's row of the plan, and its spec.

    Raises
    ------
    UserError
        If it has fewer samples in a batch than processes, or a warm-up that does not fit.
    """
    spec = experiment_spec(study, data, cell, lr=lr, seed=seed)
    _check_warmup(study, cell, spec)
    price = flops_per_unit(study, measure)
    row = PlannedExperiment(
        id=fingerprint(spec.to_json()),
        budget=cell.budget,
        size=cell.size,
        n_params=measure.n_params,
        n_params_non_embedding=measure.n_params_non_embedding,
        flops_per_unit=price,
        D=spec.D,
        steps=cell.steps,
        C=price * spec.D,
        units_per_param=spec.D / measure.n_params_non_embedding,
        epochs=spec.D / data.units_train,
        seed=spec.seed,
        lr=spec.lr,
        batch=spec.batch,
        processes=processes_of(study, measure.n_params, spec.batch, data),
    )
    return row, spec


def check_growth(study: Study, sizes: Mapping[float, SizeMeasure]) -> None:
    """Raise a UserError unless at least three sizes differ in N."""
    counts = {measure.n_params_non_embedding for measure in sizes.values()}
    if len(counts) < isoflop_grid.FEWEST_SIZES:
        name = study.model.size_param
        raise UserError(
            f"{study.config_file}: model.size_param: the {len(sizes)} sizes of "
            f"{name!r} have {len(counts)} different parameter counts between them, expected at "
            f"least {isoflop_grid.FEWEST_SIZES}; {study.model.target.path} seems to ignore {name!r}"
        )


def _check_warmup(study: Study, cell: Cell, spec: Spec) -> None:
    """Refuse a warm-up in steps that leaves a short experiment nothing of its schedule."""
    most = spec.steps if spec.decay_start is None else spec.decay_start
    if spec.warmup_steps is not None and spec.warmup_steps > most:
        before = ""
        if most < spec.steps:
            before = f" before its decay (train.decay_fraction {spec.decay_fraction:g})"
        raise UserError(
            f"{study.config_file}: train.warmup_steps: found {spec.warmup_steps}, but size "
            f"{cell.size:g} at the budget {cell.budget:g} has {most} steps{before}, expected at "
            "most as many"
        )


def processes_of(study: Study, n_params: int, batch: int, data: DatasetMeta) -> int:
    """Return the processes of an experiment.

    Parameters
    ----------
    n_params
        All parameters of its model.
    batch
        Units.

    Raises
    ------
    UserError
        If its batch cannot be shared among them.
    """
    processes = study.processes_for(n_params)
    samples = batch // data.units_per_sample
    if samples < processes:
        raise UserError(
            f"{study.config_file}: train.batch: {batch} units are {samples} samples, expected at "
            f"least one for each of the {processes} processes (train.processes) of a model of "
            f"{n_params} parameters"
        )
    if study.sharded and samples % processes:
        raise UserError(
            f"{study.config_file}: train.batch: {batch} units are {samples} samples, expected a "
            f"multiple of the {processes} processes (train.processes) that the parameters of a "
            f"model of {n_params} parameters are sharded over (train.accelerate_config)"
        )
    return processes


def check_unique(study: Study, experiments: Iterable[PlannedExperiment]) -> None:
    """Raise a UserError if an id occurs twice: budgets are too close."""
    seen: dict[str, PlannedExperiment] = {}
    for row in experiments:
        if row.id in seen and study.plan.experiments is not None:
            raise UserError(
                f"{study.config_file}: plan.experiments: size {row.size:g} with C {row.C:.4g} is "
                "there twice as the same experiment; remove one, or give it another seed"
            )
        if row.id in seen:
            raise UserError(
                f"{study.config_file}: plan.budgets: {seen[row.id].budget:g} and {row.budget:g} "
                f"are so close that size {row.size:g} is the same experiment in both; remove one"
            )
        seen[row.id] = row
