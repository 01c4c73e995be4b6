"""The closing lines of a Snakemake run, with commands that repeat its options. Imports no torch.

It does not import Snakemake either: callers pass in the messages to watch for.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.pipeline.status import Outcome, headline, last_lines, study_outcomes
from flops_fit.plan.files import read_plan

# The options that choose the study, its folder, and what it runs on. A command without them would
# use the demo study, or train on the machine that submits jobs to a cluster.
_WITH_ONE_VALUE = {
    "--snakefile", "--directory", "--profile", "--workflow-profile", "--executor", "--jobs",
}  # fmt: skip
_WITH_VALUES = {
    "--configfile", "--configfiles", "--config", "--resources", "--res", "--set-resources",
    "--default-resources", "--default-res",
}  # fmt: skip
_LONG = {
    "-s": "--snakefile", "-d": "--directory", "-C": "--config", "-e": "--executor", "-j": "--jobs",
}  # fmt: skip


def repeated_options(arguments: Sequence[str]) -> list[str]:
    """Return the options of a command line that another command for the same study needs.

    All cores of this machine are added unless a profile or an executor says what to run on.

    Parameters
    ----------
    arguments
        The words after ``snakemake``.
    """
    found = list(_options(arguments))
    names = {name for name, _ in found}
    if not names & {"--profile", "--workflow-profile", "--executor"}:
        kept = [(name, values) for name, values in found if name != "--jobs"]
        found = [("--cores", ["all"]), *kept]
    return [word for name, values in found for word in (name, *values)]


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield those of the options that must be repeated, each with its values."""
    words = list(arguments)
    while words:
        name, values = _split(words.pop(0))
        if name in _WITH_VALUES:
            while words and not words[0].startswith("-"):
                values.append(words.pop(0))
        elif name in _WITH_ONE_VALUE and not values and words and not words[0].startswith("-"):
            values.append(words.pop(0))
        if name in _WITH_ONE_VALUE | _WITH_VALUES:
            yield name, values


def _split(word: str) -> tuple[str, list[str]]:
    """Return the long name of an option, and the value given in the same word."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, [value] if equals else []
    if word[:2] in _LONG:
        value = word[2:].removeprefix("=")
        return _LONG[word[:2]], [value] if value else []
    return word, []


def command_line(*words: str) -> str:
    """Return a command of Snakemake, quoted for a shell."""
    return shlex.join(["snakemake", *words])


def print_closing_lines(study: str, study_folder: str, plan_logs: Sequence[str]) -> None:
    """Say how far a study is, what is wrong, and what to do next.

    Parameters
    ----------
    plan_logs
        Logs that may say why there is no plan.
    """
    options = repeated_options(sys.argv[1:])
    try:
        planned = read_plan(f"{study_folder}/plan.csv")
        outcomes = study_outcomes(planned, study_folder, study)
        lines = closing_lines(study, outcomes, study_folder, options)
    except (OSError, UserError) as error:
        lines = closing_lines_without_plan(study, error, plan_logs, options)
    with suppress(OSError):  # the terminal was closed
        print("", *lines, sep="\n", file=sys.stderr)


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
    study: str, outcomes: Sequence[Outcome], study_folder: str | Path, options: Sequence[str]
) -> list[str]:
    """Return the three lines that end a run: how far it is, what is wrong, what to do next.

    Parameters
    ----------
    options
        From :func:`repeated_options`.
    """
    folder = Path(study_folder)
    command, partial = command_line(*options), command_line("partial", *options)
    first = f"{study}: {headline(outcomes)}"
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    left = [outcome for outcome in outcomes if not outcome.finished]
    if failed:
        reason = failed[0].reason.splitlines()[-1] if failed[0].reason else "no reason is known"
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        where = failed[0].log or folder / "runs" / f"{failed[0].id}.json"
        second = f"  failed: {failed[0].title}{others}: {reason} ({where})"
    elif left:
        second = f"  not trained yet: {left[0].title}" + (
            f" and {len(left) - 1} more" if len(left) > 1 else ""
        )
    else:
        second = f"  all records are in {folder / 'runs'}, merged in {folder / 'runs.csv'}"
    if left:
        third = f"  next: `{command}` trains only what is missing; `{partial}` fits what is there"
    elif (folder / "fit.json").exists():
        third = f"  next: read {folder / 'table.md'}, and look at {folder / 'figures'}"
    else:
        third = f"  next: `{command}` fits the laws"
    return [first, second, third]


def closing_lines_without_plan(
    study: str, error: Exception, logs: Sequence[str | Path], options: Sequence[str]
) -> list[str]:
    """Return the three lines that end a run of a study whose plan cannot be read.

    Parameters
    ----------
    error
        Why it cannot be read: it is damaged, or there is none yet.
    logs
        Logs that may say why there is none.
    options
        From :func:`repeated_options`.
    """
    command = command_line(*options)
    reasons = [str(error)] if isinstance(error, UserError) else []
    reasons += [f"{text.splitlines()[-1]} ({log})" for log in logs if (text := last_lines(log))]
    why = reasons[0] if reasons else "the run ended before its experiments were planned"
    return [
        f"{study}: no experiment is planned: 0 done, 0 diverged, 0 failed, 0 missing",
        f"  failed: {why}",
        f"  next: `{command}` once that is fixed",
    ]
