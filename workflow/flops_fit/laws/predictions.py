"""From fitted laws to the optimum at a given C."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.accounting import FlopsPerUnit
from flops_fit.laws.power_law import PowerLaw
from flops_fit.laws.results import Prediction


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
    for c in C:
        if not (np.isfinite(c) and c > 0):
            raise UserError(f"A budget to predict is {c}, but must be finite and positive.")
        N = float(N_opt.predict(c))
        D = float(flops.D_at(c, N)) if np.isfinite(N) and N > 0 else float("nan")
        if not (np.isfinite(D) and D > 0):
            raise UserError(f"The laws leave the range of numbers at C = {c:g}; ask for less.")
        rows.append(
            Prediction(
                C=float(c),
                extrapolated=bool(c < min(budgets) or c > max(budgets)),
                N_opt=N,
                D_opt=D,
                L_opt=None if L_opt is None else float(L_opt.predict(c)),
                D_per_N=D / N,
            )
        )
    return tuple(rows)
