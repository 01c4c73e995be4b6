"""From fitted laws, or a fitted surface, to the optimum at a given C."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.results import Prediction

SAME_COMPUTE = 1e-6
"""Relative difference up to which two C are one, as after rounding in a table or a file."""


def is_extrapolated(C: float, budgets: Collection[float]) -> bool:
    """Say whether C lies outside the measured budgets, by more than rounding."""
    return not min(budgets) * (1 - SAME_COMPUTE) <= C <= max(budgets) * (1 + SAME_COMPUTE)


def merge_compute(budgets: Iterable[float], further: Iterable[float]) -> list[float]:
    """Return the budgets and what is further asked for, ascending, each C once.

    What differs from a budget by rounding alone is that budget.
    """
    merged = list(budgets)
    for c in further:
        if not any(abs(c / known - 1) <= SAME_COMPUTE for known in merged):
            merged.append(c)
    return sorted(merged)


def predict_optima(
    C: Iterable[float],
    *,
    N_opt: PowerLaw,
    L_opt: PowerLaw | None,
    flops: FlopsPerUnit,
    budgets: Collection[float],
) -> tuple[Prediction, ...]:
    """Return the optimum that the laws give at each `C` (FLOPs).

    Only N_opt and L_opt come from their laws. D_opt is C / flops_per_unit(N_opt), so that N_opt
    and D_opt of one row spend exactly C, which two separately fitted laws would miss. Measured
    budgets get the laws' values too, not their own optima: those are the points.

    Parameters
    ----------
    budgets : collection of float
        Measured budgets, FLOPs; C outside their range is extrapolated.

    Raises
    ------
    UserError
        If a C is not finite and positive, or a law leaves the range of floats there.
    """
    rows = []
    for c in _checked(C):
        loss = None if L_opt is None else float(L_opt.predict(c))
        rows.append(_prediction(c, float(N_opt.predict(c)), flops, budgets, loss))
    return tuple(rows)


def predict_surface_optima(
    C: Iterable[float], *, surface: Surface, flops: FlopsPerUnit, budgets: Collection[float]
) -> tuple[Prediction, ...]:
    """Return the surface's own optimum at each `C`, found along D = C / flops_per_unit(N).

    Parameters and errors are those of `predict_optima`.
    """
    rows = []
    for c in _checked(C):
        N = float(surface.N_opt(c, flops))
        loss = float(surface.loss(N, flops.D_at(c, N))) if np.isfinite(N) and N > 0 else None
        rows.append(_prediction(c, N, flops, budgets, loss))
    return tuple(rows)


def _checked(C: Iterable[float]) -> list[float]:
    values = [float(c) for c in C]
    for c in values:
        if not (np.isfinite(c) and c > 0):
            raise UserError(f"A budget to predict is {c}, but must be finite and positive.")
    return values


def _prediction(
    c: float, N: float, flops: FlopsPerUnit, budgets: Collection[float], loss: float | None
) -> Prediction:
    D = float(flops.D_at(c, N)) if np.isfinite(N) and N > 0 else float("nan")
    if not (np.isfinite(D) and D > 0):
        raise UserError(f"The laws leave the range of numbers at C = {c:g}; ask for less.")
    return Prediction(
        C=c,
        extrapolated=is_extrapolated(c, budgets),
        N_opt=N,
        D_opt=D,
        L_opt=loss,
        D_per_N=D / N,
    )
