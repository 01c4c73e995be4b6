"""The spend that a precision takes: the smallest whose forecast is as sure as was asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flops_fit.design.forecast import NO_FORECAST, Forecast, forecast
from flops_fit.design.question import DesignError
from flops_fit.design.simulation import Designed

DECADES = 8
"""How far below the target a spend is sought: a thousandth of the largest budget of a sweep is no
budget of the same law any more."""

LARGEST_SHARE = 0.99
"""The largest spend over the target: for more one trains at the target itself."""

HALVINGS = 4
"""Of the decade that the spend lies in: it is found to 10^(1/16), or 15%, by which nobody can tell
what an experiment costs."""


def spend_for(
    precision: float, target: float, with_spend: Callable[[float], Designed]
) -> tuple[float, Forecast]:
    """Return the smallest spend that makes N_opt at the target as precise as asked, in FLOPs.

    The interval is the one with the misfit that published sweeps show, since no sweep that was
    published has an exact form.

    Parameters
    ----------
    precision : float
        The factor above 1 up to which N_opt shall be known: half of the 95% interval, as a factor.
    target : float
        FLOPs.
    with_spend : callable
        The study with a spend; raises DesignError where there is no design.

    Raises
    ------
    DesignError
        If no spend below the target is enough.
    """
    found, closest, reasons = None, np.inf, []
    below = None
    for decade in range(DECADES + 1):
        spend = LARGEST_SHARE * target / 10**decade
        one = _forecast(spend, with_spend, reasons)
        factor = factor_of(one)
        closest = min(closest, factor)
        if factor <= precision:
            found = (spend, one)
        elif found is not None:
            below = spend
            break
    if found is None:
        raise DesignError(_unreachable(precision, target, closest, reasons))
    if below is None:
        return found
    low, high = np.log(below), np.log(found[0])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        one = _forecast(float(np.exp(middle)), with_spend, reasons)
        if factor_of(one) <= precision:
            high, found = middle, (float(np.exp(middle)), one)
        else:
            low = middle
    return found


def factor_of(one: Forecast | None) -> float:
    """Return the factor up to which N_opt at the target will be known; infinite if it will not."""
    if one is None or one.misfit is None:
        return float("inf")
    return float(np.exp(one.misfit.N.half))


def _forecast(
    spend: float, with_spend: Callable[[float], Designed], reasons: list[str]
) -> Forecast | None:
    try:
        return forecast(with_spend(spend))
    except NO_FORECAST as error:
        reasons.append(str(error))
        return None


def _unreachable(precision: float, target: float, closest: float, reasons: list[str]) -> str:
    what = f"N_opt at {target:.3g} FLOPs cannot be known up to a factor of {precision:g}"
    if not np.isfinite(closest):
        return f"{what}: {reasons[0]}"
    # Without the remedy: what would do is the sweep that was found
    more = f" (a larger sweep has no design: {reasons[0].split(';')[0]})" if reasons else ""
    return (
        f"{what}: spending less than the target itself, the best is {closest:.2f} with the misfit "
        f"that published sweeps show; ask for {np.ceil(closest * 20) / 20:.2f} or more{more}"
    )
