"""From the answer of a study to the training that it recommends at a budget."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.files.reading import read_json_object
from flops_fit.laws.predictions import is_extrapolated
from flops_fit.laws.reading import FittedLaws, Reading, read_fit
from flops_fit.pipeline.family import nearest_listed, nearest_multiple, step_of_sizes
from flops_fit.pipeline.lr_pilot import with_tuned_rates
from flops_fit.pipeline.speeds import speed_of_study
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import read_job, read_plan
from flops_fit.plan.hours import Work
from flops_fit.plan.layouts.recipe import cell_at, learning_rates
from flops_fit.plan.plan import planned_experiment
from flops_fit.records.merged_runs import read_merged_runs
from flops_fit.study.spec import Spec
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

PLANNED_STUDY = "planned_study.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """How long the training takes at the throughput that is known."""

    seconds: float
    source: str
    on_gpus: bool
    reached: bool  # whether N lies within what was timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """A training, what the answer says of it, and what has to be known about it."""

    study: Study
    row: PlannedExperiment
    spec: Spec
    unit: str
    optimum: Reading  # "C", "N_opt", "D_opt", "D_per_N", "L_opt"
    price: Reading | None  # of the deviation in N: "extra", "factor", "L"; None without a surface
    hours: Hours | None
    extrapolated: float | None  # times the largest budget, or below the smallest; None inside
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a finished study left: its answer, its plan, and its recipe."""

    folder: Path  # results/<study>
    fit: Mapping[str, Any]
    source: str
    laws: FittedLaws

    @classmethod
    def of(cls, path: Path) -> Results:
        """Read the results of a study, from its folder or its fit.json.

        Raises
        ------
        UserError
            If it has no answer from which an optimum follows at any compute.
        """
        fit, source = read_fit(path)
        answer = fit.get("answer") or {}
        if answer.get("law") is None:
            why = answer.get("why", "an earlier version of flops-fit wrote it; fit the study again")
            raise UserError(f"{source}: has no answer to recommend from: {why}")
        folder = Path(source).parent
        if folder.name == "partial":
            folder = folder.parent
        return cls(folder=folder, fit=fit, source=source, laws=FittedLaws.from_json(fit, source))

    @property
    def trained(self) -> bool:
        """Whether the study trained its runs, and did not bring them along."""
        return (self.folder / PLANNED_STUDY).exists()

    @cached_property
    def root(self) -> Path:
        """The folder in which snakemake runs: that of ``results/``."""
        return Path(os.path.relpath(self.folder.resolve().parents[1]))

    @cached_property
    def study(self) -> Study:
        """The study that was planned, its files spelled from the working directory.

        Its learning rates are those of its pilot, if it had one.
        """
        stored = read_json_object(self.folder / PLANNED_STUDY, ("config", "config_file"))
        study = Study.from_config(stored["config"], self.root / stored["config_file"])
        return with_tuned_rates(study, self.data, self.folder) if study.plan.lr_pilot else study

    @cached_property
    def planned(self) -> list[PlannedExperiment]:
        """The experiments of the plan."""
        return read_plan(self.folder / "plan.csv")

    @cached_property
    def data_folder(self) -> Path:
        """Where the dataset was prepared."""
        job = read_job(self.folder / "specs.json", self.planned[0].id)
        return self.root / job.data_folder

    @cached_property
    def data(self) -> DatasetMeta:
        """What was measured on the dataset."""
        return DatasetMeta.load(self.data_folder / "meta.json")


def recommend(results: Results, budget: float, size: float | None = None) -> Recommended:
    """Return the training that a study recommends at a budget.

    Parameters
    ----------
    budget
        FLOPs.
    size
        Of the model; None takes the one whose N is nearest to N_opt.

    Raises
    ------
    UserError
        If the laws say nothing there, or the study's code or recipe cannot be used at that size.
    """
    laws, study, data = results.laws, results.study, results.data
    optimum = laws.at_compute(budget)
    family = _Family(results)
    notes: list[str] = []
    if size is None:
        size = family.nearest(optimum["N_opt"].value, notes)
    measure = family.measured(size)
    at, by_budget = _recipe_at(results, budget)
    cell = cell_at(at, measure, budget, size, units_per_sample=data.units_per_sample)
    if cell.steps < 1:
        raise UserError(
            f"{results.source}: a budget of {budget:g} FLOPs is not one step of {cell.batch} units "
            f"of {study.model.size_param} {size:g}; ask for more"
        )
    N = measure.n_params_non_embedding
    rates = learning_rates(at, budget, N, cell.D)
    lr = rates[0] if len(rates) == 1 else _best_rate(results, rates, notes)
    row, spec = planned_experiment(at, measure, data, cell, lr=lr, seed=study.plan.seeds[0])
    if row.epochs > study.plan.max_epochs:
        notes.append(
            f"{row.epochs:.3g} epochs of the {data.units_train:,} {data.unit}s of the training "
            f"split are more than plan.max_epochs {study.plan.max_epochs:g}: bring more data, or "
            "the loss will be higher than the law says"
        )
    return Recommended(
        study=study,
        row=row,
        spec=spec,
        unit=data.unit,
        optimum=optimum,
        price=_price(laws, budget, family.N_of(measure) / optimum["N_opt"].value, notes),
        hours=_hours(results, row, spec),
        extrapolated=_times(budget, laws.budgets),
        notes=(*by_budget, *notes),
    )


class _Family:
    """The model family of a study: which sizes there are, and what they count and cost."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._known: dict[float, Any] = {row.size: row for row in results.planned}

    def N_of(self, measure: Any) -> int:
        """Return the count that the laws are written in."""
        total = self._results.fit["params"] == "total"
        return measure.n_params if total else measure.n_params_non_embedding

    def nearest(self, wanted: float, notes: list[str]) -> float:
        """Return the size whose N is nearest to the wanted one, and note where that is."""
        study = self._results.study
        sizes, name = study.config["model"]["sizes"], study.model.size_param
        planned = sorted(self._known, key=self._count)
        low, high = (self._count(size) for size in (planned[0], planned[-1]))
        listed = not isinstance(sizes, Mapping) and study.plan.experiments is None
        if listed and low <= wanted <= high:
            return nearest_listed(study.model.sizes, self._count, wanted)
        step = step_of_sizes(sizes)
        start = planned[0] if wanted < low else planned[-1]
        found = nearest_multiple(step, self._count, wanted, start=start, name=name)
        if not low <= wanted <= high:
            notes.append(
                f"{name} {found:g} lies beyond the trained sizes ({min(self._known):g} to "
                f"{max(self._known):g}): the nearest multiple of {step:g}"
            )
        return found

    def measured(self, size: float) -> SizeMeasure:
        """Return parameters and FLOPs of a size: those of the plan, or measured now."""
        if size not in self._known:
            from flops_fit.user_code.measure import measure_sizes  # torch

            study = self._results.study
            alone = dataclasses.replace(study.model, sizes=(size,), dense=False)
            study = dataclasses.replace(study, model=alone)
            self._known[size] = measure_sizes(study, self._results.data_folder)[size]
        return self._known[size]

    @cached_property
    def _count(self) -> Callable[[float], int]:
        @cache
        def count(size: float) -> int:
            if size in self._known:
                return self.N_of(self._known[size])
            from flops_fit.user_code.flops import count_of  # torch

            found = count_of(lambda: self._build(size))
            total = self._results.fit["params"] == "total"
            return found.total if total else found.non_embedding

        return count

    @cached_property
    def _build(self) -> Callable[[float], Any]:
        from flops_fit.user_code.model_contract import BuildError, model_factory
        from flops_fit.user_code.references import UserCode

        factory = model_factory(UserCode.of_study(self._results.study))

        def build(size: float) -> Any:
            try:
                return factory(size)
            except BuildError as error:
                raise UserError(f"{error}; --size states one that does") from None

        return build


def _recipe_at(results: Results, budget: float) -> tuple[Study, list[str]]:
    """Return the study with maps from budgets reduced to the entry nearest to this budget."""
    study, notes, found = results.study, [], {}
    for name in ("batch", "lr"):
        setting = getattr(study.train, name)
        if not isinstance(setting.root, dict) or repr(budget) in setting.root:
            continue
        near = min(setting.root, key=lambda text: abs(math.log(float(text) / budget)))
        entry = setting.root[near]
        found[name] = type(setting).model_validate(
            list(entry) if isinstance(entry, tuple) else entry
        )
        notes.append(
            f"train.{name} is a map from budgets: its entry at {float(near):g} is taken, which is "
            "an extrapolation"
        )
    train = study.train.model_copy(update=found)
    return dataclasses.replace(study, train=train), notes


def _best_rate(results: Results, rates: tuple[float, ...], notes: list[str]) -> float:
    """Return the rate of a grid with the lowest loss at the largest budget that has one."""
    rows = read_merged_runs(results.folder / "runs.csv")
    rows = [row for row in rows if row.completed and row.lr in rates]
    if not rows:
        raise UserError(
            f"{results.folder / 'runs.csv'}: holds no completed run at one of the learning rates "
            f"{', '.join(f'{rate:g}' for rate in rates)}, expected one to choose by"
        )
    best = min(rows, key=lambda row: (-row.budget, row.loss))
    notes.append(
        f"train.lr is a grid: {best.lr:g} was the best of it at the largest budget "
        f"{best.budget:g}, which is no rule for another"
    )
    return best.lr


def _price(laws: FittedLaws, budget: float, factor: float, notes: list[str]) -> Reading | None:
    """Return what it costs to be off N_opt by a factor at the same C."""
    try:
        return laws.off_optimum(budget, factor)
    except UserError as error:
        notes.append(f"what N costs beside N_opt is not known: {error}")
        return None


def _hours(results: Results, row: PlannedExperiment, spec: Spec) -> Hours | None:
    speed = speed_of_study(results.study, results.planned, results.folder)
    if speed is None:
        return None
    work = Work(
        N=row.n_params_non_embedding,
        flops_per_unit=row.flops_per_unit,
        batch=row.batch,
        steps=row.steps,
        processes=row.processes,
        eval_units=spec.eval_units,
    )
    return Hours(
        seconds=speed.duration(work).total,
        source=speed.source,
        on_gpus=speed.on_gpus,
        reached=speed.reaches(row.n_params_non_embedding),
    )


def _times(budget: float, measured: tuple[float, float]) -> float | None:
    """Return how many times a budget lies beyond the measured ones; None inside."""
    if not is_extrapolated(budget, measured):
        return None
    return max(budget / measured[1], measured[0] / budget)
