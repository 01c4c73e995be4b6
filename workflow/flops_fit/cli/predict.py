"""`flops-fit predict`: the best N and D at a given compute, or for a given N or D."""

from __future__ import annotations

import argparse

from flops_fit.cli.arguments import add_results, load, number, place_compute
from flops_fit.cli.layout import aligned, cell, extrapolations, heading
from flops_fit.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser("predict", help="the best N and D at a given compute")
    add_results(parser, "fit", "a study")
    parser.add_argument("C", type=number, nargs="*", help="compute in FLOPs, such as 1e21")
    parser.add_argument(
        "--params", type=number, action="append", default=[], help="N to find the best D for"
    )
    parser.add_argument(
        "--tokens", type=number, action="append", default=[], help="D to find the best N for"
    )
    parser.set_defaults(run=run, place=place_compute)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    laws = load(options.fit)
    found = [laws.at_compute(C) for C in options.C]
    found += [laws.at_value("N_opt", N) for N in options.params]
    found += [laws.at_value("D_opt", D) for D in options.tokens]
    if not found:
        raise UserError("Say what to predict: a compute in FLOPs, --params N or --tokens D.")
    rows = [
        (
            cell(optimum["C"], ".4g", ".3g"),
            cell(optimum["N_opt"], ".4g", ".3g"),
            cell(optimum["D_opt"], ".4g", ".3g"),
            cell(optimum["D_per_N"], ".4g", ".3g"),
            cell(optimum["L_opt"], ".4f"),
        )
        for optimum in found
    ]
    lines = [heading(laws), *aligned([("C (FLOPs)", "N", "D", "D/N", "L"), *rows])]
    return lines + extrapolations(laws, [optimum["C"].value for optimum in found])
