"""Power laws y = offset + coefficient * C^exponent, fitted in logs.

Each fit is written for many rows: row i of every array is one resample. A single fit is one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_POINTS_FOR_OFFSET = 4
"""Three points determine three parameters: such a fit interpolates and nothing tests it."""

SMALLEST_REMAINDER = 1e-9
"""The offset is searched up to (1 - this) * min(y): closer, y - offset is rounding noise."""

NO_OFFSET = 1e-6
"""An offset below this share of min(y) is a zero that the search missed by its tolerance."""

N_SHARES = 61
"""Shares 1 - offset / min(y) that are tried first, in steps of 41%: for 600 simulated laws with 0
to 20% noise, no finer grid (801 shares) led to a lower objective."""

N_REFINEMENTS = 40
"""Golden sections: they narrow two steps of the grid to 3e-9, the square root of rounding."""

SAME_LOG_C = 1e-12
"""Standard deviation of log C below which all C are the same but for rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetNote:
    """Why an offset is not well determined, as the code of a judgement."""

    code: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """The law y = offset + coefficient * C^exponent.

    Parameters
    ----------
    coefficient, exponent, offset : float
        `coefficient` and `offset` have the unit of y, with C in FLOPs.
    r_squared : float or None
        Coefficient of determination of log(y - offset) against log C; None if all y are equal, so
        that there is nothing to explain.
    """

    coefficient: float
    exponent: float
    offset: float = 0.0
    r_squared: float | None = None

    def predict(self, C: ArrayLike) -> NDArray[np.float64]:
        """Return y at compute `C` (FLOPs, any shape); infinity where it leaves the floats."""
        # In logs, because C^exponent alone may leave the range of floats where the product does not
        log_C = np.log(np.asarray(C, dtype=float))
        with np.errstate(over="ignore"):
            return self.offset + np.exp(np.log(self.coefficient) + self.exponent * log_C)


def fit_power_law(C: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Fit y = coefficient * C^exponent by ordinary least squares of log y on log C.

    Parameters
    ----------
    C : array_like, shape (n,)
        Compute, FLOPs; at least two distinct values.
    y : array_like, shape (n,)
        What the law describes; positive.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite and positive, fewer than two C are distinct, or
        the coefficient leaves the range of floats.
    """
    log_C, y = _checked(C, y)
    return _law(log_C, y, log_share=0.0)


def fit_power_law_with_offset(C: ArrayLike, y: ArrayLike) -> tuple[PowerLaw, OffsetNote | None]:
    """Fit y = offset + coefficient * C^exponent with offset >= 0 and exponent < 0.

    Variable projection (Golub and Pereyra 1973, SIAM J. Numer. Anal. 10): given the offset, the
    other two parameters follow from a regression of log(y - offset) on log C, so that the search
    has one dimension. It minimises the sum of (log y - log yhat)^2. The regression weighs each
    point by ((y - offset) / y)^2, since an error dy is dy/(y - offset) in the regression and dy/y
    in the objective; unweighted, the points closest to the offset would rule the regression.

    Parameters
    ----------
    C : array_like, shape (n,)
        Compute, FLOPs; at least two distinct values, and four to fit an offset.
    y : array_like, shape (n,)
        What the law describes; positive.

    Returns
    -------
    law : PowerLaw
        With offset 0, hence the law of `fit_power_law`, where a note says so.
    note : OffsetNote or None
        Too few points, y that does not fall with C, or an offset on a bound.

    Raises
    ------
    ValueError
        As `fit_power_law`.
    """
    log_C, y = _checked(C, y)
    log_share, code = _offset_shares(*(row[np.newaxis] for row in (log_C, y, y > 0)))
    law = _law(log_C, y, log_share=float(log_share[0]))
    if not code[0]:
        return law, None
    values = {
        "offset_few_budgets": {"n": np.unique(log_C).size, "needed": MIN_POINTS_FOR_OFFSET},
        "offset_without_fall": {"exponent": law.exponent},
        "offset_at_lowest": {"offset": law.offset},
    }
    return law, OffsetNote(code=code[0], values=values.get(code[0], {}))


def fit_power_law_above(C: ArrayLike, y: ArrayLike, offset: float) -> PowerLaw:
    """Fit y = offset + coefficient * C^exponent with a given offset.

    The objective is that of `fit_power_law_with_offset`, to first order in the errors.

    Raises
    ------
    ValueError
        As `fit_power_law`, or if a y is not above the offset.
    """
    log_C, y = _checked(C, y)
    if y.min() <= offset:
        raise ValueError(f"The offset {offset:.4g} is not below the lowest value {y.min():.4g}.")
    law = _law(log_C, y, log_share=float(np.log1p(-offset / y.min())))
    return replace(law, offset=float(offset))


def regress_rows(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Return intercept and slope of weighted straight lines along the last axis.

    Parameters
    ----------
    x, y, weights : ndarray, shapes that broadcast to (..., n_points)
        A weight of 0 leaves a point out, whatever its value.

    Returns
    -------
    intercept, slope : ndarray, shape (...)
        NaN where the points that count do not have two distinct x.
    """
    slope, mean_x, mean_y = _lines(x, y, weights)
    return mean_y - slope * mean_x, slope


def offset_rows(
    log_C: Array, y: Array, mask: Mask, *, offset: float | None = None
) -> tuple[Array, Array, Array]:
    """Return log coefficient, exponent and offset of y = offset + coefficient C^exponent.

    Each row is fitted as `fit_power_law_with_offset` fits one, or as `fit_power_law_above` does
    where the offset is given.

    Parameters
    ----------
    log_C, y : ndarray, shape (n_rows, n_points)
    mask : ndarray of bool, shape (n_rows, n_points)
        The points of each row; a row with a y there that is not above 0, or the given offset, gets
        NaN.

    Returns
    -------
    log_coefficient, exponent, offset : ndarray, shape (n_rows,)
    """
    floor = 0.0 if offset is None else offset
    y = np.where(mask, y, floor + 1.0)
    above = (y > floor).all(-1)
    y = np.where(above[:, np.newaxis], y, floor + 1.0)
    if offset is None:
        log_share, _ = _offset_shares(log_C, y, mask)
    else:
        log_share = np.log1p(-offset / _lowest(y, mask))
    excess, weights = _above_offset(y, mask, log_share)
    offsets = np.full(len(y), offset) if offset is not None else _offsets(y, mask, log_share)
    found = (*regress_rows(log_C, np.log(excess), weights), offsets)
    return tuple(np.where(above, values, np.nan) for values in found)


def _checked(C: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return log C and y, or say what is wrong with them."""
    C, y = np.asarray(C, dtype=float), np.asarray(y, dtype=float)
    if C.ndim != 1 or C.shape != y.shape:
        raise ValueError(f"C and y must be one-dimensional and alike, not {C.shape} and {y.shape}.")
    for name, values in (("C", C), ("y", y)):
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if wrong.size:
            raise ValueError(f"A power law needs finite, positive {name}, but got {wrong[0]}.")
    if np.std(np.log(C)) <= SAME_LOG_C:
        raise ValueError(f"A power law needs two distinct C, but got {np.unique(C).tolist()}.")
    return np.log(C), y


def _law(log_C: Array, y: Array, *, log_share: float) -> PowerLaw:
    """Return the law of one row above a known offset."""
    mask = np.ones((1, y.size), dtype=bool)
    shares = np.array([log_share])
    excess, weights = (values[0] for values in _above_offset(y[np.newaxis], mask, shares))
    log_excess = np.log(excess)
    slope, mean_log_C, mean_log = _lines(log_C, log_excess, weights)
    with np.errstate(over="ignore"):
        coefficient = float(np.exp(mean_log - slope * mean_log_C))
    if not np.isfinite(coefficient) or coefficient == 0:
        raise ValueError(
            f"The exponent {slope:.3g} is so steep that the law's coefficient at C = 1 leaves the "
            "range of floats."
        )
    residual = log_excess - mean_log - slope * (log_C - mean_log_C)
    spread = float(((log_excess - log_excess.mean()) ** 2).sum())
    negligible = log_excess.size * (1e-14 * max(1.0, float(np.abs(log_excess).max()))) ** 2
    return PowerLaw(
        coefficient=coefficient,
        exponent=float(slope),
        offset=float(_offsets(y[np.newaxis], mask, shares)[0]),
        r_squared=1 - float((residual**2).sum()) / spread if spread > negligible else None,
    )


def _lines(x: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return slope, mean x and mean y of the lines of `regress_rows`.

    An intercept at log C = 0, far from all data, would lose digits.
    """
    used = weights > 0
    x, y = np.where(used, x, 0.0), np.where(used, y, 0.0)
    total = weights.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = (weights * x).sum(-1) / total, (weights * y).sum(-1) / total
        dx = np.where(used, x - mean_x[..., np.newaxis], 0.0)
        spread = (weights * dx**2).sum(-1)
        slope = (weights * dx * (y - mean_y[..., np.newaxis])).sum(-1) / spread
        slope = np.where(spread > SAME_LOG_C**2 * total, slope, np.nan)
    return slope, mean_x, mean_y


def _lowest(y: Array, mask: Mask) -> Array:
    return np.where(mask, y, np.inf).min(-1)


def _offsets(y: Array, mask: Mask, log_share: Array) -> Array:
    """Return offset = (1 - share) * min(y)."""
    # Plus 0, because files must not say -0.0
    return _lowest(y, mask) * -np.expm1(log_share) + 0.0


def _above_offset(y: Array, mask: Mask, log_share: Array) -> tuple[Array, Array]:
    """Return y - offset, without cancellation near min(y), and its weights in the regression.

    Points that are left out have weight 0, and an excess whose logarithm is finite.
    """
    lowest = _lowest(y, mask)[..., np.newaxis]
    excess = np.maximum(y - lowest, 0.0) + lowest * np.exp(log_share)[..., np.newaxis]
    return excess, np.where(mask, (excess / y) ** 2, 0.0)


def _offset_shares(log_C: Array, y: Array, mask: Mask) -> tuple[Array, NDArray[np.object_]]:
    """Return log(1 - offset / min(y)) of each row's best offset, and the code of its note.

    This variable resolves offsets near 0 and near min(y) alike; 0 is no offset. The code is that of
    `OffsetNote`, "" for none.
    """
    log_share, code = np.zeros(len(y)), np.full(len(y), "", dtype=object)
    _, exponent = regress_rows(log_C, np.log(y), mask.astype(float))
    few = _count_distinct(log_C, mask) < MIN_POINTS_FOR_OFFSET
    code[~(exponent < 0)] = "offset_without_fall"
    code[few] = "offset_few_budgets"
    rows = np.flatnonzero(code == "")
    if not rows.size:
        return log_share, code
    log_C, y, mask = log_C[rows], y[rows], mask[rows]
    found = _search(log_C, y, mask)
    excess, weights = _above_offset(y, mask, found)
    _, exponent = regress_rows(log_C, np.log(excess), weights)
    outcome = np.full(rows.size, "", dtype=object)
    outcome[np.exp(found) < 2 * SMALLEST_REMAINDER] = "offset_at_lowest"
    outcome[~(exponent < 0)] = "offset_stops_fall"
    outcome[-np.expm1(found) < NO_OFFSET] = "offset_is_zero"
    dropped = (outcome == "offset_stops_fall") | (outcome == "offset_is_zero")
    log_share[rows], code[rows] = np.where(dropped, 0.0, found), outcome
    return log_share, code


def _search(log_C: Array, y: Array, mask: Mask) -> Array:
    """Return the best log share of each row: a grid, then golden sections around its minimum."""
    grid = np.linspace(np.log(SMALLEST_REMAINDER), 0.0, N_SHARES)
    values = _objective(np.broadcast_to(grid, (len(y), N_SHARES)), log_C, y, mask)
    best = np.argmin(values, axis=-1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, N_SHARES - 1)]
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(N_REFINEMENTS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        trial = _objective(np.stack([left, right], axis=-1), log_C, y, mask)
        in_left = trial[:, 0] <= trial[:, 1]
        low, high = np.where(in_left, low, left), np.where(in_left, right, high)
    candidates = np.stack([(low + high) / 2, grid[best], np.zeros(len(y))], axis=-1)
    winner = np.argmin(_objective(candidates, log_C, y, mask), axis=-1)
    return candidates[np.arange(len(y)), winner]


def _objective(log_share: Array, log_C: Array, y: Array, mask: Mask) -> Array:
    """Return the sums of (log yhat - log y)^2 of trials, shape (n_rows, n_trials)."""
    x, y, mask = (values[:, np.newaxis] for values in (log_C, y, mask))
    excess, weights = _above_offset(y, mask, log_share)
    log_excess = np.log(excess)
    slope, mean_x, mean_y = (part[..., np.newaxis] for part in _lines(x, log_excess, weights))
    log_ratio = mean_y + slope * (x - mean_x) - log_excess
    # log yhat - log y, written so that a perfect fit gives zero without cancellation
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.log1p(excess / y * np.expm1(log_ratio)) ** 2
    total = np.where(mask, error, 0.0).sum(-1)
    return np.where(np.isnan(total), np.inf, total)


def _count_distinct(x: Array, mask: Mask) -> NDArray[np.intp]:
    # Points that are left out sort last, where they are no new value
    ordered = np.sort(np.where(mask, x, np.inf), axis=-1)
    new = np.ones(ordered.shape, dtype=bool)
    new[..., 1:] = ordered[..., 1:] > ordered[..., :-1]
    return (new & np.isfinite(ordered)).sum(-1)
