"""What the answer assumes of the error of the form, what the runs say of it, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.answer.law import ANSWER_COLUMNS, OptimumLaw
from flops_fit.laws.answer.priors import PathPriors

Array = NDArray[np.float64]

NONE = 1e-6
"""A standard deviation that is as good as 0 for a scatter or a bend."""


def form_error(
    through: Callable[[PathPriors], OptimumLaw],
    law: OptimumLaw,
    path: PathPriors,
    C: Sequence[float],
    level: float,
) -> dict[str, Any] | None:
    """Return `answer.form_error` of fit.json.

    For each assumption its prior, the median and the interval of what the runs leave of it, and its
    cost: the width of the interval at the largest C over the width without the assumption.

    Parameters
    ----------
    through : callable
        Fits the paths under other priors.
    law : OptimumLaw
        The paths under these.
    path : PathPriors
    C : sequence of float
        FLOPs that are predicted; the costs are those at the largest.
    level : float
        Nominal coverage.

    Returns
    -------
    dict, or None if nothing is predicted
    """
    if not len(C):
        return None
    log_C, tails = np.log([max(C)]), ((1 - level) / 2, (1 + level) / 2)

    def width_of_N(found: OptimumLaw) -> float:
        return float(np.ptp(np.quantile(found.log_N_opt(log_C), tails)))

    def width_of_L(found: OptimumLaw) -> float:
        return float(np.ptp(np.quantile(found.L_opt(log_C), tails)))

    def entry(
        name: str, width: Callable[[OptimumLaw], float], without: Any, column: int | None = None
    ) -> dict[str, Any] | None:
        if width is width_of_L and not law.has_loss:
            return None
        prior = getattr(path, name)
        return {
            "prior": list(prior) if isinstance(prior, tuple) else prior,
            "found": None if column is None else _found(law.rows[:, column], tails),
            "cost": width(law) / width(through(replace(path, **{name: without}))),
        }

    return {
        "C": float(max(C)),
        "N_bend": entry("N_bend", width_of_N, (0.0, NONE), ANSWER_COLUMNS.index("N_opt bend")),
        "N_scatter": entry("N_scatter", width_of_N, NONE),
        "L_bend": entry("L_bend", width_of_L, (0.0, NONE), ANSWER_COLUMNS.index("L_opt bend")),
        "L_scatter": entry("L_scatter", width_of_L, NONE),
        "E": _found(law.rows[:, ANSWER_COLUMNS.index("L_opt offset")], tails)
        if law.has_loss
        else None,
    }


def _found(draws: Array, tails: tuple[float, float]) -> dict[str, Any]:
    low, middle, high = np.quantile(draws, (tails[0], 0.5, tails[1])).tolist()
    return {"value": middle, "ci": [low, high]}
