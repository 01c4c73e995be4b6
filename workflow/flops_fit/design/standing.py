"""Where a design stands: which budgets are in use, what was trained at each, what is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.history import Cell, Round, Trained
from flops_fit.design.offer import Cells, Offer
from flops_fit.design.question import Question

Array = NDArray[np.float64]

BASELINE_SIZES = 8
"""Sizes per budget of the grid that a design is compared with."""

MIN_SIZES = 4
"""Sizes at a budget: three fit a parabola without a residual, and cost the worst error 1.3 times
(`benchmarks/planner.py`), so that a budget has two, or four and more."""

MAX_SEEDS = 2
"""Runs of one size at one budget: without a limit the worst error of L was 3.8 times as large."""

SAME_BUDGET = 0.01
"""Relative difference up to which two budgets are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has been trained so far.

    Parameters
    ----------
    budgets : tuple of float
        Those in use, ascending; others have fewer than four sizes that can be trained.
    cells : mapping of budget to Cells
        Feasible at each.
    done : tuple of Trained
        With a loss, the user's own runs first.
    failed : tuple of Cell
    left_out : tuple of float
        Budgets of which all runs failed.
    spent : float
        FLOPs of the design's own experiments, failed ones too.
    """

    budgets: tuple[float, ...]
    cells: dict[float, Cells]
    done: tuple[Trained, ...]
    failed: tuple[Cell, ...]
    left_out: tuple[float, ...]
    spent: float

    @classmethod
    def of(
        cls,
        question: Question,
        offer: Offer,
        rounds: Sequence[tuple[Round, Sequence[Trained]]],
        also: Sequence[Trained],
    ) -> Standing:
        """Count what is there."""
        own = [trained for _, results in rounds for trained in results]
        done = [trained for trained in (*also, *own) if trained.L is not None]
        failed = [trained.cell for trained in own if trained.L is None]
        cells = {budget: offer.at(budget) for budget in question.budgets}
        feasible = [b for b in question.budgets if cells[b].index.size >= MIN_SIZES]
        left_out = tuple(b for b in feasible if _is_hopeless(b, done, failed))
        budgets = tuple(b for b in feasible if b not in left_out)
        return cls(
            budgets=budgets,
            cells=cells,
            done=tuple(done),
            failed=tuple(failed),
            left_out=left_out,
            spent=float(sum(trained.cell.C for trained in own)),
        )

    def at(self, budget: float) -> tuple[Trained, ...]:
        """Return what was trained at a budget."""
        return tuple(trained for trained in self.done if is_at(trained.cell, budget))

    def largest(self) -> float:
        """Return the largest of the budgets in use that has a loss, 0 without any."""
        return max((b for b in self.budgets if self.at(b)), default=0.0)

    def n_sizes(self, budget: float) -> int:
        """Return how many distinct sizes have a loss at a budget."""
        return len({trained.cell.N for trained in self.at(budget)})

    def failed_sizes(self, budget: float) -> set[int]:
        """Return the indices of the sizes that failed at a budget: they are not tried again."""
        return {cell.size_index for cell in self.failed if is_at(cell, budget)}

    def columns(self, done: Sequence[Trained] | None = None) -> tuple[Array, Array, Array]:
        """Return log N, log D and L of what was trained, (n,) each; of all or of some of it."""
        done = self.done if done is None else done
        rows = np.array([(t.cell.N, t.cell.D, t.L) for t in done], dtype=float).reshape(-1, 3)
        return np.log(rows[:, 0]), np.log(rows[:, 1]), rows[:, 2]


def is_at(cell: Cell, budget: float) -> bool:
    """Say whether a cell belongs to a budget."""
    return abs(cell.budget / budget - 1) <= SAME_BUDGET


def _is_hopeless(budget: float, done: Sequence[Trained], failed: Sequence[Cell]) -> bool:
    """Say whether all runs of a budget failed, and they are as many as a budget needs."""
    if any(is_at(trained.cell, budget) for trained in done):
        return False
    return sum(is_at(cell, budget) for cell in failed) >= MIN_SIZES
