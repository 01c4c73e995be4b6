"""From bootstrap draws to the intervals of fit.json."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.forms.quantities import Draws

Array = NDArray[np.float64]

MAX_LOST = 0.1
"""Share of resamples without a law from which there are no intervals: the rest would flatter."""

ROUNDING = 1e-12
"""Draws whose range is below this share of their size do not vary."""

Interval = list[float] | list[list[float]] | None
"""[lo, hi] or, of predictions, a list of them; None where there is none."""


def scattered_apart(estimates: Draws, draws: Draws, factor: float) -> Draws:
    """Move the draws of N_opt and D_opt away from their estimates by a factor.

    The losses at the optima are left as they are.
    """
    if factor == 1:
        return draws
    return {
        key: values
        if key.startswith("L_opt")
        else estimates[key] + factor * (values - estimates[key])
        for key, values in draws.items()
    }


def intervals_of(
    estimates: Draws, draws: Draws, *, level: float, factor: float = 1.0
) -> tuple[dict[str, Interval], float]:
    """Return the interval of every quantity, and the share of resamples that gave no law.

    Percentiles of the draws, moved away from the estimate by a factor, and extended to the estimate
    where they miss it.

    Parameters
    ----------
    level : float
        Nominal coverage, between 0 and 1.
    factor : float
        The small-sample factor of the approach.

    Returns
    -------
    intervals : dict
        Quantity -> [lo, hi] or, for predictions, a list of them; None where the draws have none, or
        do not vary: a value that is the same in every resample is not a finding of these runs.
        Intervals of quantities in logs are returned on the original scale.
    lost : float
    """
    tails = ((1 - level) / 2, (1 + level) / 2)
    # Losses are negative in no draw where those of the runs are not
    L_from = -np.inf if np.any(draws.get("L_opt offset", 0.0) < 0) else 0.0
    lost = float(np.isnan(draws["N_opt exponent"]).mean())
    found: dict[str, Interval] = {}
    for key, values in draws.items():
        name = key.replace("log ", "")
        missing = np.isnan(values).mean(axis=0)
        if np.any(missing > MAX_LOST) or np.any(np.isnan(estimates[key])):
            found[name] = None
            continue
        if np.all(_widths(values) <= ROUNDING * np.nanmax(np.abs(values))):
            found[name] = None
            continue
        bounds = np.nanquantile(values, tails, axis=0)
        centre = np.clip(estimates[key], *bounds)
        bounds = centre + factor * (bounds - centre)
        bounds = np.stack(
            [np.minimum(bounds[0], estimates[key]), np.maximum(bounds[1], estimates[key])]
        )
        if "log " in key:
            with np.errstate(over="ignore"):
                bounds = np.exp(bounds)
        elif name in ("L_opt", "L_opt offset"):
            bounds = np.maximum(bounds, L_from)
        elif name in ("E", "alpha", "beta", "gamma"):
            bounds = np.maximum(bounds, 0.0)
        elif name in ("a", "b"):
            bounds = np.clip(bounds, 0.0, 1.0)
        pairs = bounds.T.tolist()
        found[name] = pairs if np.all(np.isfinite(bounds)) else None
    return found, lost


def _widths(values: Array) -> Array:
    """Return the range of the draws, NaN aside."""
    return np.nanmax(values, axis=0) - np.nanmin(values, axis=0)


def standard_errors(draws: Draws) -> dict[str, float]:
    """Return the standard deviation of each parameter of a surface over the draws."""
    logs = {"A": "log A", "B": "log B"}
    names = ("E", "A", "B", "alpha", "beta", "gamma", "a", "b")
    names = [name for name in names if logs.get(name, name) in draws]
    values = {name: draws[logs.get(name, name)] for name in names}
    values |= {name: np.exp(values[name]) for name in logs}
    return {name: float(np.nanstd(value)) for name, value in values.items()}
