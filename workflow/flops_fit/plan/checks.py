"""Whether the numbers of ``plan.csv`` and ``specs.json`` agree: in themselves and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from flops_fit.files.fields import FieldError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.job import SHARED_FIELDS, Job

_LARGEST_EXACT = 1e15  # above, a quotient of floats does not tell a whole number any more


def check_jobs(jobs: Mapping[str, Job]) -> None:
    """Raise a FieldError unless what the jobs of a study share is the same in all of them."""
    for name in SHARED_FIELDS:
        if len({getattr(job, name) for job in jobs.values()}) > 1:
            raise FieldError(f"{name}: differs between experiments of one study")


def check_experiments(experiments: Sequence[PlannedExperiment], jobs: Mapping[str, Job]) -> None:
    """Raise a FieldError unless the numbers of all rows follow from each other.

    Parameters
    ----------
    jobs
        Those that were written with the plan, by id; empty where there are none.
    """
    units_train = set()
    for row in experiments:
        for problem in _problems(row, jobs.get(row.id)):
            raise FieldError(f"{row.id}: {problem}")
        units_train.add(round(row.D / row.epochs))
    if len(units_train) > 1 and max(units_train) < _LARGEST_EXACT:
        raise FieldError("epochs: found those of training splits of different sizes")


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
