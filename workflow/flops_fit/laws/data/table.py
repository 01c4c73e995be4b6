"""The runs that enter a fit: read from columns and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.data.grouping import group_budgets

REQUIRED_COLUMNS = ("N", "D", "C", "loss")
STATUSES = ("completed", "diverged")

LR_NAMES = ("learning_rate", "max_lr")
"""Names of the learning rate that stand in for a column `lr`, the first that is there."""

MIN_RUNS = 5
"""Fewer runs than this are no evidence of any law."""


class UnusableRunsError(UserError):
    """An error in the runs of a study, not in its settings."""


class UnknownExclusionError(UserError):
    """Runs to be left out do not exist: ``ids``."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            f"fit.exclude names {', '.join(ids)}, which is not the id of any run; correct or "
            "remove it."
        )
        self.ids = tuple(ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A run that does not enter the fit, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """Runs as columns of one length (n_runs,), in an order that does not depend on the input's.

    `L` is NaN where `diverged`; `lr`, `epochs`, `unique` and `C_6nd` are NaN where they are not
    known, `seed` is "". `unique` are the distinct units among the D units, or in the data that
    these are from.
    Runs of one `trunk` are checkpoints of one training; the trunk of a single run is its own id.
    `profiled` says whether the run stands at its budget, and not only near it; `counted`, whether
    its C is the stated `flops_per_unit` times D.
    """

    id: NDArray[np.object_]
    diverged: NDArray[np.bool_]
    seed: NDArray[np.object_]
    budget: NDArray[np.float64]
    size: NDArray[np.object_]
    lr: NDArray[np.float64]
    N: NDArray[np.float64]
    D: NDArray[np.float64]
    C: NDArray[np.float64]
    L: NDArray[np.float64]
    epochs: NDArray[np.float64]
    unique: NDArray[np.float64]
    C_6nd: NDArray[np.float64]
    profiled: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    trunk: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.id)

    @property
    def trainings(self) -> NDArray[np.intp] | None:
        """The number of each run's trunk, from 0, shape (n_runs,); None if no runs share one."""
        labels, index = np.unique(self.trunk.astype(str), return_inverse=True)
        return index if labels.size < len(self) else None

    def take(self, rows: NDArray[Any]) -> RunTable:
        """Return the given rows (indices, repeats allowed, or a mask)."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def read_runs(
    runs: Mapping[str, Sequence[Any]], *, exclude: Collection[str] = ()
) -> tuple[RunTable, tuple[Exclusion, ...]]:
    """Check the columns of runs.csv and return them as a table.

    Parameters
    ----------
    runs : mapping of column name to sequence, each of length n_rows
        `N, D, C, loss`, and optionally `budget` (default: found by `group_budgets`), `id`
        (default: "row 1", ...), `status` (default: all completed), `size` (default: N), `lr`
        (without it, `learning_rate` or `max_lr`), `seed`, `epochs` (D over the distinct units),
        `unique` (these; it wins over `epochs`), `C_6nd`, `flops_per_unit` (C over D,
        where it was counted), `trunk` (one name for all checkpoints of a training; empty: the run
        itself). Other columns are ignored.
    exclude : collection of str
        Ids of runs to leave out.

    Returns
    -------
    table : RunTable
        All runs but the excluded ones; diverged runs are still there.
    excluded : tuple of Exclusion
        What `exclude` took out.

    Raises
    ------
    UserError
        If a column is missing or of another length, an id occurs twice or is excluded but not
        there, a status is unknown, or a completed run lacks a finite loss or positive N, D, C.
    """
    table = _as_table(runs)
    _check_ids(table.id, exclude)
    names = {str(name) for name in exclude}
    left_out = np.array([name in names for name in table.id], dtype=bool)
    excluded = tuple(
        Exclusion(id=name, reason="listed in fit.exclude") for name in sorted(table.id[left_out])
    )
    table = table.take(~left_out)
    if not names_budgets(runs):
        table = with_budgets(table)
    _check_values(table)
    return ordered(table), excluded


def _as_table(runs: Mapping[str, Sequence[Any]]) -> RunTable:
    """Turn columns into arrays, in the order of the input; checks only that they can be read."""
    n_rows = _check_columns(runs)
    runs = _with_lr(runs)
    id = np.array([str(value) for value in runs.get("id", _row_names(n_rows))], dtype=object)
    status = [str(value) for value in runs.get("status", ["completed"] * n_rows)]
    for name, value in zip(id, status, strict=True):
        if value not in STATUSES:
            raise UnusableRunsError(
                f"The status of run {name} is {value!r}; it must be one of {', '.join(STATUSES)}."
            )

    def column(name: str) -> NDArray[np.float64]:
        if name not in runs:
            return np.full(n_rows, np.nan)
        return np.array([_number(name, id[i], v) for i, v in enumerate(runs[name])], dtype=float)

    size = column("N").astype(object)
    if "size" in runs:
        for i, value in enumerate(runs["size"]):
            # NaN is the one value that differs from itself: an empty cell keeps N
            size[i] = value if value not in (None, "") and value == value else size[i]
    diverged = np.array([value == "diverged" for value in status], dtype=bool)
    return RunTable(
        id=id,
        diverged=diverged,
        seed=np.array(["" if v is None else str(v) for v in runs.get("seed", [""] * n_rows)]),
        size=size,
        L=np.where(diverged, np.nan, column("loss")),
        profiled=np.ones(n_rows, dtype=bool),
        counted=np.isclose(column("flops_per_unit") * column("D"), column("C"), rtol=1e-9, atol=0),
        trunk=_trunks(id, runs.get("trunk", [None] * n_rows)),
        **{name: column(name) for name in ("budget", "lr", "N", "D", "C", "C_6nd")},
        **_epochs_and_unique(column("D"), column("epochs"), column("unique")),
    )


def _trunks(id: NDArray[np.object_], named: Sequence[Any]) -> NDArray[np.object_]:
    """Return the trunk of each run: as named, or its own id, which others may name as theirs."""
    pairs = zip(id, named, strict=True)
    return np.array([own if v in (None, "") or v != v else str(v) for own, v in pairs], object)


def _with_lr(runs: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Return the columns with one of `LR_NAMES` as `lr` where that is absent.

    Without it, runs of several learning rates would be read as replicates of one.
    """
    named = [name for name in LR_NAMES if name in runs]
    return runs if "lr" in runs or not named else {**runs, "lr": runs[named[0]]}


def _epochs_and_unique(
    D: NDArray[np.float64], epochs: NDArray[np.float64], unique: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Derive each of the two from the other where it is not given; `unique` wins."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unique = np.where(np.isnan(unique), D / epochs, unique)
        return {"unique": unique, "epochs": np.where(np.isnan(unique), epochs, D / unique)}


def names_budgets(runs: Mapping[str, Sequence[Any]]) -> bool:
    """Say whether the runs name their budgets: the column is there and not empty throughout."""
    return any(not (v is None or v == "" or v != v) for v in runs.get("budget", ()))


def with_budgets(table: RunTable) -> RunTable:
    """Return the table with the budgets that `group_budgets` finds among its runs."""
    usable = np.isfinite(table.C) & (table.C > 0) & np.isfinite(table.N) & (table.N > 0)
    if not usable.any():
        return table
    # Sorted first: ties between windows are broken by order, which must not be the file's
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((table.N[rows], table.C[rows]))]
    # A diverged run without numbers needs some budget to be listed with
    budget = np.full(len(table), float(np.median(table.C[rows])))
    profiled = np.zeros(len(table), dtype=bool)
    budget[rows], profiled[rows] = group_budgets(table.N[rows], table.C[rows])
    return replace(table, budget=budget, profiled=profiled)


def _check_columns(runs: Mapping[str, Sequence[Any]]) -> int:
    missing = [name for name in REQUIRED_COLUMNS if name not in runs]
    if missing:
        raise UnusableRunsError(
            f"The runs lack the column(s) {', '.join(missing)}; they have "
            f"{', '.join(map(str, runs)) or 'none'}. Add what is missing."
        )
    n_rows = len(runs["loss"])
    for name, values in runs.items():
        if len(values) != n_rows:
            raise UnusableRunsError(
                f"Column {name} has {len(values)} rows but column loss has {n_rows}; "
                "give one value per run."
            )
    return n_rows


def _row_names(n_rows: int) -> list[str]:
    return [f"row {i + 1}" for i in range(n_rows)]


def _check_ids(id: NDArray[np.object_], exclude: Collection[str]) -> None:
    known, counts = np.unique(id.astype(str), return_counts=True)
    if (counts > 1).any():
        raise UnusableRunsError(f"Two runs have the id {known[counts > 1][0]}; keep one of them.")
    unknown = sorted({str(name) for name in exclude} - set(known.tolist()))
    if unknown:
        raise UnknownExclusionError(unknown)


def _number(column: str, run: str, value: Any) -> float:
    try:
        # An empty cell of a table arrives as None, "" or NaN
        return float("nan") if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise UnusableRunsError(
            f"{column} of run {run} is {value!r}, but must be a number."
        ) from None


def _check_values(table: RunTable) -> None:
    for name in ("budget", "N", "D", "C"):
        values = getattr(table, name)
        checked = ~table.diverged if name != "budget" else np.ones(len(table), dtype=bool)
        for i in np.flatnonzero(checked & ~(np.isfinite(values) & (values > 0))):
            raise UnusableRunsError(
                f"{name} of run {table.id[i]} is {values[i]:g}, but must be finite and positive."
            )
    for name in ("unique", "epochs"):
        for i in np.flatnonzero(getattr(table, name) <= 0):
            raise UnusableRunsError(
                f"{name} of run {table.id[i]} is {getattr(table, name)[i]:g}, but must be positive."
            )
    for i in np.flatnonzero(~table.diverged & ~np.isfinite(table.L)):
        raise UnusableRunsError(
            f"Run {table.id[i]} is completed but its loss is {table.L[i]:g}; "
            'correct it, or set its status to "diverged".'
        )
    unknown = np.isnan(table.lr)
    if unknown.any() and not unknown.all():
        raise UnusableRunsError(
            f"Run {table.id[unknown][0]} has no lr although others have one; "
            "fill the column lr for every run or leave it out."
        )


def ordered(table: RunTable) -> RunTable:
    """Sort by content, so that floating-point sums do not depend on the order of the rows."""
    return table.take(np.lexsort((table.L, table.D, table.C, table.lr, table.N, table.budget)))
