"""Power laws through the optima of an approach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from flops_fit.laws.forms.power_law import (
    PowerLaw,
    fit_power_law,
    fit_power_law_above,
    fit_power_law_with_offset,
)
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.results import Point

REACH_BELOW = 100.0
"""How far below losses that may be negative their offset is searched, in ranges of L_opt: so far
off, relative errors are absolute ones to 1%, as they must be where 0 means nothing."""

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

    Where an L_opt is not above 0, the offset may be negative, and there is no law without one. Nor
    is there one where an L_opt is not above `E`.
    """
    C, L_opt = (np.array([getattr(point, name) for point in points]) for name in ("C", "L_opt"))
    floor = 0.0 if E is None else E
    shift = 0.0 if E is not None else shift_above_0(L_opt)
    if L_opt.min() + shift <= floor:
        return None, [judge("no_law_of_loss", lowest=L_opt.min(), floor=floor)]
    if E is not None:
        return fit_power_law_above(C, L_opt, E), []
    law, note = fit_power_law_with_offset(C, L_opt + shift)
    if shift:
        law = replace(law, offset=law.offset - shift)
        if note is not None and note.code != "offset_at_lowest":
            return None, [judge("no_law_of_loss", lowest=L_opt.min(), floor=floor)]
        note = None if note is None else replace(note, values={"offset": law.offset})
    return law, [] if note is None else [judge(note.code, **note.values)]


def shift_above_0(L_opt: ArrayLike) -> float:
    """Return what is added to these losses before the offset of their law is searched above 0.

    Parameters
    ----------
    L_opt : array_like, shape (n,)
        Losses at the optima, nats per unit.

    Returns
    -------
    float
        0 where all are positive. Otherwise it puts the lowest `REACH_BELOW` ranges above 0: an
        offset of the shifted losses is one of the losses that may be negative, less the shift.
    """
    L_opt = np.asarray(L_opt, dtype=float)
    if L_opt.min() > 0:
        return 0.0
    return float(REACH_BELOW * np.ptp(L_opt) - L_opt.min())
