"""Which sizes of a budget are trained: spread around the optimum, within six times it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.history import Cell
from flops_fit.design.offer import Offer
from flops_fit.design.standing import MAX_SEEDS, MIN_SIZES, Standing

Array = NDArray[np.float64]

WIDTH = float(np.log(6.0))
"""e-folds of N from the optimum within which experiments lie: points at 0.16 to 0.3 and at 4 to 6
times N_opt tell most; within a factor 4 errors of N_opt were 1.25 times as large."""

NEAR = WIDTH + 0.3
"""e-folds of N from the optimum within which trained sizes count: the optimum moves a little with
each round."""

OFFSETS = np.linspace(-WIDTH, WIDTH, 9)
"""Places of a budget's candidates around its optimum: with all sizes, 10% apart, the greedy choice
would crowd them where two runs of one size are not allowed to be."""

FEW, INWARD = 3, 0.75
"""So few sizes of a budget go not to the ends of the width, but to this share of it."""

OUTWARD = 0.01
"""Of the distance from the optimum, by which the nearer of two equally good sizes is preferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One budget's sizes, around its optimum.

    Parameters
    ----------
    offer : Offer
    standing : Standing
    budget : float
    centre : float
        log N_opt there, as far as it is known.
    """

    offer: Offer
    standing: Standing
    budget: float
    centre: float

    def n_near(self) -> int:
        """Return how many distinct sizes near the optimum have a loss."""
        return int((np.abs(self._trained() - self.centre) <= NEAR).sum())

    def new_sizes(self, wanted: int) -> tuple[Cell, ...]:
        """Return cells of sizes that have not been trained here, until `wanted` are near.

        They fill the gaps between the trained ones. Where sizes are coarse there may be fewer
        within the width; a budget below four sizes then takes the nearest ones outside.
        """
        trained = self._trained()
        near = trained[np.abs(trained - self.centre) <= NEAR]
        missing = max(wanted - near.size, 0)
        # Of two sizes and one that is off the optimum, or of runs that the user brought along
        if trained.size + missing == MIN_SIZES - 1:
            missing += 1
        if not missing:
            return ()
        free, log_N = self._free()
        inside = free[np.abs(log_N - self.centre) <= WIDTH + 1e-9]
        chosen = self._spread(inside, near, missing)
        short = min(missing - len(chosen), MIN_SIZES - trained.size - len(chosen))
        if short > 0:
            outside = np.setdiff1d(free, inside)
            distance = np.abs(self._log_N(outside) - self.centre)
            chosen += outside[np.argsort(distance, kind="stable")][:short].tolist()
        return tuple(self._cell(i) for i in sorted(chosen))

    def moved(self, centre: float) -> Place:
        """Return the same budget around another log N."""
        return replace(self, centre=centre)

    def candidates(self, taken: Sequence[Cell]) -> tuple[tuple[Cell, int], ...]:
        """Return the sizes nearest to nine places, with how often each may still be trained.

        `taken` are cells that are chosen, but not trained.
        """
        cells = self.standing.cells[self.budget]
        log_N = self._log_N(np.arange(cells.index.size))
        gap = float(np.diff(OFFSETS)[0]) / 2
        chosen = {int(np.argmin(np.abs(log_N - self.centre - by))) for by in OFFSETS}
        # Beyond the offered sizes the nearest one is too far from its place
        inside = [i for i in sorted(chosen) if abs(log_N[i] - self.centre) <= WIDTH + gap]
        found = []
        for i in inside:
            seeds = self._seeds(int(cells.index[i]))
            seeds += sum(cell == self._cell(i) for cell in taken)
            if seeds < MAX_SEEDS and cells.index[i] not in self._failed():
                found.append((self._cell(i, seeds), MAX_SEEDS - seeds))
        return tuple(found)

    def _spread(self, free: NDArray[np.intp], near: Array, n: int) -> list[int]:
        """Return n of the free sizes: evenly, or in the gaps where sizes are trained already."""
        remaining, chosen = free.tolist(), []
        width = WIDTH * (INWARD if n <= FEW else 1.0)
        places = self.centre + (np.linspace(-width, width, n) if n > 1 else np.zeros(1))
        for place in places:
            if not remaining:
                break
            log_N = self._log_N(np.array(remaining))
            if near.size:
                taken = np.concatenate([near, self._log_N(np.array(chosen, dtype=int))])
                gaps = np.abs(log_N[:, np.newaxis] - taken).min(axis=1)
                best = int(np.argmax(gaps - OUTWARD * np.abs(log_N - self.centre)))
            else:
                best = int(np.argmin(np.abs(log_N - place)))
            chosen.append(remaining.pop(best))
        return chosen

    def _log_N(self, i: NDArray[np.intp]) -> Array:
        return np.log(self.offer.N[self.standing.cells[self.budget].index[i]])

    def _trained(self) -> Array:
        return np.log(sorted({run.cell.N for run in self.standing.at(self.budget)}))

    def _failed(self) -> set[int]:
        return self.standing.failed_sizes(self.budget)

    def _seeds(self, size_index: int) -> int:
        return sum(run.cell.size_index == size_index for run in self.standing.at(self.budget))

    def _free(self) -> tuple[NDArray[np.intp], Array]:
        """Return the feasible sizes that have neither a loss nor failed here, and their log N."""
        index = self.standing.cells[self.budget].index
        trained = np.exp(self._trained())
        taken = np.isin(index, list(self._failed())) | np.array(
            [bool(np.any(np.abs(trained / N - 1) < 1e-9)) for N in self.offer.N[index]], dtype=bool
        )
        free = np.flatnonzero(~taken)
        return free, self._log_N(free)

    def _cell(self, i: int, seed: int = 0) -> Cell:
        cells = self.standing.cells[self.budget]
        index = int(cells.index[i])
        return Cell(
            budget=self.budget,
            size_index=index,
            N=float(self.offer.N[index]),
            D=float(cells.D[i]),
            C=float(cells.C[i]),
            seed=seed,
        )
