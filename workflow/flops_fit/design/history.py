"""What was chosen, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["pilot", "inform", "next budget", "top budget", "fill", "replace", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One experiment of a design.

    Parameters
    ----------
    budget : float
        FLOPs, one of the question's budgets.
    size_index : int
        Of the offer; -1 for a run that the user brings along of a size that is not in it.
    N, D, C : float
        Parameters without embeddings, units, and FLOPs really spent.
    seed : int
        0 or 1: the first or the second run of this size at this budget.
    """

    budget: float
    size_index: int
    N: float
    D: float
    C: float
    seed: int = 0

    def again(self, times: int) -> Cell:
        """Return the same cell with a later seed."""
        return replace(self, seed=self.seed + times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A cell that is to be trained, with what the runs so far say of it.

    Parameters
    ----------
    cell : Cell
    why : str
        A few words.
    log_L, log_L_std : float or None
        Predicted natural log of the loss, and its standard deviation with the noise of a run; None
        in the pilot.
    """

    cell: Cell
    why: str
    log_L: float | None = None
    log_L_std: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Experiments that are trained together.

    Parameters
    ----------
    number : int
        From 0.
    kind : Kind
        "done" has no choices.
    choices : tuple of Choice
    why : str
        A sentence.
    checks : mapping of str to float or None
        `lack_of_fit_p`, `chi2_p` (of the former round's predictions; None where there is none),
        `spent` and `left` (FLOPs before this round), `top` (the largest budget).
    """

    number: int
    kind: Kind
    choices: tuple[Choice, ...]
    why: str
    checks: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A cell's outcome: its loss in nats per unit, or None if it failed or diverged."""

    cell: Cell
    L: float | None
