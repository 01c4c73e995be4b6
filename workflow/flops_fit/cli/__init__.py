"""The command `flops-fit`: one module each for its subcommands.

flops-fit predict results/demo 1e13 1e15
flops-fit predict results/demo --params 7e9
flops-fit loss results/demo --params 7e9 --tokens 1e12
flops-fit price results/demo 1e21
flops-fit inference results/demo --served 1e13 --total 1e22
flops-fit recommend results/demo --budget 1e18
flops-fit compare results/a results/b
flops-fit backtest results/demo
flops-fit explain 27a21803c6a8
flops-fit explain 27a21803c6a8 ad335493ffd0

A module of a subcommand has `add(commands)`, which describes its arguments and sets the two
functions that use them: `run(options)` returns the lines to print; `place(options, rest)` places
the arguments that stand behind an option, and returns those that it does not know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flops_fit.cli import backtest, compare, explain, inference, loss, predict, price, recommend
from flops_fit.errors import UserError

_SUBCOMMANDS = (predict, loss, price, inference, recommend, compare, backtest, explain)
"""Their modules import numpy and scipy when they run: `explain` starts at once, without either."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parse(arguments)
    try:
        lines = options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if hasattr(sys.stdout, "reconfigure"):  # what a terminal without UTF-8 cannot spell
        sys.stdout.reconfigure(errors="backslashreplace")
    print("\n".join(lines))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; compute, or an id, may also follow an option.

    argparse accepts positional arguments in one place only, and its own remedy
    (`parse_intermixed_args`) does not support subcommands. So the subcommand places the arguments
    that are left over, or they are a mistake.
    """
    parser = argparse.ArgumentParser(
        prog="flops-fit", description="Use the laws of a fitted study, or explain an experiment."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.add(commands)
    options, rest = parser.parse_known_args(arguments)
    unknown = options.place(options, rest)
    if unknown:
        parser.error(f"unrecognized argument: {unknown[0]}")
    return options
