"""What can be trained: sizes, the FLOPs of a unit of data at each, and the cells of a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The feasible sizes of one budget, by ascending N.

    Parameters
    ----------
    index : ndarray of int, shape (m,)
        Which sizes of the offer.
    D : ndarray, shape (m,)
        Units that each trains on, whole steps.
    C : ndarray, shape (m,)
        FLOPs that this really takes, near the budget.
    """

    index: NDArray[np.intp]
    D: Array
    C: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The sizes that a study can train, by ascending N.

    Parameters
    ----------
    N : ndarray, shape (n,)
        Parameters without embeddings, ascending and distinct.
    flops_per_unit : ndarray, shape (n,)
        Training FLOPs of a unit of data.
    cells : callable, optional
        From a budget in FLOPs to its `Cells`: whole steps, and only what the study allows. Without
        it every size trains on exactly D = budget / flops_per_unit, as in simulations.
    """

    N: Array
    flops_per_unit: Array
    cells: Callable[[float], Cells] | None = None

    def __post_init__(self) -> None:
        if self.N.size == 0 or np.any(np.diff(self.N) <= 0) or self.N[0] <= 0:
            raise ValueError("the sizes of an offer have positive N that ascend")
        if self.flops_per_unit.shape != self.N.shape or np.any(self.flops_per_unit <= 0):
            raise ValueError("each size of an offer has positive FLOPs per unit")

    def at(self, budget: float) -> Cells:
        """Return what can be trained at a budget, in FLOPs; perhaps nothing."""
        if self.cells is not None:
            return self.cells(budget)
        return Cells(
            index=np.arange(self.N.size),
            D=budget / self.flops_per_unit,
            C=np.full(self.N.size, float(budget)),
        )

    @property
    def flops(self) -> FlopsPerUnit:
        """FLOPs per unit as a function of N, which places the optimum between the sizes."""
        return FlopsPerUnit(
            log_N=np.log(self.N),
            log_flops=np.log(self.flops_per_unit),
            k=float(np.median(self.flops_per_unit / self.N)),
        )


def sizes_apart(low: float, high: float, ratio: float = 1.1) -> Array:
    """Return N from `low` to `high`, each `ratio` times the one before, as in simulations."""
    n = int(np.floor(np.log(high / low) / np.log(ratio) + 1e-9)) + 1
    return low * ratio ** np.arange(n)


def offer_of(N: ArrayLike, k: float = 6.0) -> Offer:
    """Return the offer of sizes under C = k N D, each of which can be trained at any budget."""
    N = np.asarray(N, dtype=float)
    return Offer(N=N, flops_per_unit=k * N)
