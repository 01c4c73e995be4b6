"""`flops-fit price`: what a smaller or a larger model than the best costs at the same compute."""

from __future__ import annotations

import argparse

from flops_fit.cli.arguments import add_results, load, number, place_compute
from flops_fit.cli.layout import extrapolations, heading
from flops_fit.cli.loss import EXPLANATION, price_table
from flops_fit.errors import UserError

FACTORS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "price", help="the price of a smaller or larger model than the best at a given compute"
    )
    add_results(parser, "fit", "a study")
    parser.add_argument("C", type=number, nargs="*", help="compute in FLOPs, such as 1e21")
    parser.add_argument(
        "--factor",
        type=number,
        action="append",
        help="multiple of the best N, such as 0.5 for half of it; repeat it for several "
        f"(default: {', '.join(f'{factor:g}' for factor in FACTORS)})",
    )
    parser.set_defaults(run=run, place=place_compute)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    if not options.C:
        raise UserError("Say at which compute, in FLOPs, such as 1e21.")
    laws = load(options.fit)
    factors = options.factor or FACTORS
    found = [laws.off_optimum(C, factor) for C in options.C for factor in factors]
    return [heading(laws), *price_table(found), *EXPLANATION, *extrapolations(laws, options.C)]
