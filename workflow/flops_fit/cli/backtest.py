"""`flops-fit backtest`: a study's own largest budgets, predicted from the others."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from flops_fit.cli.arguments import add_results, nothing_placed, read_fit
from flops_fit.cli.layout import aligned, bracket
from flops_fit.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "backtest", help="what a study would have predicted for its own largest budgets"
    )
    add_results(parser, "fit", "a study")
    parser.set_defaults(run=run, place=nothing_placed)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    fit, source = read_fit(options.fit)
    try:
        test = fit["backtest"]
        if test is None:
            return [f"{fit['study']}: its answer has no law that could be tested on other budgets."]
        return _lines(str(fit["study"]), test)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{source}: holds no backtest that can be read ({error!r}); fit the study again"
        ) from None


def _lines(study: str, test: Mapping[str, Any]) -> list[str]:
    if not test["rows"]:
        return [f"{study}: {test['text']}"]
    what = "budgets" if test["kind"] == "budgets" else "strata of C"
    lines = [
        f"{study}, the largest {what} hidden and predicted from the others, "
        f"{test['ci']:.0%} intervals in brackets"
    ]
    header = (
        "hidden",
        "C (FLOPs)",
        "times",
        "N predicted",
        "found",
        "",
        "L predicted",
        "found",
        "",
    )
    rows = [
        (
            str(row["hidden"]),
            f"{row['C']:.4g}",
            f"{row['times']:.3g}",
            *_cells(row["N_opt"], ".4g", ".3g"),
            *_cells(row["L_opt"], ".4f", ".4f"),
        )
        for row in test["rows"]
    ]
    hits = (f"N {test['covered']['N_opt']['n']} of {test['covered']['N_opt']['of']}",)
    if test["covered"]["L_opt"]["of"]:
        hits += (f"L {test['covered']['L_opt']['n']} of {test['covered']['L_opt']['of']}",)
    return [*lines, *aligned([header, *rows]), f"Inside: {', '.join(hits)}.", test["text"]]


def _cells(check: Mapping[str, Any] | None, form: str, ends: str) -> tuple[str, str, str]:
    if check is None:
        return "none", "", ""
    return (
        f"{check['predicted']:{form}}{bracket(check['ci'], ends)}",
        f"{check['found']:{form}}",
        "inside" if check["covered"] else "outside",
    )
