"""Whether ``plan.csv`` and ``specs.json`` are what was written, in themselves and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room, read_json_object, spells_a_number
from flops_fit.study.study import fingerprint

_NUMBER = (int, float)
_TEXT_OR_NULL = (str, type(None))
_JOB_FIELDS: dict[str, tuple[type, ...]] = {
    "spec": (dict,),
    "study": (str,),
    "unit": (str,),
    "budget": _NUMBER,
    "n_params": (int,),
    "n_params_non_embedding": (int,),
    "flops_per_unit": _NUMBER,
    "steps": (int,),
    "processes": (int,),
    "compile": (bool,),
    "find_unused_parameters": (bool,),
    "accelerate_config": _TEXT_OR_NULL,
    "checkpoint_minutes": (*_NUMBER, type(None)),
    "keep_checkpoint": (bool,),
    "data_folder": (str,),
    "search_folder": (str,),
}
# The same for all experiments of a study.
_OF_THE_STUDY = (
    "study", "unit", "compile", "find_unused_parameters", "accelerate_config",
    "checkpoint_minutes", "keep_checkpoint", "data_folder", "search_folder",
)  # fmt: skip
_OF_THE_SPEC = ("size", "D", "seed", "lr", "batch")
_OF_THE_JOB = (
    "budget", "n_params", "n_params_non_embedding", "flops_per_unit", "steps", "processes",
)  # fmt: skip
_LARGEST_EXACT = 1e15  # above, a quotient of floats does not tell a whole number any more


def check_job(path: Path, run_id: str, job: Any) -> None:
    """Raise a UserError unless an entry of ``specs.json`` is whole; the file is then renamed.

    The id is derived from the spec, so that no other one is trained and then refused.
    """
    if problem := _problem_of_job(run_id, job):
        raise make_room(path, f"{run_id}: {problem}")


def check_specs(path: Path, specs: Mapping[str, Any]) -> None:
    """Raise a UserError unless ``specs.json`` is whole; it is then renamed."""
    for run_id, job in specs.items():
        check_job(path, run_id, job)
    for name in _OF_THE_STUDY:
        if len({job[name] for job in specs.values()}) > 1:
            raise make_room(path, f"{name}: differs between experiments of one study")


def check_rows(path: Path, rows: Sequence[Mapping[str, str]], specs: Mapping[str, Any]) -> None:
    """Raise a UserError unless the rows of ``plan.csv`` are whole; the file is then renamed.

    Parameters
    ----------
    specs
        Content of the ``specs.json`` that was written with it; empty where there is none.
    """
    units_train = set()
    for row in rows:
        problem = next(_problems_of_row(row, specs.get(row["id"])), None)
        if problem:
            raise make_room(path, f"{row['id']}: {problem}")
        units_train.add(round(int(row["D"]) / float(row["epochs"])))
    if len(units_train) > 1 and max(units_train) < _LARGEST_EXACT:
        raise make_room(path, "epochs: found those of training splits of different sizes")


def _problem_of_job(run_id: str, job: Any) -> str | None:
    if not isinstance(job, Mapping):
        return f"found {type(job).__name__}, expected an object"
    for name, types in _JOB_FIELDS.items():
        if name not in job:
            return f"{name}: is missing"
        value = job[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return f"{name}: found {value!r:.80}"
    spec = job["spec"]
    try:
        derived = fingerprint(spec)
    except (ValueError, RecursionError):
        derived = None
    if derived != run_id:
        return f"spec: gives the id {derived}"
    if spec["D"] != job["steps"] * spec["batch"]:
        return f"steps: found {job['steps']}, expected {spec['D'] // spec['batch']}"
    return None


def _problems_of_row(row: Mapping[str, str], job: Mapping[str, Any] | None) -> Iterator[str]:
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
        expected |= {name: job["spec"][name] for name in _OF_THE_SPEC}
        expected |= {name: job[name] for name in _OF_THE_JOB}
    for name, value in expected.items():
        if row[name] != str(value):
            yield f"{name}: found {row[name]!r}, expected {value!r}"


def read_job(specs_file: str | Path, run_id: str) -> dict[str, Any]:
    """Return the entry of ``specs.json`` for one experiment.

    Raises
    ------
    UserError
        If the file cannot be read or is damaged (it was renamed, and is written anew by a rerun),
        or the plan holds no such experiment.
    """
    try:
        jobs = read_json_object(specs_file)
    except OSError as error:
        raise UserError(
            f"{specs_file}: cannot be read ({error}), expected what was written with the plan; "
            f"delete {Path(specs_file).parent / 'plan.csv'} and run snakemake again, it plans anew"
        ) from None
    if run_id not in jobs:
        raise UserError(
            f"{specs_file}: has no experiment {run_id}, expected one of the {len(jobs)} that the "
            "plan holds; run snakemake again, it plans anew"
        )
    check_job(Path(specs_file), run_id, jobs[run_id])
    return jobs[run_id]
