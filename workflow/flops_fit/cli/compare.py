"""`flops-fit compare`: which of two studies is better, and where."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flops_fit.cli.arguments import add_results, load, number, place_compute
from flops_fit.cli.layout import aligned, bracket, cell
from flops_fit.errors import UserError

if TYPE_CHECKING:
    from flops_fit.laws.comparison import Comparison


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser("compare", help="which of two studies is better, and where")
    add_results(parser, "first", "one study")
    add_results(parser, "second", "the other")
    parser.add_argument("C", type=number, nargs="*", help="further compute in FLOPs")
    parser.set_defaults(run=run, place=place_compute)


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    import numpy as np

    from flops_fit.laws.comparison import compare

    first, second = load(options.first), load(options.second)
    names = (first.study, second.study)
    if first.study == second.study:
        names = (str(options.first), str(options.second))
    low = min(first.budgets[0], second.budgets[0])
    high = max(first.budgets[1], second.budgets[1])
    decades = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(100 * high)) + 1)
    C = np.unique([low, high, *(10.0**decades), *options.C])
    if not np.all(np.isfinite(C) & (C > 0)):
        raise UserError("A compute to compare at must be a positive number of FLOPs.")
    measured = (first.budgets, second.budgets)
    return _lines(compare(first, second, C), names, measured)


def _lines(
    found: Comparison,
    names: tuple[str, str],
    measured: tuple[tuple[float, float], tuple[float, float]],
) -> list[str]:
    """Lay out a comparison; each study is extrapolated outside its own `measured` budgets."""
    from flops_fit.laws.predictions import is_extrapolated

    def loss(study: int, i: int) -> str:
        outside = is_extrapolated(found.C[i], measured[study])
        return f"{found.L[study][i]:.4f}{' (extrapolated)' if outside else ''}"

    rows = [("C (FLOPs)", f"L {names[0]}", f"L {names[1]}", "difference", "better", "by compute")]
    for i, C in enumerate(found.C):
        gap = found.difference[i]
        interval = None if found.interval is None else (found.interval[0][i], found.interval[1][i])
        clear = interval is not None and (interval[0] > 0 or interval[1] < 0)
        winner = names[0] if gap < 0 else names[1]
        rows.append(
            (
                f"{C:.3g}",
                loss(0, i),
                loss(1, i),
                f"{gap:+.4f}{bracket(interval, '+.4f')}",
                winner if clear else f"{winner}, not clearly" if interval else winner,
                cell(found.gain[i], ".3g"),
            )
        )
    lines = aligned(rows)
    lines.append("by compute: the multiple of C that the worse one needs for the same loss.")
    if found.crossing is None:
        lines.append("The two do not cross near the measured budgets.")
    else:
        lines.append(
            f"They cross at C = {found.crossing:.3g}{bracket(found.crossing_interval, '.3g')}."
        )
        lines += [
            f"That crossing extrapolates {name}, which was measured from {budgets[0]:.3g} to "
            f"{budgets[1]:.3g}."
            for name, budgets in zip(names, measured, strict=True)
            if is_extrapolated(found.crossing, budgets)
        ]
    if found.share_crossing is not None:
        lines.append(f"{found.share_crossing:.0%} of the draws cross.")
    return lines
