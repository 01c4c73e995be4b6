"""Checkpoints of one training that a table holds as if they were runs: found by shared errors."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.table import RunTable
from flops_fit.laws.judgement.judgement import Judgement, judge

Array = NDArray[np.float64]

MIN_SERIES = 6
"""Fewer series tell too little of how their errors differ."""

MIN_LENGTH = 4
"""D of a series: fewer have no course along D."""

MIN_SHARE = 0.8
"""Of the rows in such series; otherwise the table is something else."""

MIN_CORRELATION = 0.5
"""Along D; errors that are shared by less hardly change an interval."""

MIN_Z = 4.0
"""By how many standard errors neighbours along D must agree better than those along N: below one
false alarm in ten thousand tables."""

MAX_DEVIATION = 4.0
"""Times the median deviation, about 2.7 standard deviations."""

TINY = 1e-9
"""Below this, relative to the logs of losses, differences are rounding."""

MAX_STEP = 0.35
"""Of log D, within which runs of two N count as runs of one D."""


def with_suspected_trunks(table: RunTable) -> tuple[RunTable, list[Judgement]]:
    """Return the table with the trainings that its rows seem to be checkpoints of.

    A series are rows of one N, size, learning rate and seed at four or more D. Rows of independent
    trainings deviate from a smooth surface each by itself. Where a surface misses the losses, they
    deviate alike from neighbours along D and along N. Checkpoints share their deviation along D
    alone. Tables that name trunks are left as they are.
    """
    # Whoever names trunks knows, even if each run has its own
    if (table.trunk != table.id).any():
        return table, []
    series = _series(table)
    rows = np.flatnonzero(series >= 0)
    if not rows.size or rows.size < MIN_SHARE * len(table):
        return table, []
    own, log_N, log_D = series[rows], np.log(table.N[rows]), np.log(table.D[rows])
    error = _deviations(log_N, log_D, table.L[rows])
    along_D, along_N = _neighbours(own, log_N, log_D)
    if not error.any() or len(along_N) < MIN_SERIES:
        return table, []
    r_D, r_N = (_correlation(error, pairs) for pairs in (along_D, along_N))
    std_err = np.sqrt(1 / len(along_D) + 1 / len(along_N))
    if r_D < MIN_CORRELATION or r_D - max(r_N, 0.0) < MIN_Z * std_err:
        return table, []
    trunk = table.trunk.copy()
    first = np.unique(own, return_index=True)[1]
    trunk[rows] = table.id[rows][first][own]
    found = judge(
        "checkpoints_as_runs", n=rows.size, trainings=first.size, along_D=r_D, along_N=r_N
    )
    return replace(table, trunk=trunk), [found]


def _series(table: RunTable) -> NDArray[np.intp]:
    """Return the number of each row's series, shape (n_rows,), -1 for rows of none."""
    rows: dict[tuple[str, ...], list[int]] = {}
    columns = (table.N, table.size, table.lr, table.seed)
    for i, key in enumerate(zip(*columns, strict=True)):
        rows.setdefault(tuple(map(str, key)), []).append(i)
    series = np.full(len(table), -1)
    long = [
        own
        for own in rows.values()
        # A training passes each D once: rows that share one are trainings of their own
        if len(own) >= MIN_LENGTH and np.unique(table.D[own]).size == len(own)
    ]
    if len(long) >= MIN_SERIES:
        for number, own in enumerate(long):
            series[own] = number
    return series


def _deviations(log_N: Array, log_D: Array, L: Array) -> Array:
    """Return what a cubic in log N and log D leaves of log L (of L, if it is negative anywhere).

    Deviations beyond `MAX_DEVIATION` are cut to it: a few spiked runs say nothing of the others.
    """
    y = np.log(L) if L.min() > 0 else L
    x, z = (2 * (v - v.mean()) / max(np.ptp(v), TINY) for v in (log_N, log_D))
    terms = np.stack([x**i * z**j for i in range(4) for j in range(4 - i)], axis=1)
    error = y - terms @ np.linalg.lstsq(terms, y, rcond=None)[0]
    most = MAX_DEVIATION * np.median(np.abs(error))
    # Losses without noise deviate by what a cubic cannot follow, down to rounding
    return np.clip(error, -most, most) if most > TINY * np.abs(y).max() else np.zeros_like(error)


def _neighbours(series: NDArray[np.intp], log_N: Array, log_D: Array) -> tuple[list, list]:
    """Return the pairs of rows that are neighbours along D in a series, and along N near one D."""
    own = [np.flatnonzero(series == number) for number in range(series.max() + 1)]
    own = [rows[np.argsort(log_D[rows])] for rows in own]
    own.sort(key=lambda rows: log_N[rows[0]])
    along_D = [pair for rows in own for pair in pairwise(rows)]
    along_N = []
    for rows, above in pairwise(own):
        step = np.abs(log_D[above] - log_D[rows, np.newaxis])
        nearest = step.argmin(axis=1)
        near = step.min(axis=1) < MAX_STEP
        along_N += list(zip(rows[near], above[nearest[near]], strict=True))
    return along_D, along_N


def _correlation(error: Array, pairs: list) -> float:
    """Return the correlation of the deviations of neighbours."""
    first, second = np.array(pairs).T
    return float((error[first] * error[second]).mean() / (error**2).mean())
