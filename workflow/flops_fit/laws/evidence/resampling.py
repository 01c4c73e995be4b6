"""Seeded bootstrap resamples of a study, in chunks that cores share.

Chunk i draws from a generator of its own, seeded by (seed, i): the numbers are the same on one
core and on sixty-four.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.quantities import Draws

Array = NDArray[np.float64]
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number of finished blocks and of all blocks."""

Chunk = tuple[int, np.random.Generator]
"""How many resamples to draw, and what to draw them from."""

CHUNK = 100
"""Resamples that share a generator."""

BLOCK_ELEMENTS = 20_000
"""Runs times resamples processed as one array: enough to outweigh the interpreter's overhead, few
enough for the cache."""

MAX_ELEMENTS = 1_000_000
"""Most runs times resamples of a chunk: a dozen arrays of this size are alive at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How resamples are drawn."""

    n: int = 1000
    seed: int = 0
    stratify: bool = True
    workers: int | None = None

    def rows(self, runs: RunTable) -> str:
        """Say what `draw_run_counts` resamples, for a sentence."""
        trainings = runs.trainings
        if trainings is None:
            return "runs" + (" within budgets" if self.stratify else "")
        within = self.stratify and training_strata(runs, trainings) is not None
        return "whole trainings" + (" within budgets" if within else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampler:
    """How an approach draws its quantities."""

    draw: Callable[[Sequence[Chunk]], Draws]
    """Return the draws of some chunks, one after the other."""
    what: str
    """What is resampled, for a sentence."""


def bootstrap_draws(
    resampler: Resampler,
    resampling: Resampling,
    *,
    n_runs: int,
    progress: Progress | None = None,
) -> Draws:
    """Return all draws of an approach."""
    chunks = run_chunks(
        resampler.draw,
        resampling.n,
        n_runs=n_runs,
        seed=resampling.seed,
        workers=resampling.workers,
        progress=progress,
    )
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def draw_run_counts(runs: RunTable, chunks: Sequence[Chunk], resampling: Resampling) -> Array:
    """Return how often each resample of the chunks holds each run, shape (n_rows, n_runs).

    Checkpoints of one training are drawn together: what they share is no independent evidence, and
    resampled alone they give intervals that are too narrow (the cluster bootstrap; Cameron and
    Miller 2015, A practitioner's guide to cluster-robust inference, section VI).
    """
    trainings, stratify = runs.trainings, resampling.stratify
    if trainings is None:
        drawn = [draw_counts(runs.budget, *chunk, stratify=stratify) for chunk in chunks]
        return np.concatenate(drawn)
    strata = training_strata(runs, trainings) if stratify else None
    if strata is None:
        strata = np.zeros(trainings.max() + 1)
    return np.concatenate([draw_counts(strata, *chunk) for chunk in chunks])[:, trainings]


def training_strata(runs: RunTable, trainings: NDArray[np.intp]) -> Array | None:
    """Return the budget of each training, shape (n_trainings,); None if one spans several."""
    first = np.unique(trainings, return_index=True)[1]
    strata = runs.budget[first]
    return strata if np.array_equal(strata[trainings], runs.budget) else None


def draw_counts(
    strata: Array, n_rows: int, rng: np.random.Generator, *, stratify: bool = True
) -> Array:
    """Return how often each resample holds each run, shape (n_rows, n_runs).

    Parameters
    ----------
    strata : ndarray, shape (n_runs,)
        Budgets; each keeps its number of runs.
    stratify : bool
        False draws from all runs regardless of strata.
    """
    labels = np.unique(strata, return_inverse=True)[1] if stratify else np.zeros(strata.size, int)
    counts = np.zeros((n_rows, strata.size))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        counts[:, own] = rng.multinomial(own.size, np.full(own.size, 1 / own.size), size=n_rows)
    return counts


def run_chunks(
    task: Callable[[Sequence[Chunk]], Result],
    n_resamples: int,
    *,
    n_runs: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Sequence[Result]:
    """Run `task` for blocks of all chunks and return the results in order.

    Threads, not processes: array arithmetic releases the interpreter's lock, and a script that
    calls a fit needs no `if __name__ == "__main__"`.

    Parameters
    ----------
    n_runs : int
        Runs of a resample; many make the chunks smaller.
    workers : int, optional
        Threads; by default the cores that this process may use.
    """
    chunk = max(1, min(CHUNK, MAX_ELEMENTS // max(n_runs, 1)))
    sizes = [min(chunk, n_resamples - start) for start in range(0, n_resamples, chunk)]
    chunks = [(size, np.random.default_rng([seed, i])) for i, size in enumerate(sizes)]
    # The same blocks on any number of cores: sums of more rows may round otherwise
    per_block = max(1, BLOCK_ELEMENTS // (max(n_runs, 1) * chunk))
    blocks = [chunks[start : start + per_block] for start in range(0, len(chunks), per_block)]
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    results = []
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for result in pool.map(task, blocks):
            results.append(result)
            if progress is not None:
                progress(len(results), len(blocks))
    return results
