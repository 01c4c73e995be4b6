"""How numbers and tables are printed."""

from __future__ import annotations

from collections.abc import Sequence


def bracket(interval: tuple[float, float] | None, form: str) -> str:
    """Return an interval behind its estimate, nothing where there is none."""
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its columns aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
