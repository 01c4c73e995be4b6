"""The files of a plan: ``plan.csv`` for people and the workflow, ``specs.json`` for the trainer."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError
from flops_fit.files.reading import (
    DamagedFileError,
    fields_of,
    make_room,
    names_of_fields,
    read_json_object,
)
from flops_fit.files.rows import csv_text, read_rows
from flops_fit.plan.checks import check_experiments, check_jobs
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.job import Job

if TYPE_CHECKING:  # the launcher, which reads one job, would load numpy and pydantic
    from flops_fit.plan.plan import Plan
    from flops_fit.study.study import Study

PLAN_FILE = "plan.csv"
DESIGN_FOLDER = "rounds"
"""Below a study's folder: what the rounds of a design decided."""


def study_folder_of(plan: str | Path) -> Path:
    """Return ``results/<study>`` of the file that the workflow knows a plan by.

    That is ``plan.csv``, or, of a design, the table of its first round: its ``plan.csv`` grows
    from round to round.
    """
    path = Path(plan)
    return path.parent if path.name == PLAN_FILE else path.parents[1]


def whole_plan(plan: str | Path) -> Path:
    """Return ``plan.csv`` of the file that the workflow knows a plan by."""
    return study_folder_of(plan) / PLAN_FILE


def plan_csv(plan: Plan) -> str:
    """Return the text of ``plan.csv``."""
    return csv_text(PlannedExperiment, plan.experiments)


def plan_jobs(plan: Plan, study: Study, *, data_folder: str, search_folder: str) -> dict[str, Job]:
    """Return, by id, all that the launcher and the trainer need to know about an experiment."""
    train = study.train
    return {
        row.id: Job(
            spec=plan.specs[row.id],
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
            trunk=plan.specs[row.id].trunk if study.plan.trunks else None,
        )
        for row in plan.experiments
    }


def plan_specs(plan: Plan, study: Study, *, data_folder: str, search_folder: str) -> dict[str, Any]:
    """Return the content of ``specs.json``: the jobs of `plan_jobs` as plain objects by id."""
    jobs = plan_jobs(plan, study, data_folder=data_folder, search_folder=search_folder)
    return {run_id: job.to_json() for run_id, job in jobs.items()}


def read_plan(path: str | Path) -> list[PlannedExperiment]:
    """Return the experiments of ``plan.csv`` (cheap: no pandas, for the workflow).

    As long as the files hold what they held, one process reads and checks them once.

    Raises
    ------
    UserError
        If it or ``specs.json`` beside it is damaged (it was renamed, and a rerun writes both
        again), or they do not hold the same experiments.
    """
    before = _content(path)
    if _checked.get("content") != before:
        _checked.clear()
        experiments = _read_plan(Path(path))
        if _content(path) != before:  # written in the meantime
            return experiments
        _checked.update(content=before, experiments=experiments)
    return list(_checked["experiments"])


_checked: dict[str, Any] = {}  # the content of the plan that was read last, and its experiments


def _content(path: str | Path) -> tuple[str, ...]:
    """Return the file, and digests of it and of ``specs.json``; times are too coarse."""
    files = [Path(path), Path(path).with_name("specs.json")]
    return str(path), *(
        hashlib.sha256(file.read_bytes() if file.exists() else b"").hexdigest() for file in files
    )


def _read_plan(path: Path) -> list[PlannedExperiment]:
    experiments = read_rows(path, PlannedExperiment, exact=True)
    specs_file = path.with_name("specs.json")
    jobs = _read_jobs(specs_file) if specs_file.exists() else {}
    if jobs and {row.id for row in experiments} != set(jobs):
        # Either may be the wrong one, and a shared file system may lag behind.
        raise UserError(
            f"{path}: its experiments are not those of {specs_file.name}; run snakemake again, or, "
            "if the error persists, delete both: they are written again without training anything"
        )
    try:
        check_experiments(experiments, jobs)
    except FieldError as error:
        raise make_room(path, str(error)) from None
    return experiments


def read_experiment(path: str | Path, run_id: str) -> PlannedExperiment:
    """Return one row of ``plan.csv``; an unchanged file is read only once for all rows."""
    return _experiments_by_id(str(path), Path(path).stat().st_mtime_ns)[run_id]


@lru_cache(maxsize=1)
def _experiments_by_id(path: str, stamp: int) -> dict[str, PlannedExperiment]:
    return {row.id: row for row in read_plan(path)}


def read_job(specs_file: str | Path, run_id: str) -> Job:
    """Return the job of one experiment, read from ``specs.json``.

    Raises
    ------
    UserError
        If the file cannot be read or is damaged (it was renamed, and a rerun writes it again),
        or the plan holds no such experiment.
    """
    try:
        with suppress(DamagedFileError):
            (entry,) = fields_of(specs_file, run_id)
            return _job_of_entry(specs_file, run_id, entry)
        entries = read_json_object(specs_file)
    except OSError as error:
        raise UserError(
            f"{specs_file}: cannot be read ({error}), expected the file written with the plan; "
            f"delete {Path(specs_file).parent / 'plan.csv'} and run snakemake again to plan again"
        ) from None
    raise UserError(
        f"{specs_file}: has no experiment {run_id}, expected one of the {len(entries)} that "
        "the plan holds; run snakemake again to plan again"
    )


def read_ids(specs_file: str | Path) -> list[str]:
    """Return the ids of the experiments in ``specs.json``, in its order, without reading the rest.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    try:
        return names_of_fields(specs_file)
    except DamagedFileError as error:
        raise make_room(specs_file, str(error)) from None


def read_trunk(specs_file: str | Path, trunk: str) -> list[Job]:
    """Return the jobs of the experiments that branch off a trunk, the shortest first.

    Raises
    ------
    UserError
        If the file is damaged (it was renamed, and a rerun writes it again), or the plan holds no
        such trunk.
    """
    branches = [job for job in _read_jobs(Path(specs_file)).values() if job.trunk == trunk]
    if not branches:
        raise UserError(
            f"{specs_file}: has no trunk {trunk}, expected one that the plan holds; run snakemake "
            "again to plan again"
        )
    return sorted(branches, key=lambda job: job.steps)


@lru_cache(maxsize=1)
def _trunks_of(specs_file: str, stamp: int) -> dict[str, str | None]:
    return {run_id: job.trunk for run_id, job in _read_jobs(Path(specs_file)).items()}


def trunks_of(specs_file: str | Path) -> dict[str, str | None]:
    """Return the trunk of every experiment; an unchanged file is read only once."""
    return _trunks_of(str(specs_file), Path(specs_file).stat().st_mtime_ns)


def read_costs(specs_file: str | Path) -> dict[str, float]:
    """Return the planned C (FLOPs) of every experiment in ``specs.json`` by id, in its order.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    jobs = _read_jobs(Path(specs_file))
    return {run_id: job.flops_per_unit * job.spec.D for run_id, job in jobs.items()}


def _read_jobs(specs_file: Path) -> dict[str, Job]:
    entries = read_json_object(specs_file)
    jobs = {run_id: _job_of_entry(specs_file, run_id, entry) for run_id, entry in entries.items()}
    try:
        check_jobs(jobs)
    except FieldError as error:
        raise make_room(specs_file, str(error)) from None
    return jobs


def _job_of_entry(specs_file: str | Path, run_id: str, entry: Any) -> Job:
    try:
        return Job.from_json(run_id, entry)
    except FieldError as error:
        raise make_room(specs_file, f"{run_id}: {error}") from None
