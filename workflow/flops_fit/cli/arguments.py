"""What several subcommands take: numbers, compute, and the results of a study."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flops_fit.laws.reading import FittedLaws


def number(text: str) -> float:
    """Return an argument as a number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def add_results(parser: argparse.ArgumentParser, name: str, which: str) -> None:
    """Add the argument `name`: the results of a study, `which` says of which."""
    parser.add_argument(
        name, type=Path, metavar=name.upper(), help=f"results folder of {which}, or its fit.json"
    )


def place_compute(options: argparse.Namespace, rest: list[str]) -> list[str]:
    """Append numbers to the compute `options.C`; return what is no number."""
    unknown = []
    for text in rest:
        try:
            options.C.append(number(text))
        except argparse.ArgumentTypeError:
            unknown.append(text)
    return unknown


def nothing_placed(options: argparse.Namespace, rest: list[str]) -> list[str]:
    """Return all that is left over: the subcommand takes nothing behind an option."""
    return rest


def read_fit(path: Path) -> tuple[dict[str, Any], str]:
    """Return the content of a study's fit.json, of a path to it or to its folder, and the path.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    from flops_fit.laws.reading import read_fit

    return read_fit(path)


def load(path: Path) -> FittedLaws:
    """Return the laws of a study, from its fit.json or its folder.

    Raises
    ------
    UserError
        If it cannot be read or used.
    """
    from flops_fit.laws.reading import FittedLaws

    return FittedLaws.from_file(path)
