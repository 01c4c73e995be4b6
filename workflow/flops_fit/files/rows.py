"""CSV files whose columns are the fields of a dataclass, and whose rows are such objects."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import types
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from flops_fit.files.fields import FieldError
from flops_fit.files.reading import make_room, read_csv_rows

Row = TypeVar("Row")


def columns_of(kind: type) -> tuple[str, ...]:
    """Return the columns of a dataclass: the names of its fields, in their order."""
    return tuple(field.name for field in dataclasses.fields(kind))


def csv_text(kind: type[Row], rows: Iterable[Row]) -> str:
    """Return the text of a CSV file; None is an empty field, and numbers keep every digit."""
    columns = columns_of(kind)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in rows)
    return text.getvalue()


def read_rows(path: str | Path, kind: type[Row], *, exact: bool = False) -> list[Row]:
    """Return the rows of a CSV file that :func:`csv_text` wrote.

    Parameters
    ----------
    kind
        A dataclass whose fields are text, numbers (``int``, ``float``, or ``int | float`` for a
        number that keeps its spelling), or one of these or None. Further columns are ignored.
    exact
        Refuse numbers that are not spelled as they are written: something has changed them.

    Raises
    ------
    UserError
        If the file is damaged; it was renamed. A row is named by its first column.
    """
    first = columns_of(kind)[0]
    rows = []
    for texts in read_csv_rows(path, columns_of(kind)):
        try:
            rows.append(row_of_texts(kind, texts, exact=exact))
        except FieldError as error:
            raise make_room(path, f"{texts[first]}: {error}") from None
    return rows


def row_of_texts(kind: type[Row], texts: Mapping[str, str], *, exact: bool = False) -> Row:
    """Return the dataclass that the fields of one row spell.

    Raises
    ------
    FieldError
        If a field is not of its type.
    """
    return kind(**{n: _parsed(n, texts[n], wanted, exact) for n, wanted in _types_of(kind).items()})


def _parsed(name: str, text: str, wanted: tuple[type, ...], exact: bool) -> str | float | None:
    if not text and type(None) in wanted:
        return None
    if str in wanted:
        return text
    value: float = math.nan
    with suppress(ValueError):
        value = float(text)  # infinite where a whole number is beyond all measure
        if int in wanted and text.isdecimal() and math.isfinite(value):
            value = int(text)
    whole = float not in wanted
    if not math.isfinite(value) or (whole and not isinstance(value, int)):
        meant = "a whole number" if whole else "a number"
        raise FieldError(f"{name}: found {text!r:.80}, expected {meant}")
    if exact and str(value) != text:
        raise FieldError(f"{name}: found {text!r:.80}, expected {value!r}")
    return value


@cache
def _types_of(kind: type) -> dict[str, tuple[type, ...]]:
    hints = typing.get_type_hints(kind)
    return {
        name: typing.get_args(hints[name])
        if isinstance(hints[name], types.UnionType)
        else (hints[name],)
        for name in columns_of(kind)
    }
