"""`flops-fit inference`: the best N and D of a model that will also be used."""

from __future__ import annotations

import argparse

from flops_fit.cli.arguments import add_results, load, nothing_placed, number
from flops_fit.cli.layout import aligned, cell, extrapolations, heading
from flops_fit.errors import UserError

HEADER = ("served", "total FLOPs", "of training", "N", "D", "D/N", "L", "N/N_opt")


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "inference", help="the best N and D where the model will be used for so many units"
    )
    add_results(parser, "fit", "a study")
    parser.add_argument(
        "--served",
        type=number,
        nargs="+",
        required=True,
        metavar="UNITS",
        help="units (tokens) of the model's whole use, each a forward pass",
    )
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--total", type=number, metavar="C", help="FLOPs of training and inference together"
    )
    goal.add_argument(
        "--loss", type=number, metavar="L", help="loss to reach with the fewest FLOPs"
    )
    parser.set_defaults(run=run, place=nothing_placed)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    laws = load(options.fit)
    found = [
        laws.with_inference(served, total=options.total, loss=options.loss)
        for served in options.served
    ]
    if any(reading[key] is None for reading in found for key in ("N_opt", "C")):
        raise UserError("Too few draws have an optimum there; ask for less.")
    rows = [
        (
            f"{served:.4g}",
            cell(reading["total"], ".4g", ".3g"),
            cell(reading["C"], ".4g", ".3g"),
            cell(reading["N_opt"], ".4g", ".3g"),
            cell(reading["D_opt"], ".4g", ".3g"),
            cell(reading["D_per_N"], ".4g", ".3g"),
            cell(reading["L_opt"], ".4f"),
            cell(reading["factor"], ".3g"),
            *([cell(reading["saving"], ".3g")] if "saving" in reading else []),
        )
        for served, reading in zip(options.served, found, strict=True)
    ]
    header = HEADER if options.total is not None else (*HEADER, "saves")
    lines = [heading(laws), *aligned([header, *rows])]
    lines.append("N/N_opt: against the N that is best for training alone with the same compute.")
    if options.total is None:
        lines.append("saves: the total with the N that takes the least training, over this total.")
    return lines + extrapolations(laws, [reading["C"].value for reading in found])
