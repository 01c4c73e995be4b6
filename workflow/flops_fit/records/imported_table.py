"""Tables of runs trained elsewhere, read into the columns of runs.csv."""

from __future__ import annotations

import csv
import difflib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room, read_csv_rows
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.study.study import RunsTable

COLUMNS = ("id", "status", "budget", "size", "seed", "lr", "N", "D", "C", "loss", "epochs")
"""Columns that are read from a table; all others are ignored."""

NEEDED = ("N", "loss")
FLOPS_PER_PARAM = 6.0
"""C = 6 N D, if a table gives only one of C and D."""

DERIVED = ("C", "D")
"""Columns of which each follows from the other and N."""

_NUMBERS = ("N", "D", "C", "loss", "budget", "lr", "epochs", "C_6nd")


def import_runs(table: RunsTable) -> pd.DataFrame:
    """Return the runs of a table with the columns of runs.csv that it has.

    A missing D or C is derived from C = k N D and named in the column `derived`; k is the median of
    the rows that have both, or 6 if there are none. Runs without an id are named after their row;
    an empty status means `completed`.

    Raises
    ------
    UserError
        If the file is missing, empty, of an unknown kind or unreadable, lacks a column, or a row
        holds more or fewer fields than the header.
    """
    frame = _rename(_read(table.path), table)
    n = len(frame)
    for name in _NUMBERS:
        if name in frame:
            frame[name] = _numbers(frame[name], name, table.path)
    frame["derived"] = _derive(frame, token=table.unit == "token")
    if "id" not in frame:
        frame["id"] = [f"row {i + 1}" for i in range(n)]
    frame["id"] = frame["id"].astype(str)
    if "status" not in frame:
        frame["status"] = "completed"
    status = frame["status"].fillna("").astype(str).str.strip()
    frame["status"] = status.where(status != "", "completed")
    for name in ("budget", "size"):
        if name not in frame:
            frame[name] = np.nan
    extra = ("C_6nd", "derived")
    return frame[[name for name in (*COLUMNS, *extra) if name in frame]]


def read_imported_runs(path: str | Path) -> pd.DataFrame:
    """Return the ``runs.csv`` written from `import_runs`, without the column `size` if it is empty.

    Raises
    ------
    UserError
        If it is damaged; it was renamed, and a rerun imports the table again.
    """
    rows = read_csv_rows(path, ("id", "status", *NEEDED, *DERIVED))
    if not rows:
        raise make_room(path, "holds no runs")
    frame = pd.DataFrame(rows, dtype=object).replace({"": None})
    for name in frame.columns.intersection(_NUMBERS):
        try:
            frame[name] = frame[name].astype(float)
        except ValueError as error:
            raise make_room(path, f"{name}: {error}") from None
    if "size" in frame and frame["size"].isna().all():
        frame = frame.drop(columns="size")
    return frame


def _derive(frame: pd.DataFrame, *, token: bool) -> pd.Series:
    """Fill the empty C and D of `frame`, and return for each row which was filled, or None.

    If the unit is a token, C_6nd of the rows that had both is added.
    """
    for name in DERIVED:
        if name not in frame:
            frame[name] = np.nan
    known = frame["C"].notna() & frame["D"].notna()
    missing = {name: frame[name].isna() & ~known for name in DERIVED}
    product = frame["N"] * frame["D"]
    if token and known.any():
        frame["C_6nd"] = (FLOPS_PER_PARAM * product).where(known)
    k = _flops_constant(frame[known])
    frame["C"] = frame["C"].fillna(k * product)
    frame["D"] = frame["D"].fillna(frame["C"] / (k * frame["N"]))
    derived = pd.Series(None, index=frame.index, dtype=object)
    for name in DERIVED:
        derived[missing[name] & frame[name].notna()] = name
    return derived


def _flops_constant(known: pd.DataFrame) -> float:
    """Return k of C = k N D: the median over rows that have all three, else 6."""
    if not len(known):
        return FLOPS_PER_PARAM
    return float((known["C"] / (known["N"] * known["D"])).median())


def derived_columns(runs: pd.DataFrame) -> list[Judgement]:
    """Report which of C and D `import_runs` derived, from its column `derived`."""
    if "derived" not in runs:
        return []
    known = runs[runs["derived"].isna() & runs["C"].notna() & runs["D"].notna()]
    k = _flops_constant(known)
    counts = {name: int((runs["derived"] == name).sum()) for name in DERIVED}
    return [
        judge("derived_column", column=name, k=k, n=n, of=len(runs), assumed=not len(known))
        for name, n in counts.items()
        if n
    ]


def _read(path: Path) -> pd.DataFrame:
    readers = {
        ".csv": lambda p: _read_delimited(p, ","),
        ".tsv": lambda p: _read_delimited(p, "\t"),
        ".parquet": pd.read_parquet,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
    }
    if path.suffix.lower() not in readers:
        raise UserError(
            f"{path}: a table of runs must be one of {', '.join(readers)}, not "
            f"{path.suffix or 'a file without an ending'!r}"
        )
    try:
        frame = readers[path.suffix.lower()](path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table of runs") from None
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet takes pyarrow; install it (pip install pyarrow) or save the "
            "table as CSV"
        ) from None
    except (OSError, ValueError) as error:
        # pandas raises ValueErrors for unparsable and for empty files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise UserError(f"{path}: cannot be read as a table of runs ({reason})") from None
    if frame.empty:
        raise UserError(f"{path}: the table holds no runs")
    return frame


def _read_delimited(path: Path, delimiter: str) -> pd.DataFrame:
    """Read CSV or TSV whose rows all have the header's fields.

    pandas shifts a row with too many fields and pads one with too few; either would give laws of
    wrong numbers. Empty fields beyond the header's (after a trailing comma) do not count.

    Raises
    ------
    ValueError
        If a row is wider or narrower than the header; names the line.
    """
    spaces = delimiter == ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=spaces)
        try:
            width = _check_widths(rows)
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from None
    return pd.read_csv(
        path, sep=delimiter, skipinitialspace=spaces, index_col=False, usecols=range(width)
    )


def _check_widths(rows: Any) -> int:
    """Return how many columns the header of a csv.reader names; all rows must have as many."""
    width = 0
    for row in rows:
        if not any(field.strip() for field in row) and len(row) < 2:
            continue
        filled = max((i + 1 for i, field in enumerate(row) if field.strip()), default=0)
        if not width:
            width = filled
        elif filled > width or len(row) < width:
            n_fields = max(filled, min(len(row), width))
            raise ValueError(
                f"line {rows.line_num} has {n_fields} fields, but the header has {width}"
            )
    return width


def _read_json_lines(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"line {i + 1} is not JSON that can be read") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {i + 1} is not an object")
        rows.append(row)
    return pd.DataFrame(rows)


def _rename(frame: pd.DataFrame, table: RunsTable) -> pd.DataFrame:
    """Rename the columns to ours: as the study maps them, otherwise by name, ignoring case."""
    names = [str(name).strip() for name in frame.columns]
    frame = frame.set_axis(names, axis=1)
    unknown = sorted(set(table.columns) - set(COLUMNS))
    if unknown:
        raise UserError(
            f"runs_table.columns: found {unknown[0]!r}, expected names among {', '.join(COLUMNS)}"
        )
    chosen: dict[str, str] = {}
    for ours in COLUMNS:
        theirs = table.columns.get(ours)
        if theirs is not None and theirs not in names:
            near = difflib.get_close_matches(theirs, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"{table.path}: runs_table.columns names {theirs!r} for {ours}, but the columns "
                f"are {', '.join(names)}{hint}"
            )
        if theirs is None:
            same = [name for name in names if name.lower() == ours.lower()]
            theirs = ours if ours in same else same[0] if len(same) == 1 else None
        if theirs is not None and names.count(theirs) == 1:
            chosen[ours] = theirs
    missing = [name for name in NEEDED if name not in chosen]
    if not {"C", "D"} & set(chosen):
        missing.append("C or D")
    if missing:
        raise UserError(
            f"{table.path}: the table lacks {', '.join(missing)}; its columns are "
            f"{', '.join(names)}. Map them, as in runs_table: {{path: ..., columns: {{N: params}}}}"
        )
    return pd.DataFrame({ours: frame[theirs] for ours, theirs in chosen.items()})


def _numbers(column: pd.Series, name: str, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna() & (column.astype(str).str.strip() != "")
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise UserError(
            f"{path}: {name} of row {row + 1} is {column.iloc[row]!r:.80}, but must be a number"
        )
    return numbers.astype(float)
