"""Numbers as people write them into tables: 1.3B, 350M, 21,100,387, and decimal commas."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

POWERS = {
    "k": 3, "thousand": 3, "m": 6, "million": 6, "b": 9, "bn": 9, "billion": 9, "g": 9, "t": 12,
    "trillion": 12,
}  # fmt: skip
"""Powers of ten of the suffixes of counts; a count has no thousandths, so that m is a million."""

_SUFFIX = "|".join(sorted(POWERS, key=len, reverse=True))
_NUMBER = re.compile(
    rf"([-+]?)([\d.,]+)(?:e([-+]?\d+))?\s*({_SUFFIX})?\s*"
    r"(?:parameters|params?|tokens?|flops?|images?|samples?)?",
    re.IGNORECASE,
)
_SPACED = re.compile(r"(?<=\d)[\s'\u2019](?=\d{3}(?!\d))")
_GROUPED = {mark: re.compile(rf"[1-9]\d{{0,2}}(?:\{mark}\d{{3}})+") for mark in ",."}


def read_numbers(cells: Sequence[Any], *, counts: bool) -> tuple[list[float], int | None]:
    """Return the numbers of a column's cells, NaN for None, and which cell is the first without.

    Parameters
    ----------
    cells : sequence
        Text, numbers or None.
    counts : bool
        Whether the column counts something (N, D, C). Suffixes are read in counts only, and a
        comma before three digits separates thousands in them (350,000), but decimals elsewhere
        (a loss of 2,345). A comma that cannot separate thousands (1,7e9 or 0,35) makes all of the
        column's commas decimal ones.
    """
    try:
        numbers = [math.nan if cell is None else float(cell) for cell in cells]
    except (TypeError, ValueError, OverflowError):
        numbers = _read_slowly(cells, counts=counts)
    for i, (cell, number) in enumerate(zip(cells, numbers, strict=True)):
        too_large = math.isinf(number) and isinstance(cell, str) and any(map(str.isdigit, cell))
        if too_large or (math.isnan(number) and cell is not None and not _is_nan(cell)):
            return numbers, i
    return numbers, None


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _read_slowly(cells: Sequence[Any], *, counts: bool) -> list[float]:
    texts = [_SPACED.sub("", cell.strip()) if isinstance(cell, str) else cell for cell in cells]
    decimal = any(isinstance(text, str) and _has_decimal_comma(text, counts) for text in texts)
    return [_number(text, decimal=decimal, counts=counts) for text in texts]


def _has_decimal_comma(text: str, counts: bool) -> bool:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].count(",") != 1:
        return False
    before, _, after = match[2].partition(",")
    if "." in after:  # 1,234.5
        return False
    grouped = _GROUPED[","].fullmatch(match[2]) and not match[3]
    return "." in before or not (counts and grouped)


def _number(text: Any, *, decimal: bool, counts: bool) -> float:
    """Return what a cell spells, NaN if it spells no number."""
    if not isinstance(text, str):
        try:
            return math.nan if text is None else float(text)
        except (TypeError, ValueError, OverflowError):
            return math.nan
    match = _NUMBER.fullmatch(text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            return math.nan
    sign, digits, exponent, suffix = match.groups()
    if suffix and not counts:
        return math.nan
    thousands, point = (".", ",") if decimal else (",", ".")
    whole, _, fraction = digits.partition(point)
    if thousands in whole:
        if not _GROUPED[thousands].fullmatch(whole):
            return math.nan
        whole = whole.replace(thousands, "")
    if not decimal and _GROUPED["."].fullmatch(digits) and digits.count(".") > 1:  # 21.100.387
        whole, fraction = digits.replace(".", ""), ""
    power = int(exponent or 0) + (POWERS[suffix.lower()] if suffix else 0)
    try:
        return float(f"{sign}{whole}.{fraction}e{power}")
    except ValueError:
        return math.nan
