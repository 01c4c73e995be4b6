"""What an id means: the spec behind it, where it stands, and what was measured with what.

It only reads, also while the study runs: damaged files stay where they are. Imports no torch.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError, to_plain
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.reading import DamagedFileError, parse_json
from flops_fit.pipeline.finding import Found, StudyFiles
from flops_fit.pipeline.status import (
    Outcome,
    last_lines,
    log_file,
    study_outcomes,
    unfinished,
)
from flops_fit.plan.checks import check_experiments
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    run_file,
    state_folder,
    weights_file,
)
from flops_fit.records.run_record import RunRecord, read_record
from flops_fit.study.identity import fingerprint

_DIVERGED = re.compile(r"ends after step \d+ of \d+: (.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An experiment in one study: what was planned, where it stands, and its record."""

    study: str
    row: PlannedExperiment | None  # without epochs (nan) where only specs.json holds it
    job: Job | None
    record: RunRecord | None
    state: str  # done, diverged, running, interrupted, failed, or not started
    reason: str = ""  # why, in one sentence
    said: str = ""  # the last lines of its log, where it is not finished
    remarks: tuple[str, ...] = ()  # sentences: what else to know, and what is damaged
    files: Mapping[str, Path]  # record, log, weights, checkpoint: those that are there


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What is known about an experiment."""

    id: str
    spec: Mapping[str, Any] | None  # as plain objects; None if no file holds one
    derived: str | None  # the id that follows from the spec
    places: tuple[Place, ...]  # at least one

    @property
    def place(self) -> Place:
        """The first place; the one that was asked for, if a path was given."""
        return self.places[0]


def explain(found: Found, now: float) -> Explained:
    """Read everything that lies about an experiment.

    Parameters
    ----------
    found
        The studies that know it.
    now
        Seconds since 1970, for the age of a checkpoint.

    Raises
    ------
    UserError
        If a record outside of a results folder is damaged; whatever else is damaged is a remark.
    """
    if found.record_file is not None:
        places = (_record_alone(found.record_file, found.id),)
        spec = places[0].record.spec.to_json()
    else:
        places = tuple(_place(study, found.id, now) for study in found.studies)
        spec = _spec(found, places)
    return Explained(id=found.id, spec=spec, derived=_derived(spec), places=places)


def _record_alone(path: Path, run_id: str) -> Place:
    record = read_record(path, run_id)
    return Place(
        study=record.study,
        row=None,
        job=None,
        record=record,
        state="done" if record.completed else "diverged",
        reason="" if record.completed else f"after step {record.steps}",
        files={"record": path},
    )


def _place(study: StudyFiles, run_id: str, now: float) -> Place:
    folder, remarks = study.folder, list(study.problems)
    job = _whole(lambda: study.job(run_id), folder / "specs.json", run_id, remarks)
    row = _whole(lambda: study.row(run_id), folder / "plan.csv", run_id, remarks)
    if row is not None and job is not None:
        _whole(lambda: check_experiments([row], {run_id: job}), folder / "plan.csv", "", remarks)
    if row is None and job is not None:
        row = _row_of(job)
    record, outcome = _record_and_outcome(study, run_id, row, remarks)
    files = _files(folder, run_id)
    if run_id not in study.planned:
        remarks.insert(0, _not_planned(study))
    place = Place(
        study=folder.name,
        row=row,
        job=job,
        record=record,
        state=outcome.state,
        reason=outcome.reason,
        said=(outcome.log and last_lines(outcome.log)) or "",
        remarks=tuple(remarks),
        files=files,
    )
    return _with_circumstances(place, now)


def _whole(read: Callable[[], Any], path: Path, run_id: str, remarks: list[str]) -> Any:
    """Return what is read, or None and a remark if it is damaged, or None if it is not there."""
    try:
        return read()
    except KeyError:
        return None
    except FieldError as error:
        remarks.append(": ".join(filter(None, (str(path), run_id, str(error)))))
        return None


def _row_of(job: Job) -> PlannedExperiment:
    """Return a row of the plan as far as a job tells it."""
    spec = job.spec
    return PlannedExperiment(
        id=job.id,
        budget=job.budget,
        size=spec.size,
        n_params=job.n_params,
        n_params_non_embedding=job.n_params_non_embedding,
        flops_per_unit=job.flops_per_unit,
        D=spec.D,
        steps=job.steps,
        C=job.flops_per_unit * spec.D,
        units_per_param=math.nan,
        epochs=math.nan,
        seed=spec.seed,
        lr=spec.lr,
        batch=spec.batch,
        processes=job.processes,
    )


def _record_and_outcome(
    study: StudyFiles, run_id: str, row: PlannedExperiment | None, remarks: list[str]
) -> tuple[RunRecord | None, Outcome]:
    """Return the record, if there is a whole one, and the state of the experiment."""
    folder = study.folder
    outcome = _outcome(folder, run_id, row)
    record, problem = _try_record(run_file(folder, run_id), run_id)
    if record is not None and (outcome.state == "missing" or outcome.log is not None):
        outcome = _outcome(folder, run_id, row)  # it was written at this moment
    if record is None and outcome.state != "running":
        record, _ = _try_record(state_folder(folder, run_id) / "record.json", run_id)
        if record is not None:
            trouble = "cannot be used" if problem else "is missing"
            remarks.append(
                f"{run_file(folder, run_id)} {trouble}; its stored copy is whole, and follows here"
            )
        if record is not None and not problem:  # a rerun puts it back
            outcome = replace(
                outcome, state="done" if record.completed else "diverged", reason="", log=None
            )
    return record, outcome


def _outcome(folder: Path, run_id: str, row: PlannedExperiment | None) -> Outcome:
    if row is not None:
        return study_outcomes([row], folder, folder.name)[0]
    record, problem = _try_record(run_file(folder, run_id), run_id)
    if record is not None:
        return Outcome(id=run_id, title="", state="done" if record.completed else "diverged")
    if problem:
        return Outcome(id=run_id, title="", state="failed", reason=problem)
    return unfinished(run_id, "", folder)


def _try_record(path: Path, run_id: str) -> tuple[RunRecord | None, str]:
    """Return a whole record, or None and what is wrong with it, if it is there."""
    try:
        return read_record(path, run_id), ""
    except FileNotFoundError:
        return None, ""
    except UserError as error:
        return None, str(error)
    except OSError as error:
        return None, f"{path}: cannot be read ({error.strerror})"


def _not_planned(study: StudyFiles) -> str:
    if study.problems:
        return f"whether it is planned is unknown: {study.folder / 'plan.csv'} cannot be read"
    if not study.planned:
        return f"no plan lies in {study.folder} at the moment"
    return f"planned no more: the plan of {study.folder} does not name it"


def _files(folder: Path, run_id: str) -> dict[str, Path]:
    state = state_folder(folder, run_id)
    places = {
        "record": [run_file(folder, run_id), state / "record.json"],
        "weights": [weights_file(folder, run_id)],
        "checkpoint": [state / CHECKPOINT, state / PREVIOUS_CHECKPOINT],
        "log": [log_file(folder, run_id)],
    }
    return {
        name: path for name, paths in places.items() for path in paths[::-1] if os.path.exists(path)
    }


def _with_circumstances(place: Place, now: float) -> Place:
    """Add what the state alone does not tell: the step of a divergence, the age of a checkpoint."""
    if place.state == "diverged" and place.record is not None:
        why = _why_diverged(place.files.get("log"))
        steps = f" of {place.row.steps}" if place.row else ""
        step = f"after step {place.record.steps}{steps}"
        return replace(place, reason=f"{step}{': ' if why else ''}{why}")
    if place.state == "missing":
        place = replace(place, state="not started", reason="")
    if place.state == "failed" and place.said:
        place = replace(place, reason="")  # it is what the log says
    checkpoint = place.files.get("checkpoint")
    try:
        age = None if checkpoint is None else now - checkpoint.stat().st_mtime
    except OSError:  # replaced by a newer one at this moment
        age = None
    if age is None or place.state in ("done", "diverged"):
        return place
    saved = f"its newest checkpoint was saved {duration(max(0.0, age))} ago"
    if place.state != "running" and "record" not in place.files:
        saved += ", and a rerun goes on from there"
        return replace(place, state="interrupted", remarks=(saved, *place.remarks))
    return replace(place, remarks=(saved, *place.remarks))


def _why_diverged(log: Path | None) -> str:
    """Return the trainer's reason, empty if there is no log that says it."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace") if log else ""
    except OSError:
        return ""
    reasons = _DIVERGED.findall(text)
    return reasons[-1] if reasons else ""


def duration(seconds: float) -> str:
    """Return a time in the unit that it is read in."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"


def _spec(found: Found, places: tuple[Place, ...]) -> Mapping[str, Any] | None:
    """Return the spec from the first file that holds it whole, or a damaged one, if any."""
    for place in places:
        for holder in (place.record, place.job):
            if holder is not None:
                return to_plain(holder.spec)
    for study in found.studies:
        for plain in (study.entries.get(found.id), _plain(run_file(study.folder, found.id))):
            spec = plain.get("spec") if isinstance(plain, dict) else None
            if isinstance(spec, dict) and unfit_value(spec) is None:
                return spec
    return None


def _plain(path: Path) -> Any:
    try:
        return parse_json(path)
    except (OSError, DamagedFileError):
        return None


def _derived(spec: Mapping[str, Any] | None) -> str | None:
    try:
        return None if spec is None else fingerprint(spec)
    except (ValueError, RecursionError):  # it holds NaN, or is nested too deeply
        return None
