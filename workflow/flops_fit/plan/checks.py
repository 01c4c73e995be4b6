"""Checks that the numbers of ``plan.csv`` and ``specs.json`` are consistent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from flops_fit.files.fields import FieldError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.job import SHARED_FIELDS, Job

_LARGEST_EXACT = 1e15  # above, a quotient of floats no longer identifies a whole number


def check_jobs(jobs: Mapping[str, Job]) -> None:
    """Raise a FieldError unless the shared fields of a study's jobs are the same in all of them."""
    for name in SHARED_FIELDS:
        if len({getattr(job, name) for job in jobs.values()}) > 1:
            raise FieldError(f"{name}: differs between experiments of one study")


def check_experiments(experiments: Sequence[PlannedExperiment], jobs: Mapping[str, Job]) -> None:
    """Raise a FieldError unless the numbers of all rows follow from each other.

    Parameters
    ----------
    jobs
        Jobs written with the plan, by id; empty if there are none.
    """
    units_train = set()
    for row in experiments:
        for problem in _problems(row, jobs.get(row.id)):
            raise FieldError(f"{row.id}: {problem}")
        units_train.add(round(row.D / row.epochs))
    if len(units_train) > 1 and max(units_train) < _LARGEST_EXACT:
        raise FieldError("epochs: found values of training splits of different sizes")


def _problems(row: PlannedExperiment, job: Job | None) -> Iterator[str]:
    """Yield what is wrong with a row; numbers are compared as they are spelled."""
    for name in ("D", "n_params", "n_params_non_embedding", "epochs"):
        if getattr(row, name) <= 0:
            yield f"{name}: found {getattr(row, name)}, expected a positive number"
    expected: dict[str, Any] = {
        "D": row.steps * row.batch,
        "C": row.flops_per_unit * row.D,
        "units_per_param": row.D / row.n_params_non_embedding,
    }
    units_train = row.D / row.epochs
    if units_train < _LARGEST_EXACT:
        expected["epochs"] = row.D / max(1, round(units_train))
    if job is not None:
        columns = {one.name for one in fields(row)}
        for record in (job, job.spec):
            names = columns & {one.name for one in fields(record)}
            expected |= {name: getattr(record, name) for name in names}
    for name, value in expected.items():
        if str(getattr(row, name)) != str(value):
            yield f"{name}: found {getattr(row, name)!r}, expected {value!r}"
