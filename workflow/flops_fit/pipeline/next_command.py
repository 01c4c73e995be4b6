"""Commands that go on where the one that was typed has ended, to be pasted. Imports no torch.

It does not import Snakemake either: callers pass in its parser.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

# What the typed command was to do. All other options say where and on what, and are typed again.
_DEEDS = {
    "targets", "dryrun", "touch", "unlock", "force", "forceall", "forcerun", "until", "omit_from",
    "prioritize", "batch", "target_jobs", "allowed_rules", "report", "report_after_run",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCommands:
    """Commands for the study of the command that was typed."""

    go_on: str  # does what is missing, up to the report
    partial: str  # fits what is there


def next_commands(
    arguments: Sequence[str],
    parser: argparse.ArgumentParser,
    renamed: Callable[[str], str],
    *,
    by_default: bool,
    planner: str = "plan_experiments",
) -> NextCommands:
    """Return the commands to advise after one was typed.

    Parameters
    ----------
    arguments
        The words after ``snakemake``.
    parser
        Snakemake's own; it is asked for its options only.
    renamed
        Returns the name of one of our rules in the workflow that runs: a module's may have others.
    by_default
        Whether a command without a target makes our report, as it does unless ours is a module.
    planner
        Name of the checkpoint that plans.
    """
    options = repeated_options(arguments, parser, renamed, planner=planner)
    report = [] if by_default else [renamed("report")]
    return NextCommands(
        go_on=command_line(*report, *options), partial=command_line(renamed("partial"), *options)
    )


def repeated_options(
    arguments: Sequence[str],
    parser: argparse.ArgumentParser,
    renamed: Callable[[str], str] = str,
    *,
    planner: str = "plan_experiments",
) -> list[str]:
    """Return the options of a command line that another command for the same study needs.

    Experiments in groups need a plan that is made again (see `flops_fit.pipeline.rules`).
    """
    found = _typed(arguments, parser)
    kept = [typed for name, *typed in found if name not in _DEEDS]
    words = [word for option, values in kept for word in _spelled(option, values)]
    if any(name == "groups" for name, *_ in found):
        words += ["--forcerun", renamed(planner)]
    return words


def command_line(*words: str) -> str:
    """Return a command of Snakemake, quoted for a shell."""
    return shlex.join(["snakemake", *words])


def _spelled(option: str, values: Sequence[str]) -> list[str]:
    """Return the words of an option; a value that looks like an option needs an equals sign."""
    if len(values) == 1 and values[0].startswith("-"):
        return [f"{option}={values[0]}"] if option.startswith("--") else [option + values[0]]
    return [option, *values]


class _Reader(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _typed(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> list[tuple[str, str, list[str]]]:
    """Return the options that were typed: what they set, how they are spelled, and their values."""
    found: list[tuple[str, str, list[str]]] = []

    class Note(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
            words = values if isinstance(values, list) else [] if values is None else [values]
            found.append((self.dest, option or "", words))

    reader = _Reader(add_help=False)
    for action in parser._actions:
        names = action.option_strings or [action.dest]
        dest = {"dest": action.dest} if action.option_strings else {}
        reader.add_argument(*names, nargs=action.nargs, action=Note, **dest)
    try:
        reader.parse_args(arguments)
    except ValueError:  # not a command line of Snakemake: another program runs the workflow
        return []
    return found
