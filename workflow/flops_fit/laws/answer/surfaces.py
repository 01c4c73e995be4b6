"""The surfaces that the answer of a grid of N and D starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from flops_fit.laws.approach import ApproachOptions
from flops_fit.laws.approaches.registry import approach_named
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.results import ApproachResult

AVERAGED = ("3", "vpnls")
"""The approaches whose surfaces are averaged: one withstands outliers, the other uses all of the
runs, and where they part, the truth lies between them as often as not."""

LEAST_EXPONENT = 0.01
"""alpha or beta below which a term is a constant, so that the optimum lies anywhere."""


DEPTH = 3.0
"""Height to which the lowest loss is lifted, in ranges of the losses, see `above_zero`."""


def above_zero(runs: RunTable) -> tuple[RunTable, float]:
    """Return runs whose losses may be negative with all losses above 0, and by how much they are.

    A constant moves E and the losses alike, and nothing else of the optima. The lowest loss then
    lies three times the range of all above 0, so that E may lie as far below the losses.
    Positive losses stay where they are.
    """
    if runs.L.min() > 0:
        return runs, 0.0
    by = DEPTH * float(np.ptp(runs.L)) - float(runs.L.min())
    return replace(runs, L=runs.L + by), by


def surfaces_through(
    runs: RunTable,
    flops: FlopsPerUnit,
    options: ApproachOptions,
    known: Mapping[str, ApproachResult],
) -> tuple[Surface, ...]:
    """Return the surfaces of approach 3 and VPNLS that have an optimum.

    Parameters
    ----------
    known : mapping of approach name to ApproachResult
        What was fitted to these runs already.
    """
    options = replace(options, judged=False)
    found = []
    for name in AVERAGED:
        result = known.get(name) or approach_named(name).fit(runs, flops, options)
        surface = result.surface
        if result.status == "ok" and min(surface.alpha, surface.beta) > LEAST_EXPONENT:
            found.append(surface)
    return tuple(found)
