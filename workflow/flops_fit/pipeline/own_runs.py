"""What the runs of a design found, and runs that it did not ask for but can use. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flops_fit.design.standing import SAME_BUDGET
from flops_fit.errors import UserError
from flops_fit.files.reading import DamagedFileError, parse_csv
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.plan.decision import TRAINED_ALREADY, ChosenExperiment, Decision
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import PLAN_FILE
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.layouts.recipe import cell_at, learning_rates
from flops_fit.plan.plan import experiment_spec, planned_experiment
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    is_held,
    run_file,
    state_folder,
)
from flops_fit.records.run_record import RunRecord, read_record
from flops_fit.study.identity import fingerprint
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta


def losses_of(
    rows: Sequence[ChosenExperiment], study: Study, study_folder: Path
) -> dict[str, float | None]:
    """Return the loss of each experiment by id; None where it diverged or the study excludes it.

    An excluded experiment needs no record: it counts as one that failed.

    Raises
    ------
    UserError
        If another one has no record or a damaged one, or a loss is not above zero.
    """
    excluded = set(study.fit.exclude)
    asked = [row for row in rows if row.id not in excluded]
    found: dict[str, float | None] = {row.id: None for row in rows}
    for run in collect_runs([row.planned for row in asked], study_folder, "total", study.name):
        found[run.id] = run.loss if run.completed else None
        if run.loss is not None and run.loss <= 0:
            raise UserError(
                f"{run_file(study_folder, run.id)}: loss: found {run.loss:g}, expected one above "
                "zero: a design goes by the logarithm of losses; use a grid (plan.budgets alone) "
                "for a loss that may be negative"
            )
    return found


def has_begun(rows: Sequence[ChosenExperiment], study_folder: Path) -> bool:
    """Say whether anything of a round was trained, or is being trained."""
    return any(_has_begun(row.id, study_folder) for row in rows)


def _has_begun(run_id: str, study_folder: Path) -> bool:
    state = state_folder(study_folder, run_id)
    kept = (CHECKPOINT, PREVIOUS_CHECKPOINT, "record.json")
    return (
        run_file(study_folder, run_id).exists()
        or any((state / name).exists() for name in kept)
        or is_held(study_folder, run_id)
    )


def still_meant(decision: Decision, study: Study, data: DatasetMeta) -> bool:
    """Say whether the study would train a decision's experiments as they were decided."""
    return all(is_recipe_of(study, data, row) for row in decision.rows)


def is_recipe_of(study: Study, data: DatasetMeta, row: PlannedExperiment) -> bool:
    """Say whether an experiment is what the study trains of its size, D and seed: its id tells."""
    cell = Cell(budget=row.budget, size=row.size, steps=row.steps, batch=row.batch)
    N = row.n_params_non_embedding
    measure = SimpleNamespace(
        n_params=row.n_params, n_params_non_embedding=N, flops_per_unit=row.flops_per_unit
    )
    try:
        meant = cell_at(
            study, measure, row.budget, row.size, units_per_sample=data.units_per_sample
        )
        rates = learning_rates(study, row.budget, N, cell.D)
    except (KeyError, UserError):  # a map without this budget, or a rule that gives nothing there
        return False
    if meant.batch != row.batch or row.lr not in rates:
        return False
    spec = experiment_spec(study, data, cell, lr=row.lr, seed=row.seed)
    return fingerprint(spec.to_json()) == row.id


def runs_along(
    study: Study,
    data: DatasetMeta,
    sizes: Mapping[float, Any],
    study_folder: Path,
    *,
    budgets: Sequence[float],
    known: Collection[str],
) -> tuple[ChosenExperiment, ...]:
    """Return the completed runs of the study's recipe in its folder that nobody asked for.

    Parameters
    ----------
    sizes
        Measured sizes; runs of other sizes count, too.
    budgets
        Of the design, FLOPs: a run belongs to the one that it misses by 1% at most, or else has a
        budget of its own.
    known
        Ids that are left out.
    """
    written = _written_budgets(study_folder)
    found = []
    for path in sorted((study_folder / "runs").glob("*.json")):
        if path.stem in known or path.stem in study.fit.exclude:
            continue
        try:
            record = read_record(path)
        except (OSError, UserError):  # said when it is needed
            continue
        row = _row_of(record, study, data, sizes, written, budgets)
        if row is not None:
            found.append(row)
    return tuple(sorted(found, key=lambda row: (row.budget, row.n_params_non_embedding, row.seed)))


def _row_of(
    record: RunRecord,
    study: Study,
    data: DatasetMeta,
    sizes: Mapping[float, Any],
    written: Mapping[str, float],
    budgets: Sequence[float],
) -> ChosenExperiment | None:
    """Return a record as a row, None if the study would not train it so."""
    spec = record.spec
    if not record.completed or record.study != study.name or record.loss <= 0:
        return None
    near = [budget for budget in budgets if abs(record.C / budget - 1) <= SAME_BUDGET]
    budget = near[0] if near else written.get(record.id, record.C)
    cell = Cell(budget=budget, size=spec.size, steps=record.steps, batch=spec.batch)
    measure = sizes.get(spec.size) or SimpleNamespace(
        n_params=record.n_params,
        n_params_non_embedding=record.n_params_non_embedding,
        flops_per_unit=record.C / record.D,
    )
    try:
        row, _ = planned_experiment(study, measure, data, cell, lr=spec.lr, seed=spec.seed)
    except UserError:
        return None
    same = (row.n_params, row.n_params_non_embedding) == (
        record.n_params,
        record.n_params_non_embedding,
    )
    same = same and row.id == record.id and abs(row.C / record.C - 1) < 1e-9
    if not same or not is_recipe_of(study, data, row):
        return None
    values = {name: getattr(row, name) for name in PlannedExperiment.__dataclass_fields__}
    return ChosenExperiment(**values, why=TRAINED_ALREADY)


def _written_budgets(study_folder: Path) -> dict[str, float]:
    """Return the budgets of the plan that lies there, perhaps that of a grid, by id."""
    try:
        rows = parse_csv(study_folder / PLAN_FILE, ("id", "budget"))
        return {row["id"]: float(row["budget"]) for row in rows}
    except (OSError, DamagedFileError, ValueError):
        return {}
