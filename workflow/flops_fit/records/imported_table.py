"""Tables of runs trained elsewhere, read into the columns of runs.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room, read_csv_rows
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.records.column_names import COLUMNS, DERIVED, NEEDED, choose_columns, spelled
from flops_fit.records.numbers import read_numbers
from flops_fit.records.states import UNFINISHED, holds_states, read_states
from flops_fit.records.table_file import read_table
from flops_fit.study.study import RunsTable

FLOPS_PER_PARAM = 6.0
"""C = 6 N D, if a table gives only one of C and D."""

_COUNTS = ("N", "D", "C", "budget", "C_6nd")
_NUMBERS = (*_COUNTS, "loss", "lr", "epochs", "unique")


def import_runs(table: RunsTable) -> pd.DataFrame:
    """Return the runs of a table with the columns of runs.csv that it has.

    A missing D or C is derived from C = k N D and named in the column `derived`; k is the median of
    the rows that have both, or 6 if there are none. Runs without an id are named after their row;
    an empty status means `completed`, and a run that did not finish keeps its word for that.

    Raises
    ------
    UserError
        If the file is missing, empty, of an unknown kind or unreadable, lacks a column, a row
        holds more or fewer fields than the header, or a cell no number or state.
    """
    frame = _read(table)
    for name in _NUMBERS:
        if name in frame:
            frame[name] = _numbers(frame[name], name, table.path)
    _scale(frame, table)
    empty = [None] * len(frame)
    frame["status"] = read_states(frame.get("status", pd.Series(empty)).tolist(), table.path)
    frame["id"] = _ids(frame)
    frame["derived"] = _derive(frame, token=table.unit == "token")
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


def _scale(frame: pd.DataFrame, table: RunsTable) -> None:
    """Multiply columns by the factors that the study gives."""
    for name, factor in table.scale.items():
        if name not in _NUMBERS or name not in frame:
            there = [name for name in _NUMBERS if name in frame]
            raise UserError(
                f"{table.path}: runs_table.scale: found {name!r:.80}, expected columns of numbers "
                f"that the table has: {', '.join(there)}"
            )
        frame[name] = frame[name] * factor


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


def unfinished_runs(runs: pd.DataFrame) -> dict[str, str]:
    """Return the runs that did not finish: for each id the state that the table gives."""
    unfinished = runs[runs["status"].isin(UNFINISHED)]
    return dict(zip(unfinished["id"].astype(str), unfinished["status"], strict=True))


def judge_unfinished(states: Mapping[str, str], of: int) -> list[Judgement]:
    """Report how many runs of a table of `of` rows are left out, because they did not finish."""
    if not states:
        return []
    counts = dict(Counter(states.values()).most_common())
    return [judge("unfinished_runs", n=len(states), of=of, states=counts)]


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


def _read(table: RunsTable) -> pd.DataFrame:
    """Return the columns of a table that are ours, under our names."""
    cells = read_table(table.path)

    def equal(names: Sequence[str]) -> bool:
        columns = [cells.iloc[:, i] for i, name in enumerate(cells.columns) if name in names]
        return all(column.equals(columns[0]) for column in columns[1:])

    chosen = choose_columns(list(cells.columns), table, equal)
    status = chosen.get("status", "status")
    usual = "status" not in table.columns and spelled(status) != "status"
    if usual and not holds_states(cells[status].tolist()):
        del chosen["status"]  # such as the state that a cluster is in
    places = {ours: list(cells.columns).index(theirs) for ours, theirs in chosen.items()}
    return pd.DataFrame({ours: cells.iloc[:, i] for ours, i in places.items()})


def _ids(frame: pd.DataFrame) -> list[str]:
    """Return an id for each row: its own, or its place in the table.

    A row that equals an earlier one in all that is read, and one that is left out, may have an id
    that is taken already: it gets its place as well.
    """
    places = [f"row {i + 1}" for i in range(len(frame))]
    if "id" not in frame:
        return places
    ids = [place if id is None else str(id) for id, place in zip(frame["id"], places, strict=True)]
    taken = frame.assign(id=ids).duplicated("id", keep=False)
    copies = frame.astype(str).duplicated() | frame["status"].isin(UNFINISHED)
    return [
        f"{id} ({place})" if again and copy else id
        for id, place, again, copy in zip(ids, places, taken, copies, strict=True)
    ]


def _numbers(column: pd.Series, name: str, path: Path) -> list[float]:
    numbers, wrong = read_numbers(column.tolist(), counts=name in _COUNTS)
    if wrong is not None:
        raise UserError(
            f"{path}: {name} of row {wrong + 1} is {column.iloc[wrong]!r:.80}, but must be a number"
        )
    return numbers
