"""The minimum of a sum of Huber losses along straight lines, exactly, for many lines at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lowest_huber_point(
    residual: Array,
    slope: Array,
    weights: Array,
    delta: float,
    longest: float,
    bend: Array,
) -> Array:
    """Return where sum of weights huber(residual + t slope) + bend t^2 / 2 is lowest.

    The sum is quadratic between the t at which a residual enters or leaves the band of +-delta.
    Sorted, these kinks give its derivative everywhere by cumulative sums, and its first zero by
    interpolation within one piece.

    Parameters
    ----------
    residual, slope, weights : ndarray, shape (n_rows, n_runs)
    bend : ndarray, shape (n_rows,)

    Returns
    -------
    ndarray, shape (n_rows,)
        The first minimum within [0, longest].
    """
    n_rows, n_runs = slope.shape
    moving = slope != 0
    inverse = 1 / np.where(moving, slope, 1.0)
    middle, half = -residual * inverse, delta * np.abs(inverse)
    curvature = np.where(moving, weights * slope * slope, 0.0)
    kinks = np.empty((n_rows, 2 * n_runs + 1))
    change = np.empty_like(kinks)
    np.subtract(middle, half, out=kinks[:, 1 : n_runs + 1])
    np.add(middle, half, out=kinks[:, n_runs + 1 :])
    change[:, 1 : n_runs + 1], change[:, n_runs + 1 :] = curvature, -curvature
    # What happened before t = 0 is the state at 0
    kinks[:, 0], change[:, 0] = 0.0, 0.0
    np.clip(kinks, 0.0, longest, out=kinks)
    order = np.argsort(kinks, axis=-1)
    kinks = np.take_along_axis(kinks, order, axis=-1)
    curvature = np.cumsum(np.take_along_axis(change, order, axis=-1), axis=-1)
    start = (weights * np.clip(residual, -delta, delta) * slope).sum(-1, keepdims=True)
    # Rounding of the cumulative sum must not turn a flat piece into a hill
    rise = np.maximum(curvature[:, :-1], 0.0) * np.diff(kinks, axis=-1)
    derivative = np.concatenate([start, start + np.cumsum(rise, axis=-1)], axis=-1)
    derivative += bend[:, np.newaxis] * kinks
    end = np.argmax(derivative >= 0, axis=-1)
    rows = np.arange(n_rows)
    right, left = derivative[rows, end], derivative[rows, np.maximum(end - 1, 0)]
    share = np.where(right > left, -left / np.where(right > left, right - left, 1.0), 1.0)
    found = kinks[rows, np.maximum(end - 1, 0)]
    found = found + share * (kinks[rows, end] - found)
    # No zero before the end: downhill all the way; none after the start: uphill at once
    found = np.where((derivative < 0).all(-1), longest, found)
    return np.where(start[:, 0] >= 0, 0.0, found)
