"""Power laws y = offset + coefficient * C^exponent, fitted in logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

MIN_POINTS_FOR_OFFSET = 4
"""Three points determine three parameters: such a fit interpolates and nothing tests it."""

_SMALLEST_REMAINDER = 1e-9
"""The offset is searched up to (1 - this) * min(y): closer, y - offset is rounding noise."""

_NO_OFFSET = 1e-6
"""An offset below this share of min(y) is a zero that the search missed by its tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetNote:
    """Why an offset is not what a search would call well determined; codes of `evidence.texts`."""

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
        Coefficient of determination of log(y - offset) against log C; None where all y are equal,
        so that there is nothing to explain.
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
    return _law(log_C, y, offset=0.0, excess=y)


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
    plain = _law(log_C, y, offset=0.0, excess=y)
    n_distinct = np.unique(log_C).size
    if n_distinct < MIN_POINTS_FOR_OFFSET:
        values = {"n": n_distinct, "needed": MIN_POINTS_FOR_OFFSET}
        return plain, OffsetNote(code="offset_few_budgets", values=values)
    if plain.exponent >= 0:
        values = {"exponent": plain.exponent}
        return plain, OffsetNote(code="offset_without_fall", values=values)

    log_share = _search_offset(log_C, y)
    share = np.exp(log_share)
    offset = float(-y.min() * np.expm1(log_share))
    if offset < _NO_OFFSET * y.min():
        return plain, OffsetNote(code="offset_is_zero")
    law = _law(log_C, y, offset=offset, excess=_excess(y, share))
    if law.exponent >= 0:
        return plain, OffsetNote(code="offset_stops_fall")
    if share < 2 * _SMALLEST_REMAINDER:
        return law, OffsetNote(code="offset_at_lowest", values={"offset": offset})
    return law, None


def _checked(C: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log C and y, or say what is wrong with them."""
    C, y = np.asarray(C, dtype=float), np.asarray(y, dtype=float)
    if C.ndim != 1 or C.shape != y.shape:
        raise ValueError(f"C and y must be one-dimensional and alike, not {C.shape} and {y.shape}.")
    for name, values in (("C", C), ("y", y)):
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if wrong.size:
            raise ValueError(f"A power law needs finite, positive {name}, but got {wrong[0]}.")
    if np.unique(C).size < 2:
        raise ValueError(f"A power law needs two distinct C, but got {np.unique(C).tolist()}.")
    return np.log(C), y


def _excess(y: NDArray[np.float64], share: ArrayLike) -> NDArray[np.float64]:
    """Return y - offset for offset = (1 - share) * min(y), without cancellation near min(y)."""
    lowest = y.min()
    return (y - lowest) + lowest * np.asarray(share)[..., np.newaxis]


def _regress(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return slope, mean x and mean y of weighted straight lines along the last axis."""
    total = weights.sum(-1)
    mean_x = (weights * x).sum(-1) / total
    mean_y = (weights * y).sum(-1) / total
    dx = x - mean_x[..., np.newaxis]
    dy = y - mean_y[..., np.newaxis]
    # Centred, because log C lies between 20 and 60 and varies by 3
    slope = (weights * dx * dy).sum(-1) / (weights * dx**2).sum(-1)
    return slope, mean_x, mean_y


def _law(
    log_C: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    offset: float,
    excess: NDArray[np.float64],
) -> PowerLaw:
    log_excess = np.log(excess)
    slope, mean_log_C, mean_log = _regress(log_C, log_excess, (excess / y) ** 2)
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
        offset=offset,
        r_squared=1 - float((residual**2).sum()) / spread if spread > negligible else None,
    )


def _search_offset(log_C: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return log(1 - offset / min(y)) of the best offset.

    This variable resolves offsets near 0 and near min(y) alike.
    """

    def objective(log_share: ArrayLike) -> NDArray[np.float64]:
        excess = _excess(y, np.exp(log_share))
        log_excess = np.log(excess)
        slope, mean_log_C, mean_log = _regress(log_C, log_excess, (excess / y) ** 2)
        log_ratio = (
            mean_log[..., np.newaxis]
            + slope[..., np.newaxis] * (log_C - mean_log_C[..., np.newaxis])
            - log_excess
        )
        # log yhat - log y, written so that a perfect fit gives zero without cancellation
        with np.errstate(over="ignore"):
            return (np.log1p(excess / y * np.expm1(log_ratio)) ** 2).sum(-1)

    grid = np.linspace(np.log(_SMALLEST_REMAINDER), 0.0, 801)
    values = objective(grid)
    padded = np.concatenate([[np.inf], values, [np.inf]])
    candidates = [(float(values[-1]), 0.0)]
    for i in np.flatnonzero((values <= padded[:-2]) & (values <= padded[2:])):
        candidates.append((float(values[i]), float(grid[i])))
        found = minimize_scalar(
            objective,
            bounds=(grid[max(i - 1, 0)], grid[min(i + 1, grid.size - 1)]),
            method="bounded",
            options={"xatol": 1e-13, "maxiter": 500},
        )
        candidates.append((float(found.fun), float(found.x)))
    return min(candidates)[1]
