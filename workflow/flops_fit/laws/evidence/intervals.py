"""From bootstrap draws to the intervals of fit.json."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from flops_fit.laws.approaches.isoflop import judge_usable
from flops_fit.laws.approaches.registry import SURFACES
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.bootstrap import Draws, surface_quantities
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.results import ApproachResult, Prediction

Array = NDArray[np.float64]

MAX_LOST = 0.1
"""Share of resamples without a law from which the others flatter the approach: no intervals."""

OVERDISPERSION = 2.5
"""Calibrated on studies of 45 runs simulated by benchmarks/coverage.py."""

ROUNDING = 1e-12
"""Draws whose range is below this share of their size do not vary."""

ASSUMED_WHEN_TIED = ("a", "b", "N_opt exponent", "D_opt exponent")
"""What alpha = beta settles before any run is looked at."""

PERCENTILES = "percentiles of refits to resampled {resampled}, stretched by {stretch:.3f}"
WIDENED = " (of N_opt and D_opt by another {factor:.3g}, as the minima scatter)"


def stretch_of(
    name: str,
    resampled: str,
    runs: RunTable,
    result: ApproachResult,
    *,
    level: float,
    stratify: bool,
    tied: bool = False,
) -> float:
    """Return the factor by which percentiles are moved away from the estimate.

    Resampled runs scatter too little: a stratum of n runs holds (n - 1)/n of the variance of n new
    ones, which the factor restores; leverage-scaled residuals hold all of it. Where a surface or
    parabolas are fitted by least squares, percentiles take the noise as known, as a normal quantile
    does: Student's quantile, with as many degrees of freedom as the runs have beyond the
    parameters, over the normal one allows for its estimation.

    The Huber loss of approach 3, with a delta far below the noise, is close to least absolute
    deviations, whose resamples scatter too much, the more the fewer the runs: the estimate depends
    on the density of the errors at 0, which a resample of few runs makes too coarse. The factor
    1/sqrt(1 + 2.5/sqrt(n)) was chosen by simulations of 45 runs (benchmarks/coverage.py, whose
    README says what other seeds and other numbers of runs gave).
    """
    n = len(runs)
    if name == "3":
        return 1 / math.sqrt(1 + OVERDISPERSION / math.sqrt(n))
    if "residuals" in resampled:
        return _student_over_normal(level, _freedom(result))
    n_strata = np.unique(runs.budget).size if stratify else 1
    factor = math.sqrt(n / max(n - n_strata, n / 2))
    if name == "vpnls":
        factor *= _student_over_normal(level, n - (4 if tied else 5))
    return factor


def widen(result: ApproachResult, estimates: Draws, draws: Draws, *, level: float) -> float:
    """Move the draws of N_opt and D_opt where optima scatter by more than their profiles do.

    By `ApproachResult.widening`, and by Student's quantile with the freedom of the line through the
    optima instead of that of the runs. The losses at the optima are another matter, and stay.

    Returns
    -------
    float
        The factor, 1 where there is no such scatter.
    """
    if result.widening <= 1:
        return 1.0
    runs = _freedom(result)
    line = min(runs, len(result.points) - 2)
    factor = result.widening * _student_over_normal(level, line) / _student_over_normal(level, runs)
    for key in draws:
        if not key.startswith("L_opt"):
            draws[key] = estimates[key] + factor * (draws[key] - estimates[key])
    return factor


def _freedom(result: ApproachResult) -> int:
    return sum(p.N.size - 3 for p in result.profiles if judge_usable(p) is None)


def _student_over_normal(level: float, freedom: int) -> float:
    tail = (1 + level) / 2
    return float(student_t.ppf(tail, max(freedom, 1)) / norm.ppf(tail))


def estimates_of(
    result: ApproachResult,
    predictions: tuple[Prediction, ...],
    flops: FlopsPerUnit,
) -> Draws:
    """Return what the draws of `bootstrap_draws` scatter around: the same keys, one row."""
    C = np.array([p.C for p in predictions])
    if result.surface is not None:
        budgets = np.log([point.C for point in result.points])
        found = surface_quantities(result.surface.to_row()[np.newaxis], budgets, np.log(C), flops)
        return {key: value[0] for key, value in found.items()}
    quantities: Draws = {}
    for name, law in (("N_opt", result.N_opt), ("D_opt", result.D_opt), ("L_opt", result.L_opt)):
        quantities |= _law_estimates(name, law)
    N, D = (np.array([getattr(p, name) for p in predictions]) for name in ("N_opt", "D_opt"))
    L = np.array([np.nan if p.L_opt is None else p.L_opt for p in predictions])
    return quantities | {
        "log N_opt": np.log(N),
        "log D_opt": np.log(D),
        "log D_per_N": np.log(D / N),
        "L_opt": L,
    }


def _law_estimates(name: str, law: PowerLaw | None) -> Draws:
    if law is None:
        return {f"{name} {key}": np.nan for key in ("log coefficient", "exponent", "offset")}
    return {
        f"{name} log coefficient": np.log(law.coefficient),
        f"{name} exponent": law.exponent,
        f"{name} offset": law.offset,
    }


def intervals_of(
    estimates: Draws, draws: Draws, *, level: float, stretch: float = 1.0
) -> tuple[dict[str, Any], float]:
    """Return the interval of every quantity, and the share of resamples that gave no law.

    Percentiles of the draws, moved away from the estimate by the factor `stretch`, and extended to
    the estimate where they miss it.

    Parameters
    ----------
    level : float
        Nominal coverage, between 0 and 1.

    Returns
    -------
    intervals : dict
        Quantity -> [lo, hi] or, for predictions, a list of them; None where the draws have none, or
        do not vary: what is the same in every resample is no finding of these runs.
        Quantities in logs are returned without.
    lost : float
    """
    tails = ((1 - level) / 2, (1 + level) / 2)
    lost = float(np.isnan(draws["N_opt exponent"]).mean())
    found: dict[str, Any] = {}
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
        bounds = centre + stretch * (bounds - centre)
        bounds = np.stack(
            [np.minimum(bounds[0], estimates[key]), np.maximum(bounds[1], estimates[key])]
        )
        if "log " in key:
            with np.errstate(over="ignore"):
                bounds = np.exp(bounds)
        elif name in ("E", "alpha", "beta", "L_opt", "L_opt offset"):
            bounds = np.maximum(bounds, 0.0)
        elif name in ("a", "b"):
            bounds = np.clip(bounds, 0.0, 1.0)
        pairs = bounds.T.tolist()
        found[name] = pairs if np.all(np.isfinite(bounds)) else None
    return found, lost


def _widths(values: Array) -> Array:
    """Return the range of the draws, NaN aside."""
    return np.nanmax(values, axis=0) - np.nanmin(values, axis=0)


def add_intervals(entry: dict[str, Any], intervals: dict[str, Any], name: str) -> None:
    """Write the intervals into an entry of fit.json."""
    for law in ("N_opt", "D_opt", "L_opt"):
        if entry[law] is not None:
            entry[law]["ci"] = {
                key: intervals.get(f"{law} {key}") for key in ("coefficient", "exponent")
            }
    if name in SURFACES:
        entry["surface"]["ci"] = {key: intervals[key] for key in entry["surface"]["ci"]}
    for quantity in ("N_opt", "D_opt", "L_opt", "D_per_N"):
        found = intervals[quantity]
        for i, row in enumerate(entry["predictions"]):
            row[f"{quantity}_ci"] = None if found is None else found[i]


def standard_errors(draws: Draws) -> dict[str, float]:
    """Return the standard deviation of each parameter of a surface over the draws."""
    logs = {"A": "log A", "B": "log B"}
    names = ("E", "A", "B", "alpha", "beta", "a", "b")
    values = {name: draws[logs.get(name, name)] for name in names}
    values |= {name: np.exp(values[name]) for name in logs}
    return {name: float(np.nanstd(value)) for name, value in values.items()}
