"""Power laws through the optima of an approach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flops_fit.laws.forms.power_law import PowerLaw, fit_power_law
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
