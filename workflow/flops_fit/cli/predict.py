"""`flops-fit predict`: the best N and D at a given compute, or for a given N or D."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flops_fit.cli.arguments import add_results, load, number, place_compute
from flops_fit.cli.layout import aligned, bracket
from flops_fit.errors import UserError

if TYPE_CHECKING:
    from flops_fit.laws.reading import Optimum


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
    from flops_fit.laws.predictions import is_extrapolated

    laws = load(options.fit)
    wanted = list(options.C)
    wanted += [laws.compute_for("N_opt", N) for N in options.params]
    wanted += [laws.compute_for("D_opt", D) for D in options.tokens]
    if not wanted:
        raise UserError("Say what to predict: a compute in FLOPs, --params N or --tokens D.")
    rows = [_cells(laws.optimum(C)) for C in wanted]
    header = ("C (FLOPs)", "N", "D", "D/N", "L")
    lines = [f"{laws.study}, approach {laws.approach}, {laws.level:.0%} intervals in brackets"]
    if not len(laws.draws):
        lines = [f"{laws.study}, approach {laws.approach}; the fit computed no intervals"]
    lines += aligned([header, *rows])
    low, high = laws.budgets
    for C in wanted:
        if is_extrapolated(C, laws.budgets):
            times = C / high if C > high else low / C
            side = "above the largest" if C > high else "below the smallest"
            lines.append(
                f"C = {C:.4g} extrapolates: {times:.3g} times {side} measured budget "
                f"({high if C > high else low:.3g})."
            )
    return lines


def _cells(optimum: Optimum) -> tuple[str, ...]:
    found = optimum.intervals
    loss = "none" if optimum.L is None else f"{optimum.L:.4f}{bracket(found['L_opt'], '.4f')}"
    return (
        f"{optimum.C:.4g}",
        f"{optimum.N:.4g}{bracket(found['N_opt'], '.3g')}",
        f"{optimum.D:.4g}{bracket(found['D_opt'], '.3g')}",
        f"{optimum.D / optimum.N:.4g}{bracket(found['D_per_N'], '.3g')}",
        loss,
    )
