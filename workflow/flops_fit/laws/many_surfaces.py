"""Surfaces of many resamples at once, started from the solution and from its rivals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.newton import minimise_rows
from flops_fit.laws.objectives import HuberLog, Objective, SquaredLoss
from flops_fit.laws.projection import projected_grid, valleys
from flops_fit.laws.surface import Surface
from flops_fit.laws.table import RunTable
from flops_fit.laws.terms import SurfaceData

Array = NDArray[np.float64]

ROUGH_ITERATIONS = 25
"""Of objectives that only give a start."""

ROUNDER = 10.0
"""A Huber loss of ten times the delta has fewer local minima, near the same place."""

N_RIVALS = 1
"""Further valleys of the data's own objective from which every resample is fitted as well."""


def resampled_surfaces(
    surface: Surface,
    runs: RunTable,
    counts: Array,
    objective: Objective,
    *,
    tied: bool = False,
) -> Array:
    """Return the surface of each resample, rows of log A, log B, log E, alpha, beta.

    Every resample is fitted from the solution, and, a Huber loss, from where the same resample's
    squares and then a rounder Huber loss are lowest, which no local minimum of the sharp one can
    hold, or, squares, from the solution's rivals; the lower objective wins.

    Parameters
    ----------
    surface : Surface
        The solution for all runs.
    counts : ndarray, shape (n_rows, n_runs)
        How often each resample holds each run.
    """
    data = SurfaceData.of(runs.N, runs.D, runs.L, counts)
    solution = np.maximum(
        data.centred(surface.to_row()[np.newaxis]), [data.lowest_log] * 3 + [-np.inf] * 2
    )
    starts = [np.repeat(solution, len(counts), axis=0)]
    if isinstance(objective, HuberLog):
        squares, _ = minimise_rows(
            starts[0], data, SquaredLoss(), tied=tied, max_iterations=ROUGH_ITERATIONS
        )
        rounder = HuberLog(ROUNDER * objective.delta)
        starts.append(
            minimise_rows(squares, data, rounder, tied=tied, max_iterations=ROUGH_ITERATIONS)[0]
        )
    else:
        whole = SurfaceData.of(runs.N, runs.D, runs.L)
        grid = valleys(*projected_grid(whole, whole.weights, tied=tied), 1 + N_RIVALS)
        starts += [np.repeat(row[np.newaxis], len(counts), axis=0) for row in grid[1:]]
    again = SurfaceData.of(runs.N, runs.D, runs.L, np.concatenate([counts] * len(starts)))
    found, values = minimise_rows(np.concatenate(starts), again, objective, tied=tied)
    shape = (len(starts), len(counts))
    winner = np.argmin(values.reshape(shape), axis=0)
    return data.uncentred(found.reshape(*shape, 5)[winner, np.arange(len(counts))])
