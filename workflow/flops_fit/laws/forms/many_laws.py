"""Power laws through many sets of optima at once, for resampling.

The same fits as `power_law`, written for rows: row i of every array is one resample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.forms.power_law import MIN_POINTS_FOR_OFFSET

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

N_SHARES = 61
N_REFINEMENTS = 45
SMALLEST_REMAINDER = 1e-9
NO_OFFSET = 1e-6


def regress_rows(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Return intercept and slope of weighted lines along the last axis; NaN without two points.

    Parameters
    ----------
    x, y, weights : ndarray, shapes that broadcast to (..., n_points)
        A weight of 0 leaves a point out, whatever its value.
    """
    used = weights > 0
    x, y = np.where(used, x, 0.0), np.where(used, y, 0.0)
    total = weights.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = (weights * x).sum(-1) / total, (weights * y).sum(-1) / total
        dx = np.where(used, x - mean_x[..., np.newaxis], 0.0)
        spread = (weights * dx**2).sum(-1)
        slope = (weights * dx * (y - mean_y[..., np.newaxis])).sum(-1) / spread
        slope = np.where(spread > 1e-12 * total, slope, np.nan)
    return mean_y - slope * mean_x, slope


def offset_rows(log_C: Array, y: Array, mask: Mask) -> tuple[Array, Array, Array]:
    """Return log coefficient, exponent and offset of y = offset + coefficient C^exponent.

    The objective and the refusals are those of `power_law.fit_power_law_with_offset`.

    Parameters
    ----------
    log_C, y : ndarray, shape (n_rows, n_points)
    mask : ndarray of bool, shape (n_rows, n_points)
        The points of each row; y is positive there.
    """
    y = np.where(mask, y, 1.0)
    lowest = np.where(mask, y, np.inf).min(-1)
    plain, slope = regress_rows(log_C, np.log(y), mask.astype(float))

    def objective(log_share: Array, rows: Array) -> Array:
        """Return the objective for shares of shape (n, k): row rows[i], k trials each."""
        own, used = y[rows, np.newaxis], mask[rows, np.newaxis]
        least = lowest[rows, np.newaxis, np.newaxis]
        excess = np.maximum(own - least, 0.0) + least * np.exp(log_share)[..., np.newaxis]
        x = log_C[rows, np.newaxis]
        log_excess = np.log(excess)
        weights = np.where(used, (excess / own) ** 2, 0.0)
        intercept, line = regress_rows(x, log_excess, weights)
        log_ratio = intercept[..., np.newaxis] + line[..., np.newaxis] * x - log_excess
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.log1p(excess / own * np.expm1(log_ratio)) ** 2
        return np.where(used, error, 0.0).sum(-1)

    n_distinct = _count_distinct(log_C, mask)
    fits = np.flatnonzero((n_distinct >= MIN_POINTS_FOR_OFFSET) & (slope < 0))
    coefficient, exponent, offset = plain.copy(), slope.copy(), np.zeros(len(y))
    if not fits.size:
        return coefficient, exponent, offset
    log_share = _search(objective, fits)
    share = np.exp(log_share)
    found = -lowest[fits] * np.expm1(log_share)
    excess = (y[fits] - lowest[fits, np.newaxis]) + (lowest[fits] * share)[:, np.newaxis]
    excess = np.where(mask[fits], excess, 1.0)
    weights = np.where(mask[fits], (excess / y[fits]) ** 2, 0.0)
    intercept, line = regress_rows(log_C[fits], np.log(excess), weights)
    keep = (found >= NO_OFFSET * lowest[fits]) & (line < 0)
    chosen = fits[keep]
    coefficient[chosen], exponent[chosen], offset[chosen] = intercept[keep], line[keep], found[keep]
    return coefficient, exponent, offset


def _search(objective, rows: NDArray[np.intp]) -> Array:
    """Return the best log share of each row: a grid, then golden sections around its minimum."""
    grid = np.linspace(np.log(SMALLEST_REMAINDER), 0.0, N_SHARES)
    values = objective(np.broadcast_to(grid, (rows.size, N_SHARES)), rows)
    best = np.nanargmin(np.where(np.isnan(values), np.inf, values), axis=-1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, N_SHARES - 1)]
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(N_REFINEMENTS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        trial = objective(np.stack([left, right], axis=-1), rows)
        in_left = trial[:, 0] <= trial[:, 1]
        low, high = np.where(in_left, low, left), np.where(in_left, right, high)
    middle = (low + high) / 2
    candidates = np.stack([middle, grid[best], np.zeros(rows.size)], axis=-1)
    final = objective(candidates, rows)
    return np.take_along_axis(candidates, np.argmin(final, -1)[:, np.newaxis], -1)[:, 0]


def _count_distinct(x: Array, mask: Mask) -> NDArray[np.intp]:
    # Points that are left out sort last, where they are no new value
    ordered = np.sort(np.where(mask, x, 1e300), axis=-1)
    new = np.diff(ordered, axis=-1, prepend=-1e300) > 0
    return (new & (ordered < 1e300)).sum(-1)
