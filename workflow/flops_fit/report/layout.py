"""Tables in Markdown, aligned for a terminal."""

from __future__ import annotations

MISSING = "–"
"""Stands in an empty cell."""


def table_lines(header: list[str], rows: list[list[tuple[str, str]]]) -> list[str]:
    """Lay out a Markdown table; each cell is (value, suffix), both aligned by column."""
    columns = []
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        before = max(len(value) for value, _ in cells)
        after = max(len(tail) for _, tail in cells)
        texts = [
            value.rjust(before) + (f" {tail.ljust(after)}" if after else "")
            for value, tail in cells
        ]
        width = max(len(name), *(len(text) for text in texts))
        column = [name.rjust(width), "-" * (width - 1) + ":"]
        columns.append(column + [text.rjust(width) for text in texts])
    return ["| " + " | ".join(line) + " |" for line in zip(*columns, strict=True)]
