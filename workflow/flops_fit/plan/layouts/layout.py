"""The result of laying out a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A size trained for a number of steps, with one run per learning rate and seed."""

    budget: float  # FLOPs
    size: float
    steps: int
    batch: int  # units per step over all processes

    @property
    def D(self) -> int:
        """Units of the training, exact."""
        return self.steps * self.batch


class Cause(Enum):
    """Why a layout leaves out a size."""

    TOO_FEW_STEPS = "too few steps"
    UNITS_PER_PARAM = "D/N outside of the range"
    MISSES_BUDGET = "whole steps miss the budget"
    REPEATS_DATA = "more epochs than are wanted"
    NOT_NEEDED = "more sizes than are wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A size that is left out at a budget, and why."""

    budget: float
    size: float
    cause: Cause
    reason: str  # the cause with its numbers, for reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The cells of a sweep in plan order, and what was left out."""

    cells: tuple[Cell, ...]
    dropped: tuple[Dropped, ...]
