"""How numbers and tables are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flops_fit.laws.reading import FittedLaws
    from flops_fit.laws.readouts.summary import Estimate


def bracket(interval: tuple[float, float] | None, form: str) -> str:
    """Return an interval behind its estimate, nothing where there is none."""
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def cell(estimate: Estimate | None, form: str, interval_form: str | None = None) -> str:
    """Return an estimate with its interval, "none" without one.

    What is asked for has no interval: it is not estimated.
    """
    if estimate is None:
        return "none"
    interval = estimate.interval
    if interval is not None and interval[0] == estimate.value == interval[1]:
        interval = None
    return f"{estimate.value:{form}}{bracket(interval, interval_form or form)}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its columns aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def heading(laws: FittedLaws) -> str:
    """Return the first line: whose laws these are, and what stands in brackets."""
    if laws.draws is None:
        return f"{laws.study}, {laws.said_by}; the fit computed no intervals"
    return f"{laws.study}, {laws.said_by}, {laws.level:.0%} intervals in brackets"


def extrapolations(laws: FittedLaws, computes: Iterable[float]) -> list[str]:
    """Return a line for each C (FLOPs) outside of the measured budgets."""
    from flops_fit.laws.predictions import is_extrapolated

    low, high = laws.budgets
    lines = []
    for C in dict.fromkeys(computes):
        if is_extrapolated(C, laws.budgets):
            times = C / high if C > high else low / C
            side = "above the largest" if C > high else "below the smallest"
            lines.append(
                f"C = {C:.4g} extrapolates: {times:.3g} times {side} measured budget "
                f"({high if C > high else low:.3g})."
            )
    return lines
