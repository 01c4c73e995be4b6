"""`flops-fit loss`: the loss of any N and D, and what it costs to be off the optimum."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flops_fit.cli.arguments import add_results, load, nothing_placed, number
from flops_fit.cli.layout import aligned, cell, extrapolations, heading
from flops_fit.errors import UserError

if TYPE_CHECKING:
    from flops_fit.laws.reading import Reading

HEADER = ("C (FLOPs)", "N", "D", "D/N", "L", "extra L", "N/N_opt", "worth", "same L with this N")

EXPLANATION = (
    "extra L: above the lowest loss of the same C. worth: the share of C with which the best N "
    "reaches this L.",
    "same L with this N: the multiple of C with which this N reaches that lowest loss.",
)


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "loss", help="the loss of any N and D, and the price of being off the optimum"
    )
    add_results(parser, "fit", "a study")
    parser.add_argument(
        "--params", type=number, nargs="+", required=True, metavar="N", help="model sizes"
    )
    parser.add_argument(
        "--tokens",
        type=number,
        nargs="+",
        required=True,
        metavar="D",
        help="units of data: one for all sizes, or one for each",
    )
    parser.set_defaults(run=run, place=nothing_placed)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    sizes, data = options.params, options.tokens
    n = max(len(sizes), len(data))
    if not {len(sizes), len(data)} <= {1, n}:
        raise UserError(
            f"--params has {len(sizes)} numbers and --tokens has {len(data)}, but they must have "
            "equally many, or one of them a single one."
        )
    sizes, data = (list(v) * n if len(v) == 1 else v for v in (sizes, data))
    laws = load(options.fit)
    found = [laws.at_model(N, D) for N, D in zip(sizes, data, strict=True)]
    lines = [heading(laws), *price_table(found), *EXPLANATION]
    return lines + extrapolations(laws, [model["C"].value for model in found])


def price_table(found: list[Reading]) -> list[str]:
    """Return the table of models, each with its loss and its price."""
    rows = [
        (
            cell(model["C"], ".4g"),
            cell(model["N"], ".4g", ".3g"),
            cell(model["D"], ".4g", ".3g"),
            cell(model["D_per_N"], ".3g"),
            cell(model["L"], ".4f"),
            cell(model["extra"], ".4f"),
            cell(model["factor"], ".3g"),
            cell(model["equivalent"], ".2f"),
            cell(model["overhead"], ".3g"),
        )
        for model in found
    ]
    return aligned([HEADER, *rows])
