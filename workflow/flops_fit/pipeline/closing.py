"""The three lines that end a run: how far the study is, what is wrong, what to do next.

Imports no torch, and no Snakemake: callers pass in the messages to watch for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.laws.data.table import MIN_RUNS
from flops_fit.pipeline.failures import (
    Failure,
    failure_in,
    files_of_experiments,
    follow_each_other,
    last_failure,
)
from flops_fit.pipeline.lr_pilot import FOLDER as PILOT_FOLDER
from flops_fit.pipeline.lr_pilot import in_pilot
from flops_fit.pipeline.next_command import NextCommands
from flops_fit.pipeline.status import Outcome, headline, study_outcomes
from flops_fit.pipeline.to_train import rounds_to_come
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import read_plan

_FIRST = "do what that sentence asks for, then"


def print_closing_lines(
    study: str,
    study_folder: str | Path,
    plan_logs: Sequence[str | Path],
    commands: NextCommands,
    refusal: Callable[[Sequence[PlannedExperiment]], UserError | None] = lambda planned: None,
) -> None:
    """Print the three lines on standard error.

    Parameters
    ----------
    plan_logs
        Logs of the steps before and of the planning itself.
    refusal
        Returns why the experiments of a plan that are left would not be trained, if so.
    """
    folder = Path(study_folder)
    plan_logs = [*plan_logs, *(folder / "logs").glob("lr_pilot_*.log")]
    if in_pilot(folder):
        study_title, folder = f"{study}, learning-rate pilot", folder / PILOT_FOLDER
    else:
        study_title = study
    try:
        planned = read_plan(folder / "plan.csv")
        outcomes = study_outcomes(planned, folder, study)
        later_logs = [folder / "logs" / f"{step}.log" for step in ("collect", "fit", "report")]
        failure = last_failure(
            [*plan_logs, *later_logs, _log_of_partial(folder)],
            files_of_experiments(outcomes, folder),
        )
        if failure is None and any(not outcome.finished for outcome in outcomes):
            failure = _refused_training(refusal, planned, folder)
        lines = closing_lines(study_title, outcomes, folder, failure, commands)
    except (OSError, UserError) as error:
        lines = closing_lines_without_plan(study, error, last_failure(plan_logs), commands)
    with suppress(OSError):  # the terminal was closed
        print("", *lines, sep="\n", file=sys.stderr)


def logs_of_planning(study_folder: str | Path) -> list[Path]:
    """Return the logs of the steps before the first training and between rounds."""
    folder = Path(study_folder) / "logs"
    return [folder / "plan.log", folder / "prepare.log", *folder.glob("round_*.log")]


class _OnMessage(logging.Handler):
    """Calls a function when a certain message is logged."""

    def __init__(self, message: str, call: Callable[[], None]) -> None:
        super().__init__()
        self.message, self.call = message, call

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == self.message:
            self.call()


def call_on_message(logger: logging.Logger, message: str, call: Callable[[], None]) -> None:
    """Have a function called when ``logger`` logs a message, in place of any set before."""
    for handler in [h for h in logger.handlers if type(h).__name__ == _OnMessage.__name__]:
        logger.removeHandler(handler)  # of an earlier workflow in this process
    logger.addHandler(_OnMessage(message, call))


def closing_lines(
    study: str,
    outcomes: Sequence[Outcome],
    study_folder: str | Path,
    failure: Failure | None,
    commands: NextCommands,
) -> list[str]:
    """Return the three lines that end a run of a study with a plan.

    A command that was just refused is advised only after what its refusal asks for.

    Parameters
    ----------
    failure
        That of the step that ran last, if it failed; no experiment ran after it.
    """
    folder = Path(study_folder)
    left = [outcome for outcome in outcomes if not outcome.finished]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if failure and left and failure.log == _log_of_partial(folder):
        asked = "do what that sentence asks for; " if failure.asks else ""
        lines = [_told(failure), f"{asked}`{commands.go_on}` trains only what is missing"]
    elif failure:
        lines = [_told(failure), _mended(failure, commands)]
    elif left:
        n_done = sum(outcome.state == "done" for outcome in outcomes)
        also = f"; `{commands.partial}` fits what is there" if n_done >= MIN_RUNS else ""
        told, first = _told_of_experiments(failed, folder) if failed else (_waiting(left), "")
        lines = [told, f"{first}`{commands.go_on}` trains only what is missing{also}"]
    else:
        lines = _all_trained(outcomes, folder, commands)
    return [f"{study}: {headline(outcomes)}", f"  {lines[0]}", f"  next: {lines[1]}"]


def closing_lines_without_plan(
    study: str, error: Exception, failure: Failure | None, commands: NextCommands
) -> list[str]:
    """Return the three lines that end a run of a study whose plan cannot be read.

    Parameters
    ----------
    error
        Why it cannot be read: it is damaged, or there is none yet.
    failure
        That of the step that ran last, if it failed.
    """
    if isinstance(error, UserError):
        lines = [f"failed: {error}", f"{_FIRST} `{commands.go_on}` plans again"]
    elif failure:
        lines = [_told(failure), _mended(failure, commands)]
    else:
        lines = [
            "failed: the run ended before its experiments were planned",
            f"read above what ended it; then `{commands.go_on}` goes on from there",
        ]
    return [
        f"{study}: no experiment is planned: 0 done, 0 diverged, 0 failed, 0 missing",
        f"  {lines[0]}",
        f"  next: {lines[1]}",
    ]


def _refused_training(
    refusal: Callable[[Sequence[PlannedExperiment]], UserError | None],
    planned: Sequence[PlannedExperiment],
    folder: Path,
) -> Failure | None:
    """Return why the next command would be refused, although no step has failed."""
    with suppress(OSError, UserError):
        if error := refusal(planned):
            return Failure(said=f"error: {error}", asks=True, log=folder / "plan.csv")
    return None


def _log_of_partial(folder: Path) -> Path:
    return folder / "logs" / "partial.log"


def _told(failure: Failure, what: str = "") -> str:
    return f"failed: {what}{failure.said} ({failure.log})"


def _mended(failure: Failure, commands: NextCommands) -> str:
    if failure.asks:
        return f"{_FIRST} `{commands.go_on}` goes on from there"
    return f"read in {failure.log} what went wrong; `{commands.go_on}` tries it again"


def _told_of_experiments(failed: Sequence[Outcome], folder: Path) -> tuple[str, str]:
    """Return what is said of failed experiments, and what has to be done first."""
    told = [(outcome, _failure_of(outcome, folder)) for outcome in failed]
    # One that would fail again comes first.
    outcome, failure = next((pair for pair in told if pair[1].asks), told[0])
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return _told(failure, f"{outcome.title}{others}: "), f"{_FIRST} " if failure.asks else ""


def _failure_of(outcome: Outcome, folder: Path) -> Failure:
    if outcome.log and (failure := failure_in(outcome.log)):
        return failure
    # A record that cannot be used: a rerun would find it again.
    where = outcome.log or folder / "runs" / f"{outcome.id}.json"
    said = outcome.reason.splitlines()[-1] if outcome.reason else "no reason is known"
    return Failure(said=said, asks=outcome.log is None, log=where)


def _waiting(left: Sequence[Outcome]) -> str:
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return f"not trained yet: {left[0].title}{more}"


def _all_trained(outcomes: Sequence[Outcome], folder: Path, commands: NextCommands) -> list[str]:
    """Return the second and third line where every experiment has its record."""
    records = files_of_experiments(outcomes, folder)[: len(outcomes)]
    merged, fit, table = folder / "runs.csv", folder / "fit.json", folder / "table.md"
    is_merged = all(follow_each_other([record, merged]) for record in records)
    lines = [f"all records are in {folder / 'runs'}"]
    if folder.name == PILOT_FOLDER:
        return [*lines, f"`{commands.go_on}` decides the learning rates of the sweep"]
    if rounds_to_come(folder):
        lines[0] += ", of the rounds so far"
        also = f"; `{commands.partial}` fits what is there"
        return [*lines, f"`{commands.go_on}` chooses and trains the next round{also}"]
    if is_merged:
        lines[0] += f", merged in {merged}"
    if is_merged and follow_each_other([merged, fit, table]):
        return [*lines, f"read {table}, and look at {folder / 'figures'}"]
    if not fit.exists():
        return [*lines, f"`{commands.go_on}` fits the laws"]
    return [*lines, f"`{commands.go_on}` brings the laws and their table up to date"]
