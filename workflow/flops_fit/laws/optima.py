"""Power laws through the optima of an approach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flops_fit.laws.forms.power_law import (
    PowerLaw,
    fit_power_law,
    fit_power_law_above,
    fit_power_law_with_offset,
)
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.results import Point

Laws = dict[str, PowerLaw | None]
"""N_opt, D_opt and L_opt: the fields of an `ApproachResult`."""


def optima_laws(points: Sequence[Point], *, offset: float | None = None) -> Laws:
    """Return the power laws of N_opt, D_opt and, with this offset, L_opt through the points.

    L_opt gets none where the offset is not given, or leaves nothing above it.

    Raises
    ------
    ValueError
        If no power law joins the points, see `fit_power_law`.
    """
    C, N_opt, D_opt, L_opt = (
        np.array([getattr(point, name) for point in points])
        for name in ("C", "N_opt", "D_opt", "L_opt")
    )
    law = None
    if offset is not None and L_opt.min() > offset:
        law = replace(fit_power_law(C, L_opt - offset), offset=offset)
    return {"N_opt": fit_power_law(C, N_opt), "D_opt": fit_power_law(C, D_opt), "L_opt": law}


def loss_law(
    points: Sequence[Point], E: float | None = None
) -> tuple[PowerLaw | None, list[Judgement]]:
    """Return the power law of L_opt above `E`, or above a fitted offset, and what to say of it.

    There is none where an L_opt is not above 0 or `E`.
    """
    C, L_opt = (np.array([getattr(point, name) for point in points]) for name in ("C", "L_opt"))
    floor = 0.0 if E is None else E
    if L_opt.min() <= floor:
        return None, [judge("no_law_of_loss", lowest=L_opt.min(), floor=floor)]
    if E is not None:
        return fit_power_law_above(C, L_opt, E), []
    law, note = fit_power_law_with_offset(C, L_opt)
    return law, [] if note is None else [judge(note.code, **note.values)]
