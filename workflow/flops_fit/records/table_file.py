"""The file of a table of runs, as rows of cells: CSV, TSV, JSON, JSON lines, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from flops_fit.errors import UserError

COMPRESSED = ".gz"
SEPARATORS = (",", ";", "\t", "|")
"""What a header is tried with; the one that gives most names separates the whole file."""

EMPTY_WORDS = frozenset(
    ("", "#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-nan")
)
"""Texts that stand for an empty cell (those that pandas takes for one)."""


def read_table(path: Path) -> pd.DataFrame:
    """Return the cells of a table: text as it stands or JSON's values, None where empty.

    Rows whose cells are all empty are skipped.

    Raises
    ------
    UserError
        If the file is missing, empty, of an unknown kind or unreadable, or a row holds more or
        fewer fields than the header.
    """
    reader = _reader_of(path)
    try:
        frame = reader(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table of runs") from None
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet takes pyarrow; install it (pip install pyarrow) or save the "
            "table as CSV"
        ) from None
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise UserError(f"{path}: cannot be read as a table of runs ({reason})") from None
    frame = frame.set_axis([str(name).strip() for name in frame.columns], axis=1)
    frame = frame.dropna(how="all")
    if frame.empty:
        raise UserError(f"{path}: the table holds no runs")
    return frame.reset_index(drop=True)


def _reader_of(path: Path) -> Callable[[Path], pd.DataFrame]:
    endings = [ending.lower() for ending in path.suffixes]
    compressed = endings[-1:] == [COMPRESSED]
    ending = "".join(endings[-1 - compressed : len(endings) - compressed])
    reader = _READERS.get(ending)
    if reader is None or (compressed and ending == ".parquet"):
        raise UserError(
            f"{path}: a table of runs must be one of {', '.join(_READERS)} (text also as .csv"
            f"{COMPRESSED}), not {path.suffix or 'a file without an ending'!r}"
        )
    return reader


def _read_delimited(path: Path, usual: str) -> pd.DataFrame:
    """Read CSV or TSV whose rows all have the header's fields.

    A row with too many fields or too few would give laws of wrong numbers. Empty fields beyond the
    header's (after a trailing comma) do not count.

    Raises
    ------
    ValueError
        If a row is wider or narrower than the header; names the line.
    """
    text = _text_of(path)
    first, _, rest = text.partition("\n")
    separator = first.strip().lower().removeprefix("sep=")
    if separator in SEPARATORS and separator != first.strip():  # Excel's own first line
        text = "\n" + rest
    else:
        header = next((line for line in text.splitlines() if line.strip(" \t;,|")), "")
        separator = _separator(header, usual)
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != "\t"
    )
    try:
        names, *found = _rows_of_one_width(rows)
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from None
    return pd.DataFrame(found, columns=names, dtype=object)


def _text_of(path: Path) -> str:
    opened = gzip.open if path.suffix.lower() == COMPRESSED else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        return file.read()


def _separator(header: str, usual: str) -> str:
    """Return what separates most names of a header, `usual` where several do."""

    def names(separator: str) -> tuple[int, bool]:
        row = next(csv.reader([header], delimiter=separator), [])
        return sum(bool(name.strip()) for name in row), separator == usual

    return max(SEPARATORS, key=names)


def _rows_of_one_width(rows: Any) -> list[list[str | None]]:
    """Return the rows of a csv.reader as wide as the first one, the header, without blank ones."""
    found: list[list[str | None]] = []
    width = 0
    for row in rows:
        filled = max((i + 1 for i, field in enumerate(row) if field.strip()), default=0)
        if not filled:
            continue
        if not width:
            width = filled
            found.append([name.strip() for name in row[:width]])
            continue
        if filled > width or len(row) < width:
            n_fields = max(filled, min(len(row), width))
            raise ValueError(
                f"line {rows.line_num} has {n_fields} fields, but the header has {width}"
            )
        found.append(
            [None if cell.strip() in EMPTY_WORDS else cell.strip() for cell in row[:width]]
        )
    if not found:
        raise ValueError("it is empty")
    return found


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for i, line in enumerate(_text_of(path).splitlines()):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"line {i + 1} is not JSON that can be read") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {i + 1} is not an object")
        rows.append(row)
    return _table(rows)


def _read_json(path: Path) -> pd.DataFrame:
    """Read a list of objects, one per run, or an object of columns: lists, or maps by row.

    Raises
    ------
    ValueError
        If it is neither, or columns differ in length.
    """
    try:
        content = json.loads(_text_of(path))
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON that can be read") from None
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return _table(content)
    if not isinstance(content, dict) or not content:
        raise ValueError("found neither a list of objects nor an object of columns")
    columns: dict[str, list[Any]] = {}
    rows = next((list(cells) for cells in content.values() if isinstance(cells, dict)), [])
    for name, cells in content.items():
        # pandas writes a column as a map from the row's name
        if isinstance(cells, dict) and list(cells) == rows:
            cells = list(cells.values())
        if not isinstance(cells, list):
            raise ValueError(f"column {name!r:.80} is not a list of cells, one per run")
        columns[name] = cells
    n_rows = {name: len(cells) for name, cells in columns.items()}
    if len(set(n_rows.values())) > 1:
        shown = ", ".join(f"{name}: {n}" for name, n in itertools.islice(n_rows.items(), 10))
        raise ValueError(f"its columns differ in length ({shown})")
    return _table(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    )


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return pd.DataFrame(cells, columns=names, dtype=object)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return None if value.strip() in EMPTY_WORDS else value.strip()
    return None if value != value else value  # NaN


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path).astype(object)
    return frame.where(frame.notna(), None)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": partial(_read_delimited, usual=","),
    ".tsv": partial(_read_delimited, usual="\t"),
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
