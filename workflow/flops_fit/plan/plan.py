"""The experiment grid: which sizes are trained for how long at which budget. Imports no torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from flops_fit.errors import UserError
from flops_fit.files.reading import read_csv_rows, read_json_object
from flops_fit.plan.job import Job
from flops_fit.plan.planned_files import check_rows, jobs_of_file
from flops_fit.study.spec import (
    DatasetSpec,
    LossSpec,
    LrScaling,
    ModelSpec,
    OptimizerSpec,
    Spec,
)
from flops_fit.study.study import Study, fingerprint
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

# Part of every id. Raise it when the trainer's arithmetic changes: initialisation, data order,
# schedule, optimizer, evaluation. Every experiment of every study is then trained anew.
RECIPE_VERSION = 1

LARGEST_BUDGET_DEVIATION = 0.01
FEWEST_SIZES = 3  # what a parabola needs
_MOST_REASONS = 12  # that one sentence lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One row of ``plan.csv`` and the spec that its id is derived from."""

    id: str
    budget: float  # FLOPs
    size: float
    n_params: int
    n_params_non_embedding: int
    flops_per_unit: float
    D: int  # units: steps * batch
    steps: int
    C: float  # FLOPs: flops_per_unit * D
    units_per_param: float  # D / n_params_non_embedding
    epochs: float  # D / units of the training split
    seed: int
    lr: float
    batch: int  # units per step over all processes
    processes: int
    spec: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A (budget, size) that the plan left out, and why."""

    budget: float
    size: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All experiments of a study, ordered by budget, size, learning rate and seed."""

    study: str
    unit: str
    experiments: tuple[Experiment, ...]
    dropped: tuple[Dropped, ...]


PLAN_COLUMNS = tuple(field.name for field in fields(Experiment) if field.name != "spec")


def make_plan(study: Study, sizes: Mapping[float, SizeMeasure], data: DatasetMeta) -> Plan:
    """Lay out the IsoFLOP sweep.

    Parameters
    ----------
    study
        The checked configuration.
    sizes
        Parameters and FLOPs per unit, measured for each of ``study.model.sizes``.
    data
        The prepared dataset.

    Raises
    ------
    UserError
        If the sizes do not differ in N, a batch is no multiple of the units per sample, two rows
        get one id, or a budget is left with fewer than three sizes.
    """
    _check_growth(study, sizes)
    experiments: list[Experiment] = []
    dropped: list[Dropped] = []
    for budget in study.plan.budgets:
        batch = study.train.batch[budget]
        _check_batch(study, budget, batch, data)
        feasible: dict[float, int] = {}
        for size in study.model.sizes:
            steps, reason = _steps(study, sizes[size], budget, batch)
            if reason:
                dropped.append(Dropped(budget=budget, size=size, reason=reason))
            else:
                feasible[size] = steps
        if len(feasible) < FEWEST_SIZES:
            raise UserError(_too_few_sizes(study, budget, feasible, dropped))
        log_n = {size: math.log(sizes[size].n_params_non_embedding) for size in feasible}
        chosen = spread_evenly(log_n, study.plan.sizes_per_budget)
        for size in sorted(set(feasible) - set(chosen)):
            reason = f"more sizes than plan.sizes_per_budget ({study.plan.sizes_per_budget})"
            dropped.append(Dropped(budget=budget, size=size, reason=reason))
        for size in chosen:
            for lr in study.train.lr[budget]:
                for seed in study.plan.seeds:
                    row = _experiment(
                        study, sizes[size], data, budget, size, feasible[size], lr, seed
                    )
                    experiments.append(row)
    _check_unique(study, experiments)
    return Plan(
        study=study.name, unit=data.unit, experiments=tuple(experiments), dropped=tuple(dropped)
    )


def spread_evenly(log_n: Mapping[float, float], count: int) -> list[float]:
    """Choose ``count`` sizes whose log N are spread as evenly as the given ones allow.

    The targets are evenly spaced between the smallest and the largest log N; sizes are assigned to
    them so that the sum of squared distances is smallest (a linear sum assignment).

    Parameters
    ----------
    log_n
        Natural logarithm of N for each size.
    count
        How many to choose; all where there are no more.

    Returns
    -------
    list
        The chosen sizes in ascending order of N.
    """
    ordered = sorted(log_n, key=lambda size: (log_n[size], size))
    if len(ordered) <= count:
        return ordered
    positions = np.array([log_n[size] for size in ordered])  # (n_sizes,)
    targets = np.linspace(positions[0], positions[-1], count)  # (count,)
    _, columns = linear_sum_assignment((targets[:, None] - positions[None, :]) ** 2)
    return [ordered[i] for i in sorted(columns)]


def _flops_per_unit(study: Study, size: SizeMeasure) -> float:
    if study.plan.flops == "6ND":
        # Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: C = 6 N D without embeddings.
        return 6.0 * size.n_params_non_embedding
    return size.flops_per_unit


def _steps(study: Study, size: SizeMeasure, budget: float, batch: int) -> tuple[int, str | None]:
    """Return the number of steps, and why the combination is dropped (None if it is not)."""
    flops_per_step = _flops_per_unit(study, size) * batch
    steps = round(budget / flops_per_step)
    if steps < study.plan.min_steps:
        least = study.plan.min_steps
        return steps, f"{steps} steps of {batch} units are fewer than min_steps {least}"
    low, high = study.plan.tokens_per_param
    ratio = steps * batch / size.n_params_non_embedding
    if not low <= ratio <= high:
        return steps, f"D/N = {ratio:.3g} is outside of tokens_per_param [{low:g}, {high:g}]"
    deviation = steps * flops_per_step / budget - 1
    if abs(deviation) > LARGEST_BUDGET_DEVIATION:
        return steps, f"whole steps miss the budget by {deviation:+.1%}, more than 1%"
    return steps, None


def _experiment(
    study: Study,
    measure: SizeMeasure,
    data: DatasetMeta,
    budget: float,
    size: float,
    steps: int,
    lr: float,
    seed: int,
) -> Experiment:
    batch = study.train.batch[budget]
    units = steps * batch
    flops_per_unit = _flops_per_unit(study, measure)
    spec = experiment_spec(study, data, size=size, D=units, batch=batch, lr=lr, seed=seed)
    return Experiment(
        id=fingerprint(spec.to_json()),
        budget=budget,
        size=size,
        n_params=measure.n_params,
        n_params_non_embedding=measure.n_params_non_embedding,
        flops_per_unit=flops_per_unit,
        D=units,
        steps=steps,
        C=flops_per_unit * units,
        units_per_param=units / measure.n_params_non_embedding,
        epochs=units / data.units_train,
        seed=seed,
        lr=lr,
        batch=batch,
        processes=_processes(study, measure, batch, data),
        spec=spec,
    )


def experiment_spec(
    study: Study, data: DatasetMeta, *, size: float, D: int, batch: int, lr: float, seed: int
) -> Spec:
    """Return everything that changes the outcome of an experiment, and nothing else.

    Processes, micro-batch, GPUs, names, the budget's own spelling and other experiments are
    deliberately left out.
    """
    train, scaling = study.train, study.train.lr_scaling
    scaled = scaling.power != 0 and scaling.apply != "none"
    return Spec(
        recipe=RECIPE_VERSION,
        model=ModelSpec(**study.model.target.identity(), size_param=study.model.size_param),
        size=size,
        dataset=DatasetSpec(
            **study.dataset.identity(),
            content=data.content_fingerprint,
            units_per_sample=data.units_per_sample,
        ),
        loss=LossSpec(target=study.loss.path, version=study.loss.version),
        D=D,
        batch=batch,
        lr=lr,
        lr_scaling=LrScaling(
            power=scaling.power if scaled else 0.0,
            reference_size=scaling.reference_size if scaled else 1.0,
            apply=scaling.apply if scaled else "none",
        ),
        optimizer=OptimizerSpec(target=study.optimizer.path, version=study.optimizer.version),
        weight_decay=train.weight_decay,
        warmup_fraction=train.warmup_fraction,
        grad_clip=train.grad_clip,
        schedule=train.schedule,
        final_lr_fraction=1.0 if train.schedule == "constant" else train.final_lr_fraction,
        precision=train.precision,
        eval_units=min(train.eval_units, data.units_validation),
        seed=seed,
    )


def _check_growth(study: Study, sizes: Mapping[float, SizeMeasure]) -> None:
    counts = {sizes[size].n_params_non_embedding for size in study.model.sizes}
    if len(counts) < FEWEST_SIZES:
        name = study.model.size_param
        raise UserError(
            f"{study.config_file}: model.size_param: the {len(study.model.sizes)} sizes of "
            f"{name!r} have {len(counts)} different parameter counts between them, expected at "
            f"least {FEWEST_SIZES}; {study.model.target.path} seems to ignore {name!r}"
        )


def _check_batch(study: Study, budget: float, batch: int, data: DatasetMeta) -> None:
    if batch % data.units_per_sample:
        below = max(1, batch // data.units_per_sample) * data.units_per_sample
        raise UserError(
            f"{study.config_file}: train.batch: found {batch} units at the budget {budget:g}, "
            f"expected a multiple of the {data.units_per_sample} units of a sample, such as {below}"
        )


def _processes(study: Study, measure: SizeMeasure, batch: int, data: DatasetMeta) -> int:
    processes = study.processes_for(measure.n_params)
    samples = batch // data.units_per_sample
    if samples < processes:
        raise UserError(
            f"{study.config_file}: train.batch: {batch} units are {samples} samples, expected at "
            f"least one for each of the {processes} processes (train.processes) of a model of "
            f"{measure.n_params} parameters"
        )
    if study.sharded and samples % processes:
        raise UserError(
            f"{study.config_file}: train.batch: {batch} units are {samples} samples, expected a "
            f"multiple of the {processes} processes (train.processes) that the parameters of a "
            f"model of {measure.n_params} parameters are sharded over (train.accelerate_config)"
        )
    return processes


def _check_unique(study: Study, experiments: Iterable[Experiment]) -> None:
    seen: dict[str, Experiment] = {}
    for row in experiments:
        if row.id in seen:
            raise UserError(
                f"{study.config_file}: plan.budgets: {seen[row.id].budget:g} and {row.budget:g} "
                f"are so close that size {row.size:g} is the same experiment in both; remove one"
            )
        seen[row.id] = row


def _too_few_sizes(
    study: Study, budget: float, feasible: Mapping[float, int], dropped: Iterable[Dropped]
) -> str:
    reasons = [f"{row.size:g} ({row.reason})" for row in dropped if row.budget == budget]
    remedies = {
        "min_steps": "lower plan.min_steps or train.batch",
        "tokens_per_param": "widen plan.tokens_per_param",
        "miss the budget": "lower train.batch",
    }
    advice = [text for word, text in remedies.items() if any(word in r for r in reasons)]
    if len(reasons) > _MOST_REASONS:
        left_out = len(reasons) - _MOST_REASONS
        half = _MOST_REASONS // 2
        reasons = [*reasons[:half], f"{left_out} more in between", *reasons[-half:]]
    return (
        f"{study.config_file}: plan.budgets: the budget {budget:g} is left with {len(feasible)} of "
        f"the {len(study.model.sizes)} sizes, expected at least {FEWEST_SIZES}; add model.sizes in "
        f"between or around, {', '.join(advice)}, or change the budget. Dropped: "
        f"{'; '.join(reasons)}"
    )


def plan_csv(plan: Plan) -> str:
    """Return the text of ``plan.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PLAN_COLUMNS)
    for row in plan.experiments:
        writer.writerow([getattr(row, name) for name in PLAN_COLUMNS])
    return text.getvalue()


def plan_summary(plan: Plan) -> str:
    """Return the plan as a person reads it: sizes per budget, cost, and what was dropped."""
    unit = plan.unit
    lines = [f"Plan of the study {plan.study}", ""]
    lines.append(f"{'budget (FLOPs)':>14}  {'size':>8}  {'N':>10}  {unit + 's D':>12}  {'D/N':>6}  "
                 f"{'steps':>8}  {'epochs':>6}")  # fmt: skip
    shown = set()
    for row in plan.experiments:
        if (row.budget, row.size) in shown:
            continue
        shown.add((row.budget, row.size))
        lines.append(
            f"{row.budget:>14.4g}  {row.size:>8g}  {row.n_params_non_embedding:>10,}  "
            f"{row.D:>12,}  {row.units_per_param:>6.3g}  {row.steps:>8,}  {row.epochs:>6.2f}"
        )
    lines += ["", "N is the non-embedding count.", ""]
    repeated = sum(row.epochs > 1 for row in plan.experiments)
    if repeated:
        lines.append(f"{repeated} experiments repeat training data (more than 1 epoch).")
    if plan.dropped:
        lines.append("Dropped:")
        lines += [
            f"  budget {row.budget:.4g}, size {row.size:g}: {row.reason}" for row in plan.dropped
        ]
        lines.append("")
    return "\n".join([*lines, plan_headline(plan)]) + "\n"


def plan_headline(plan: Plan) -> str:
    """Return the plan in one line: how many experiments, how many FLOPs, how many dropped."""
    total = sum(row.C for row in plan.experiments)
    budgets = len({row.budget for row in plan.experiments})
    return (
        f"{len(plan.experiments)} experiments at {budgets} budgets, {total:.3e} training FLOPs in "
        f"total, {len(plan.dropped)} combinations dropped"
    )


def plan_jobs(plan: Plan, study: Study, *, data_folder: str, search_folder: str) -> dict[str, Job]:
    """Return per id all that launcher and trainer need to know of an experiment."""
    train = study.train
    return {
        row.id: Job(
            spec=row.spec,
            study=plan.study,
            unit=plan.unit,
            budget=row.budget,
            n_params=row.n_params,
            n_params_non_embedding=row.n_params_non_embedding,
            flops_per_unit=row.flops_per_unit,
            steps=row.steps,
            processes=row.processes,
            compile=train.compile,
            find_unused_parameters=train.find_unused_parameters,
            accelerate_config=study.accelerate_config,
            checkpoint_minutes=train.checkpoint_minutes,
            keep_checkpoint=train.keep_checkpoint,
            data_folder=data_folder,
            search_folder=search_folder,
        )
        for row in plan.experiments
    }


def plan_specs(plan: Plan, study: Study, *, data_folder: str, search_folder: str) -> dict[str, Any]:
    """Return the content of ``specs.json``: the jobs of `plan_jobs` as plain objects by id."""
    jobs = plan_jobs(plan, study, data_folder=data_folder, search_folder=search_folder)
    return {run_id: job.to_json() for run_id, job in jobs.items()}


def read_plan(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of ``plan.csv`` as text by column (cheap: no pandas, for the workflow).

    Raises
    ------
    UserError
        If it or ``specs.json`` beside it is damaged (it was renamed, and both are written anew by a
        rerun), or they do not hold the same experiments.
    """
    rows = read_csv_rows(path, PLAN_COLUMNS)
    specs_file = Path(path).with_name("specs.json")
    jobs = jobs_of_file(specs_file, read_json_object(specs_file)) if specs_file.exists() else {}
    if jobs and {row["id"] for row in rows} != set(jobs):
        # Nothing says which of the two is right, and a shared file system may be behind.
        raise UserError(
            f"{path}: its experiments are not those of {specs_file.name}; run snakemake again, or, "
            "if that says the same, delete both: they are written anew, and nothing is trained for "
            "it"
        )
    check_rows(Path(path), rows, jobs)
    return rows


def read_row(path: str | Path, run_id: str) -> dict[str, str]:
    """Return one row of ``plan.csv``; a file that did not change is read once for all rows."""
    return _rows_by_id(str(path), Path(path).stat().st_mtime_ns)[run_id]


@lru_cache(maxsize=1)
def _rows_by_id(path: str, stamp: int) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read_plan(path)}
