"""Roots and minima of many functions at once, one of each draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Functions = Callable[[Array], Array]
"""One function of each draw: from x, shape (n,) or (n_draws, n), to values (n_draws, n)."""

REACH = (0.0, float(np.log(1e30)))
"""Natural logs of the compute between which a size, or a loss, is looked for, FLOPs."""

GRID = np.linspace(*REACH, 71)
"""Less than a factor e apart: a path turns more slowly than that."""

TOLERANCE = 1e-13
"""Of a root, relative to the range that is searched."""

MAX_STEPS = 100
"""A root is found in 5 to 15 steps, and by halving alone in fewer than these."""

GOLDEN = (np.sqrt(5) - 1) / 2
N_GOLDEN = 45
"""Steps that narrow an interval of two grid cells by 4e-10: the square root of rounding errors is
where a minimum cannot be told from its neighbours."""


def first_rise(f: Functions, near: float, grid: Array = GRID) -> Array:
    """Return for each draw where `f` rises through 0, nearest to `near`.

    Parameters
    ----------
    f : callable
        From x, shape (n_grid,) or (n_draws, 1), to (n_draws, n_grid) or (n_draws, 1).
    near : float
    grid : ndarray, shape (n_grid,)
        Ascending; between two neighbours a rise is not missed as long as f is monotone there.

    Returns
    -------
    ndarray, shape (n_draws,)
        Infinity if f stays below 0 around `near` and never rises through it, minus infinity if it
        stays above; NaN where f is NaN.
    """
    values = f(grid)
    below, above = values[:, :-1] < 0, values[:, 1:] >= 0
    rises = below & above
    middle = (grid[:-1] + grid[1:]) / 2
    cell = np.argmin(np.where(rises, np.abs(middle - near), np.inf), axis=1)
    here = values[:, np.argmin(np.abs(grid - near))]
    found = np.where(here < 0, np.inf, -np.inf)
    found[np.isnan(here)] = np.nan
    there = np.flatnonzero(rises.any(axis=1))
    if not there.size:
        return found
    rows = np.arange(len(values))
    ends = (grid[cell][:, np.newaxis], grid[cell + 1][:, np.newaxis])
    heights = (values[rows, cell][:, np.newaxis], values[rows, cell + 1][:, np.newaxis])
    found[there] = roots(f, ends, heights)[there, 0]
    return found


def roots(f: Functions, ends: tuple[Array, Array], heights: tuple[Array, Array]) -> Array:
    """Return a root of each function between its two ends, where the signs of f differ.

    Chandrupatla's method (Advances in Engineering Software 28, 1997, 145-149): inverse quadratic
    interpolation where that is safe, otherwise halving.

    Parameters
    ----------
    ends, heights : pairs of ndarray, shape (n_draws, n)
        x, and f there. Where the signs do not differ, what is returned means nothing.
    """
    a, b = (np.array(x, dtype=float) for x in ends)
    fa, fb = (np.array(x, dtype=float) for x in heights)
    c, fc = a.copy(), fa.copy()
    share = np.full_like(a, 0.5)
    width = np.abs(b - a)
    for _ in range(MAX_STEPS):
        x = a + share * (b - a)
        fx = f(x)
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        near = TOLERANCE * width / np.maximum(np.abs(b - a), 1e-300)
        if np.all((near > 0.5) | (fa == 0) | (np.sign(fa) == np.sign(fb)) | np.isnan(fa)):
            break
        share = _next_share(a, b, c, fa, fb, fc, np.minimum(near, 0.5))
    return best


def _next_share(
    a: Array, b: Array, c: Array, fa: Array, fb: Array, fc: Array, near: Array
) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        inverse = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (
            fc - fb
        )
    share = np.where(safe & np.isfinite(inverse), inverse, 0.5)
    return np.clip(share, near, 1 - near)


def minima(f: Functions, grid: Array) -> Array:
    """Return where each function is lowest: the best cell of a grid, then golden sections.

    Parameters
    ----------
    f : callable
        Infinity where it is not defined.
    grid : ndarray, shape (n_draws, n_grid)
        Ascending along its last axis.

    Returns
    -------
    ndarray, shape (n_draws, 1)
    """
    values = f(grid)
    lowest = np.argmin(np.where(np.isnan(values), np.inf, values), axis=1)[:, np.newaxis]
    last = grid.shape[1] - 1
    low = np.take_along_axis(grid, np.maximum(lowest - 1, 0), axis=1)
    high = np.take_along_axis(grid, np.minimum(lowest + 1, last), axis=1)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    f_left, f_right = f(left), f(right)
    for _ in range(N_GOLDEN):
        lower = f_left < f_right
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        x = np.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        fx = f(x)
        left, right = np.where(lower, x, right), np.where(lower, left, x)
        f_left, f_right = np.where(lower, fx, f_right), np.where(lower, f_left, fx)
    return (low + high) / 2
