"""Whether ``plan.csv`` and ``specs.json`` are what was written, in themselves and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError
from flops_fit.files.reading import make_room, read_json_object, spells_a_number
from flops_fit.plan.job import SHARED_FIELDS, Job

_LARGEST_EXACT = 1e15  # above, a quotient of floats does not tell a whole number any more


def job_of_entry(path: Path, run_id: str, entry: Any) -> Job:
    """Return an entry of ``specs.json`` as a job.

    Raises
    ------
    UserError
        If it is damaged; the file was renamed.
    """
    try:
        return Job.from_json(run_id, entry)
    except FieldError as error:
        raise make_room(path, f"{run_id}: {error}") from None


def jobs_of_file(path: Path, entries: Mapping[str, Any]) -> dict[str, Job]:
    """Return the jobs of a whole ``specs.json`` by id.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    jobs = {run_id: job_of_entry(path, run_id, entry) for run_id, entry in entries.items()}
    for name in SHARED_FIELDS:
        if len({getattr(job, name) for job in jobs.values()}) > 1:
            raise make_room(path, f"{name}: differs between experiments of one study")
    return jobs


def check_rows(path: Path, rows: Sequence[Mapping[str, str]], jobs: Mapping[str, Job]) -> None:
    """Raise a UserError unless the rows of ``plan.csv`` are whole; the file is then renamed.

    Parameters
    ----------
    jobs
        Those of the ``specs.json`` that was written with it; empty where there is none.

    Raises
    ------
    UserError
    """
    units_train = set()
    for row in rows:
        problem = next(_problems_of_row(row, jobs.get(row["id"])), None)
        if problem:
            raise make_room(path, f"{row['id']}: {problem}")
        units_train.add(round(int(row["D"]) / float(row["epochs"])))
    if len(units_train) > 1 and max(units_train) < _LARGEST_EXACT:
        raise make_room(path, "epochs: found those of training splits of different sizes")


def _problems_of_row(row: Mapping[str, str], job: Job | None) -> Iterator[str]:
    """Yield what is wrong with a row; numbers are compared as they are spelled."""
    for name, text in row.items():
        if name != "id" and not spells_a_number(text):
            yield f"{name}: found {text!r:.80}, expected a number"
    for name in ("D", "steps", "seed", "batch", "processes"):
        if not row[name].isdecimal():
            yield f"{name}: found {row[name]!r:.80}, expected a whole number"
    for name in ("D", "n_params", "n_params_non_embedding", "epochs"):
        if float(row[name]) <= 0:
            yield f"{name}: found {row[name]!r:.80}, expected a positive number"
    D, N, epochs = int(row["D"]), row["n_params_non_embedding"], float(row["epochs"])
    expected: dict[str, Any] = {
        "D": int(row["steps"]) * int(row["batch"]),
        "C": float(row["flops_per_unit"]) * D,
        "units_per_param": D / (int(N) if N.isdecimal() else float(N)),
    }
    units_train = D / epochs
    if units_train < _LARGEST_EXACT:
        expected["epochs"] = D / max(1, round(units_train))
    if job is not None:
        for record in (job, job.spec):
            names = {field.name for field in fields(record)} & row.keys()
            expected |= {name: getattr(record, name) for name in names}
    for name, value in expected.items():
        if row[name] != str(value):
            yield f"{name}: found {row[name]!r}, expected {value!r}"


def read_job(specs_file: str | Path, run_id: str) -> Job:
    """Return the job of one experiment, read from ``specs.json``.

    Raises
    ------
    UserError
        If the file cannot be read or is damaged (it was renamed, and is written anew by a rerun),
        or the plan holds no such experiment.
    """
    try:
        entries = read_json_object(specs_file)
    except OSError as error:
        raise UserError(
            f"{specs_file}: cannot be read ({error}), expected what was written with the plan; "
            f"delete {Path(specs_file).parent / 'plan.csv'} and run snakemake again, it plans anew"
        ) from None
    if run_id not in entries:
        raise UserError(
            f"{specs_file}: has no experiment {run_id}, expected one of the {len(entries)} that "
            "the plan holds; run snakemake again, it plans anew"
        )
    return job_of_entry(Path(specs_file), run_id, entries[run_id])
