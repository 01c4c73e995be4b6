"""From draws to what is said: an estimate and an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_LOST = 0.1
"""Share of draws without a value from which nothing is said: the rest would flatter."""

FAR = 1e6
"""Infinity stands this many times beyond the largest draw in percentiles, which interpolate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval (lo, hi); an end may be infinite: as far as the draws tell."""

    value: float
    interval: tuple[float, float] | None


def summarised(
    draws: dict[str, Array], *, level: float, estimate: dict[str, Array] | None = None
) -> dict[str, Estimate | None]:
    """Return the estimate and the interval of each quantity, None where too many draws have none.

    Parameters
    ----------
    draws : dict
        Quantity -> draws, (n_draws,), see `laws.readouts.optimum.Draws`; no draws give no interval.
    level : float
        Nominal coverage of the intervals, whose ends are percentiles of the draws.
    estimate : dict, optional
        Quantity -> (1,): the same of the estimate itself, to which intervals are extended where
        they miss it. Without it, the estimate is the median of the draws.

    Returns
    -------
    dict
        Without "log " in the names, and back on the original scale.
    """
    return {
        name.removeprefix("log "): _summary(
            values,
            None if estimate is None else float(estimate[name][0]),
            level,
            in_logs=name.startswith("log "),
        )
        for name, values in draws.items()
    }


def _summary(
    draws: Array, estimate: float | None, level: float, *, in_logs: bool
) -> Estimate | None:
    back = np.exp if in_logs else float
    if estimate is not None and np.isnan(estimate):
        return None
    if not draws.size:
        return None if estimate is None else Estimate(value=float(back(estimate)), interval=None)
    if np.isnan(draws).mean() > MAX_LOST:
        return None
    tails = (0.5, (1 - level) / 2, (1 + level) / 2)
    finite = np.isfinite(draws)
    if finite.all():
        found = np.quantile(draws, tails)
    else:
        largest = np.max(np.abs(draws[finite]), initial=1.0)
        found = np.nanquantile(np.clip(draws, -FAR * largest, FAR * largest), tails)
        found = np.where(np.abs(found) > largest, np.copysign(np.inf, found), found)
    centre = found[0] if estimate is None else estimate
    low, high = min(found[1], centre), max(found[2], centre)
    with np.errstate(over="ignore"):
        return Estimate(value=float(back(centre)), interval=(float(back(low)), float(back(high))))
