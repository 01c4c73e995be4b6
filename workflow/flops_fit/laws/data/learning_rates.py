"""Learning rates tried on the same training: the best stays, the others leave the fit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.grouping import numbered_levels
from flops_fit.laws.data.table import Exclusion, RunTable

SAME_N = 1.001
"""Ratio of N up to which runs are of one size: parameters are often written with four digits."""

SAME_D = 1.01
"""Ratio of D up to which runs saw the same data: the tolerance of a plan's budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChoice:
    """The learning rate that won among several tried at one N and D."""

    budget: float
    size: Hashable
    D: float
    best: float
    tried: tuple[float, ...]
    """All learning rates of the cell, ascending, with those that diverged."""


def keep_best_learning_rates(
    table: RunTable,
) -> tuple[RunTable, tuple[Exclusion, ...], tuple[CellChoice, ...]]:
    """Keep the completed runs at the best learning rate of each cell, which is one N and D.

    In a planned study a cell is a budget and a size. In a table of other runs a size may have been
    trained on many D, each of which has a best learning rate of its own: rates compete only where
    N and D are the same within rounding.

    The best is the one with the lowest mean loss over its runs (the seeds). A rate at which any run
    diverged ranks after all rates without divergence, since the mean of the survivors flatters it.
    All seeds of the best learning rate are kept: they are replicates.

    Returns
    -------
    table : RunTable
        Completed runs only.
    excluded : tuple of Exclusion
        The others.
    choices : tuple of CellChoice
        One for each cell with several learning rates.
    """
    reasons = dict.fromkeys(np.flatnonzero(table.diverged).tolist(), "diverged")
    choices = []
    for rows in _cells(table):
        tried = np.unique(table.lr[rows])
        if tried.size < 2:
            continue
        best = _best_learning_rate(table, rows, tried)
        if best is None:
            continue
        completed = rows[~table.diverged[rows]]
        choices.append(
            CellChoice(
                budget=float(table.budget[completed[0]]),
                size=table.size[completed[0]],
                D=float(table.D[completed[0]]),
                best=best,
                tried=tuple(tried.tolist()),
            )
        )
        for i in rows.tolist():
            if table.lr[i] != best:
                reasons.setdefault(
                    i, f"learning rate {table.lr[i]:g} is not the best at its N and D ({best:g} is)"
                )
    excluded = sorted(
        (Exclusion(id=table.id[i], reason=reason) for i, reason in reasons.items()),
        key=lambda exclusion: exclusion.id,
    )
    keep = np.ones(len(table), dtype=bool)
    keep[list(reasons)] = False
    return table.take(keep), tuple(excluded), tuple(choices)


def _cells(table: RunTable) -> list[NDArray[np.intp]]:
    """Return the rows of each cell.

    A diverged run may have stopped early or have no numbers: where its size has but one cell at its
    budget it belongs there, else to the cell of its own N and D.
    """
    named = np.array([size != N for size, N in zip(table.size, table.N, strict=True)], dtype=bool)
    labels = np.array([str(size) for size in np.where(named, table.size, "")])
    # NaN, of diverged runs alone, comes last and is a level of its own
    keys = [np.unique(labels, return_inverse=True)[1]]
    keys += [numbered_levels(np.log(table.N), np.log(SAME_N))]
    size = np.unique(np.stack(keys), axis=1, return_inverse=True)[1].ravel()
    cell = np.empty(len(table), dtype=int)
    n_cells = 0
    for own in _groups(size):
        cell[own] = n_cells + numbered_levels(np.log(table.D[own]), np.log(SAME_D))
        n_cells = cell[own].max() + 1
    at_budget: dict[tuple[float, str], set[int]] = {}
    # Where sizes have no names, N tells them apart
    names = [str(value) for value in table.size]
    for i in np.flatnonzero(~table.diverged).tolist():
        at_budget.setdefault((float(table.budget[i]), names[i]), set()).add(int(cell[i]))
    for i in np.flatnonzero(table.diverged).tolist():
        there = at_budget.get((float(table.budget[i]), names[i]), set())
        if len(there) == 1:
            (cell[i],) = there
    return _groups(cell)


def _groups(number: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the rows of each number, ascending."""
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if order.size else []


def _best_learning_rate(
    table: RunTable, rows: NDArray[np.intp], tried: NDArray[np.float64]
) -> float | None:
    """Return the best of the `tried` learning rates, None if every run diverged."""
    ranked = []
    for lr in tried.tolist():
        own = rows[table.lr[rows] == lr]
        completed = own[~table.diverged[own]]
        if completed.size:
            any_diverged = completed.size < own.size
            ranked.append((any_diverged, float(table.L[completed].mean()), lr))
    return min(ranked)[2] if ranked else None
