"""What is asked of a design: the target, what it may spend, and the budgets of its sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_SHARE = 0.25
"""Share of the spend that the largest run takes at most: the rest must place and check it."""

TOP_SHARE = 0.12
"""Largest budget over the spend. A design without a flaw spends 4.9 times its largest budget; one
whose checks fail fills its two largest budgets, which takes 3.3 times it in addition, and whole
steps may cost 1% more: 8.3 in all. What the checks do not need stays unspent."""

STEP = 10**0.5
"""From budget to budget: half a decade."""

LEAST_STEP = 1.5
"""From the largest kept budget to another one, at least: a smaller step tells hardly more."""

N_BUDGETS = 7
"""Budgets of a ladder: three decades, as published sweeps span."""

MIN_BUDGETS = 5
"""Fewer budgets show no lack of fit (`benchmarks/planner.py`)."""


class DesignError(ValueError):
    """No design is possible; the message is a sentence, to which callers add file and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a design is to answer.

    Parameters
    ----------
    target : float
        FLOPs at which N_opt and L_opt are wanted, above all budgets.
    spend : float
        FLOPs that all experiments together may take.
    budgets : tuple of float
        FLOPs of the sweep's budgets, ascending; `ladder(spend)` makes them.

    Raises
    ------
    DesignError
        If the target is not above the budgets, or a run takes more than a quarter of the spend.
    """

    target: float
    spend: float
    budgets: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.budgets or any(np.diff(self.budgets) <= 0):
            raise ValueError("budgets ascend")
        top = self.budgets[-1]
        if self.target <= top:
            raise DesignError(
                f"the target of {self.target:.3g} FLOPs is not above the largest budget, "
                f"{top:.3g}; ask for a larger target or spend less"
            )
        if top > MAX_SHARE * self.spend * (1 + 1e-9):
            raise DesignError(
                f"a run of {top:.3g} FLOPs is more than a quarter of the spend of "
                f"{self.spend:.3g}; lower the largest budget or spend {top / MAX_SHARE:.3g}"
            )


def ladder(spend: float, kept: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the budgets of a sweep that may spend so many FLOPs, ascending.

    Parameters
    ----------
    spend : float
    kept : sequence of float
        Budgets that were trained at before the spend was raised: they stay, and others are added
        above, half a decade apart, the last one perhaps by less. A lower spend removes none.
    """
    top = TOP_SHARE * spend
    if not len(kept):
        return tuple(float(top / STEP**i) for i in reversed(range(N_BUDGETS)))
    budgets = sorted(float(budget) for budget in kept)
    while budgets[-1] * STEP <= top * (1 + 1e-9):
        budgets.append(budgets[-1] * STEP)
    if top >= LEAST_STEP * budgets[-1]:
        budgets.append(top)
    return tuple(budgets)
