"""Tables of runs that somebody else trained, read into the columns of runs.csv."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from flops_fit.errors import UserError
from flops_fit.study import RunsTable

COLUMNS = ("id", "status", "budget", "size", "seed", "lr", "N", "D", "C", "loss", "epochs")
"""What is taken from a table; the rest of it is ignored."""

NEEDED = ("N", "loss")
FLOPS_PER_PARAM = 6.0
"""C = 6 N D, where a table gives but one of C and D."""


def import_runs(table: RunsTable) -> pd.DataFrame:
    """Return the runs of a table with the columns of runs.csv that it has.

    A missing D or C is derived from C = 6 N D, and the column `derived` says so. Runs without an
    id are named after their row.

    Raises
    ------
    UserError
        If the file is missing, empty, of an unknown kind or unreadable, or lacks a column.
    """
    frame = _rename(_read(table.path), table)
    n = len(frame)
    for name in ("N", "D", "C", "loss", "budget", "lr", "epochs"):
        if name in frame:
            frame[name] = _numbers(frame[name], name, table.path)
    derived = None
    if "C" not in frame:
        frame["C"] = FLOPS_PER_PARAM * frame["N"] * frame["D"]
        derived = "The table has no C: it is taken as 6 N D, not what was really spent."
    elif "D" not in frame:
        frame["D"] = frame["C"] / (FLOPS_PER_PARAM * frame["N"])
        derived = "The table has no D: it is taken as C / (6 N), not what was really trained on."
    elif table.unit == "token":
        frame["C_6nd"] = FLOPS_PER_PARAM * frame["N"] * frame["D"]
    frame["derived"] = derived
    if "id" not in frame:
        frame["id"] = [f"row {i + 1}" for i in range(n)]
    frame["id"] = frame["id"].astype(str)
    if "status" not in frame:
        frame["status"] = "completed"
    for name in ("budget", "size"):
        if name not in frame:
            frame[name] = np.nan
    extra = ("C_6nd", "derived")
    return frame[[name for name in (*COLUMNS, *extra) if name in frame]]


def _read(path: Path) -> pd.DataFrame:
    readers = {
        ".csv": lambda p: pd.read_csv(p, skipinitialspace=True),
        ".tsv": lambda p: pd.read_csv(p, sep="\t"),
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
        # pandas' own errors of parsing are ValueErrors, as are an empty file's
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise UserError(f"{path}: cannot be read as a table of runs ({reason})") from None
    if frame.empty:
        raise UserError(f"{path}: the table holds no runs")
    return frame


def _read_json_lines(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise ValueError(f"line {i + 1} is not JSON") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {i + 1} is not an object")
        rows.append(row)
    return pd.DataFrame(rows)


def _rename(frame: pd.DataFrame, table: RunsTable) -> pd.DataFrame:
    """Give the columns our names: those that the study maps, else equal ones in any case."""
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
            f"{path}: {name} of row {row + 1} is {column.iloc[row]!r}, but must be a number"
        )
    return numbers.astype(float)
