"""Progress of a study: the state of every planned experiment, and why some have no record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.pipeline.collecting import read_planned_record
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.records.experiment_files import is_held

STATES = ("done", "diverged", "running", "failed", "missing")
_LINES_OF_A_LOG = 3
_LONGEST_LINE = 300
_TAIL_BYTES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The state of one planned experiment."""

    id: str
    title: str  # budget, size, and what else distinguishes it
    state: str  # one of STATES
    reason: str = ""  # why it has no usable record
    log: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether there is a record; a divergence is a result, too."""
        return self.state in ("done", "diverged")


def study_outcomes(
    planned: Sequence[PlannedExperiment], study_folder: str | Path, study: str | None = None
) -> list[Outcome]:
    """Return the state of every planned experiment, in the plan's order.

    Parameters
    ----------
    planned
        The experiments of ``plan.csv``.
    study_folder
        ``results/<study>``.
    study
        Name of the study that records must belong to; None accepts any.
    """
    return [_outcome(experiment, Path(study_folder), study) for experiment in planned]


def _outcome(experiment: PlannedExperiment, folder: Path, study: str | None) -> Outcome:
    run_id, title = experiment.id, experiment.title
    try:
        record = read_planned_record(experiment, folder, study)
    except FileNotFoundError:
        pass
    except (UserError, OSError) as error:
        return Outcome(id=run_id, title=title, state="failed", reason=str(error))
    else:
        state = "done" if record.completed else "diverged"
        return Outcome(id=run_id, title=title, state=state)
    return unfinished(run_id, title, folder)


def unfinished(run_id: str, title: str, study_folder: str | Path) -> Outcome:
    """Return the state of an experiment that has no record: running, failed or missing."""
    log = log_file(study_folder, run_id)
    if is_held(study_folder, run_id):
        return Outcome(
            id=run_id, title=title, state="running", reason="it is training, or about to", log=log
        )
    reason = last_lines(log)
    if reason is None:
        return Outcome(id=run_id, title=title, state="missing", reason="it was not started")
    return Outcome(id=run_id, title=title, state="failed", reason=reason, log=log)


def log_file(study_folder: str | Path, run_id: str) -> Path:
    """Path of an experiment's log."""
    return Path(study_folder) / "logs" / f"{run_id}.log"


def last_lines(log: str | Path, *, longest: int = _LONGEST_LINE) -> str | None:
    """Return the last lines that a trainer left in its log, or None if there are none.

    The launcher's command on the first line does not count.

    Parameters
    ----------
    longest
        How many characters of a line are returned.
    """
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    lines = [line.strip()[:longest] for line in text.splitlines() if line.strip()]
    if lines and " launch " in lines[0] and not lines[0].startswith("error: "):
        lines = lines[1:] or ["it was stopped before its first line"]
    return "\n".join(lines[-_LINES_OF_A_LOG:]) or None


def missing_text(outcomes: Sequence[Outcome]) -> str:
    """Return what is missing and why, for reading: one paragraph per experiment."""
    missing = [outcome for outcome in outcomes if not outcome.finished]
    lines = [headline(outcomes), ""]
    for outcome in missing:
        lines.append(f"{outcome.id}  {outcome.title}: {outcome.state}")
        lines += [f"    {line}" for line in outcome.reason.splitlines()]
        if outcome.log is not None:
            lines.append(f"    ({outcome.log})")
    if not missing:
        lines.append("Nothing is missing.")
    return "\n".join(lines) + "\n"


def headline(outcomes: Sequence[Outcome]) -> str:
    """Return the counts in one line."""
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state] or state != "running"]
    return f"{len(outcomes)} experiments: {', '.join(parts)}"
