"""Rolling origins: which runs are kept, and which optima are hidden and to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.backtest.found import Found, found_at_budgets, found_in_strata, strata_of
from flops_fit.laws.data.grouping import MAX_SPAN
from flops_fit.laws.data.table import RunTable

Kind = Literal["budgets", "strata"]

MIN_PROFILED = 0.9
"""Share of the runs that stand at a budget from which the budgets of a table are its design. On
grids of N and D runs share their C by chance: seven in ten at most in published sweeps."""

MAX_HIDDEN = 3
"""The largest budgets that are hidden, at most: the last of three is predicted over a factor of 10
to 100, as far as most extrapolations go."""

MIN_KEPT = 3
"""Budgets that are kept, at least: with two a law has nothing that tests it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One split of the runs in time, as if the largest budgets had not been trained yet."""

    kept: NDArray[np.bool_]
    """Runs that are known, shape (n_runs,)."""
    largest: float
    """The largest C of a run that is kept, FLOPs."""
    n_hidden: int
    """Budgets or strata that are hidden."""
    hidden: tuple[Found, ...]
    """What was found at those of them that show an optimum."""


def design_of(runs: RunTable) -> Kind:
    """Say whether runs were planned at budgets, or on a grid of N and D that has strata of C."""
    return "budgets" if runs.profiled.mean() >= MIN_PROFILED else "strata"


def origins(
    runs: RunTable,
    kind: Kind | None = None,
    *,
    max_hidden: int = MAX_HIDDEN,
    min_kept: int = MIN_KEPT,
) -> list[Origin]:
    """Hide the largest 1, 2, ... budgets or strata, as long as enough remain.

    Parameters
    ----------
    runs : RunTable
        Completed runs of positive loss.
    kind : {"budgets", "strata"}, optional
        What is hidden; None for what `design_of` says.

    Returns
    -------
    list of Origin
        Without those whose hidden budgets show no optimum; empty with `min_kept` budgets or fewer.
    """
    kind = design_of(runs) if kind is None else kind
    groups, found = _groups(runs, kind, min_kept)
    C = [float(np.exp(np.log(runs.C[rows]).mean())) for rows in groups]
    splits = []
    for n_hidden in range(1, min(max_hidden, len(groups) - min_kept) + 1):
        n_kept = len(groups) - n_hidden
        hidden = tuple(item for item in found[n_kept:] if item is not None)
        if not hidden:
            continue
        kept = np.zeros(len(runs), dtype=bool)
        kept[np.concatenate(groups[:n_kept])] = True
        if kind == "budgets":
            # Runs between the budgets, too, but none beyond what is known
            kept = runs.C <= C[n_kept - 1] * MAX_SPAN
        largest = float(runs.C[kept].max())
        splits.append(Origin(kept=kept, largest=largest, n_hidden=n_hidden, hidden=hidden))
    return splits


def _groups(
    runs: RunTable, kind: Kind, min_kept: int
) -> tuple[list[NDArray[np.intp]], Sequence[Found | None]]:
    """Return the rows of each budget or stratum, ascending in C, and what was found there."""
    if kind == "strata":
        strata = strata_of(runs.C)
        # Two surfaces are searched for: not in vain
        return strata, found_in_strata(runs, strata) if len(strata) > min_kept else []
    found = found_at_budgets(runs)
    rows = [np.flatnonzero((runs.budget == budget) & runs.profiled) for budget in found]
    return rows, list(found.values())
