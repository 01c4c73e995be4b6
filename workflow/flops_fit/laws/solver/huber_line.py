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
    residual, weights : ndarray, shapes that broadcast to that of `slope`
    slope : ndarray, shape (..., n_runs)
    bend : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        The first minimum within [0, longest].
    """
    shape, n_runs = slope.shape[:-1], slope.shape[-1]
    moving = slope != 0
    inverse = 1 / np.where(moving, slope, 1.0)
    middle, half = -residual * inverse, delta * np.abs(inverse)
    curvature = np.where(moving, weights * slope * slope, 0.0)
    kinks = np.empty((*shape, 2 * n_runs + 1))
    change = np.empty_like(kinks)
    np.subtract(middle, half, out=kinks[..., 1 : n_runs + 1])
    np.add(middle, half, out=kinks[..., n_runs + 1 :])
    change[..., 1 : n_runs + 1] = curvature
    np.negative(curvature, out=change[..., n_runs + 1 :])
    # What happened before t = 0 is the state at 0
    kinks[..., 0], change[..., 0] = 0.0, 0.0
    np.clip(kinks, 0.0, longest, out=kinks)
    order = np.argsort(kinks, axis=-1)
    kinks = np.take_along_axis(kinks, order, axis=-1)
    curvature = np.cumsum(np.take_along_axis(change, order, axis=-1), axis=-1)
    start = (weights * np.clip(residual, -delta, delta) * slope).sum(-1, keepdims=True)
    # Rounding of the cumulative sum must not turn a flat piece into a hill
    rise = np.maximum(curvature[..., :-1], 0.0) * np.diff(kinks, axis=-1)
    derivative = np.concatenate([start, start + np.cumsum(rise, axis=-1)], axis=-1)
    derivative += bend[..., np.newaxis] * kinks
    end = np.argmax(derivative >= 0, axis=-1)[..., np.newaxis]
    before = np.maximum(end - 1, 0)
    left, right = (np.take_along_axis(derivative, at, -1)[..., 0] for at in (before, end))
    low, high = (np.take_along_axis(kinks, at, -1)[..., 0] for at in (before, end))
    share = np.where(right > left, -left / np.where(right > left, right - left, 1.0), 1.0)
    found = low + share * (high - low)
    # No zero before the end: downhill all the way; none after the start: uphill at once
    found = np.where(derivative.max(-1) < 0, longest, found)
    return np.where(start[..., 0] >= 0, 0.0, found)
