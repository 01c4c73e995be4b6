"""Fits the surfaces of many resamples at once, starting from the solution and its rivals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.solver.bracket import GAMMA
from flops_fit.laws.solver.newton import minimise_rows
from flops_fit.laws.solver.objectives import HuberLog, Objective, SquaredLoss
from flops_fit.laws.solver.projection import projected_grid, valleys
from flops_fit.laws.solver.search import E_COLUMN, with_gamma
from flops_fit.laws.solver.terms import SurfaceData, expand, jacobian, log_losses

Array = NDArray[np.float64]

ROUGH_ITERATIONS = 25
"""Iterations for objectives that only provide a start."""

ROUNDER = 10.0
"""A Huber loss of ten times the delta has fewer local minima, near the same place."""

N_RIVALS = 1
"""Further valleys of the original objective from which every resample is fitted as well."""


MAX_REFITTED = 20_000
"""Runs up to which every resample is fitted to convergence; beyond, one step is as good."""


def resampled_surfaces(
    surface: Surface,
    runs: RunTable,
    counts: Array,
    objective: Objective,
    *,
    tied: bool = False,
    pinned: bool = False,
    scale: Array | None = None,
) -> Array:
    """Return the surface of each resample, rows of its `columns`.

    Every resample is fitted from the solution and from further starts; the lowest objective wins.
    For a Huber loss, the other start is the minimum of the resample's squares, refined with a
    rounder Huber loss, so that local minima of the sharp loss cannot trap it. For squares, the
    other starts are the solution's rivals. With more than `MAX_REFITTED` runs, a resample takes a
    single Newton step from the solution instead.

    Parameters
    ----------
    surface : Surface
        The solution for all runs.
    counts : ndarray, shape (n_rows, n_runs)
        How often each resample holds each run.
    pinned : bool
        Keep the E of the solution.
    scale : ndarray, shape (n_runs,), optional
        Of the noise of each run, which the solution was fitted with.
    """
    each = np.ones(len(runs)) if scale is None else scale**-2
    if scale is not None:
        counts, objective = counts * each, objective.scaled(scale)
    data = SurfaceData.of(runs.N, runs.D, runs.L, counts)
    solution = data.centred(surface.to_row()[np.newaxis])
    solution[:, :3] = np.maximum(solution[:, :3], data.lowest_log)
    if len(runs) > MAX_REFITTED:
        return data.uncentred(
            _single_steps(solution, data, objective, each, tied=tied, pinned=pinned)
        )
    frozen = (E_COLUMN,) if pinned else ()
    starts = [np.repeat(solution, len(counts), axis=0)]
    if isinstance(objective, HuberLog):
        rough = {"tied": tied, "frozen": frozen, "max_iterations": ROUGH_ITERATIONS}
        squares, _ = minimise_rows(starts[0], data, SquaredLoss(), **rough)
        rounder = HuberLog(ROUNDER * objective.delta)
        starts.append(minimise_rows(squares, data, rounder, **rough)[0])
    else:
        whole = SurfaceData.of(runs.N, runs.D, runs.L, each)
        E = surface.E if pinned else None
        grid = valleys(*projected_grid(whole, whole.weights, tied=tied, E=E), 1 + N_RIVALS)
        if len(surface.columns) > GAMMA:
            grid = with_gamma(grid, surface.gamma)
        starts += [np.repeat(row[np.newaxis], len(counts), axis=0) for row in grid[1:]]
    again = SurfaceData.of(runs.N, runs.D, runs.L, np.concatenate([counts] * len(starts)))
    found, values = minimise_rows(
        np.concatenate(starts), again, objective, tied=tied, frozen=frozen
    )
    shape = (len(starts), len(counts))
    winner = np.argmin(values.reshape(shape), axis=0)
    return data.uncentred(found.reshape(*shape, -1)[winner, np.arange(len(counts))])


def _single_steps(
    solution: Array,
    data: SurfaceData,
    objective: Objective,
    each: Array,
    *,
    tied: bool,
    pinned: bool,
) -> Array:
    """Return solution - H^-1 g for every row of weights, with the Hessian H of all runs.

    A full refit differs by the order of 1/n_runs, against a scatter of 1/sqrt(n_runs). The mean
    curvature of a Huber loss is delta times the density of the residuals at 0, times two: it is
    read off a band wide enough to hold many residuals (Scott's rule, n^-1/5 of their scale).
    """
    whole = replace(data, weights=each)
    f = log_losses(solution, whole)
    first = objective.derivatives(f, data.L)[0]
    gradients = data.weights @ (first[0, :, np.newaxis] * jacobian(solution, whole)[0])
    scale = 1.0
    if isinstance(objective, HuberLog):
        residual = np.abs(f[0] - np.log(data.L))
        own = objective.delta / np.median(objective.delta)
        band = 1.4826 * float(np.median(residual / own)) * data.x.size**-0.2
        wide = own * max(float(np.median(objective.delta)), band)
        objective, scale = HuberLog(wide), float(np.median(objective.delta / wide))
    hessian = scale * expand(solution, whole, objective).hessian[0]
    free = solution[0, :3] > data.lowest_log + 1e-9
    free[E_COLUMN] &= not pinned
    free = np.concatenate([free, free[:2], np.ones(solution.shape[1] - 5, dtype=bool)])
    if tied:
        gradients[:, 3] += gradients[:, 4]
        hessian[3] += hessian[4]
        hessian[:, 3] += hessian[:, 4]
        free[4] = False
    rows = np.repeat(solution, len(gradients), axis=0)
    own = np.flatnonzero(free)
    rows[:, own] -= np.linalg.solve(hessian[np.ix_(own, own)], gradients[:, own].T).T
    if tied:
        rows[:, 4] = rows[:, 3]
    return rows
