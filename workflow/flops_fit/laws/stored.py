"""From the draws that fit.json stores to a `Landscape`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.approach import Approach
from flops_fit.laws.approaches.registry import approach_named
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.quantities import SURFACE_COLUMNS
from flops_fit.laws.readouts.landscape import (
    Landscape,
    MovedApart,
    Path,
    Shape,
    Surfaces,
    shuffled_rows,
)

Array = NDArray[np.float64]

EARLIER = "an earlier version of flops-fit wrote its fit.json; fit the study again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPath:
    """The path of an approach's laws, rows of its `columns`."""

    approach: Approach
    rows: Array
    flops: FlopsPerUnit

    def log_N_opt(self, log_C: Array) -> Array:
        """Return log N of the optimum, see `Path`."""
        return self.approach.quantities(self.rows, log_C, self.flops)["log N_opt"]

    def L_opt(self, log_C: Array) -> Array:
        """Return its loss, see `Path`."""
        return self.approach.quantities(self.rows, log_C, self.flops)["L_opt"]


def of_answer(fit: Mapping[str, Any], flops: FlopsPerUnit) -> dict[str, Any]:
    law = OptimumLaw.from_json(fit["answer"]["law"])
    shape, shape_from = None, f"no surface is kept beside the answer: {EARLIER}"
    if "surface" in fit:
        shape_from = "no approach gave a surface with an optimum (fit.approaches 3 or vpnls)"
    if fit.get("surface") is not None:
        approach, estimate, draws, factor = _rows(fit["surface"])
        shape_from = approach.called
        sound = draws[np.isfinite(draws).all(axis=1)]
        if not len(sound):
            sound = estimate
        n = len(law.rows)
        paired = sound[shuffled_rows(max(n, len(sound)))[:n] % len(sound)]
        shape = Shape(
            draws=Surfaces(rows=paired, flops=flops),
            estimate=Surfaces(rows=estimate, flops=flops),
            factor=factor,
        )
    return {
        "said_by": "the answer",
        "draws": Landscape(path=law, shape=shape, flops=flops),
        "estimate": None,
        "shape_from": shape_from,
    }


def of_approach(block: Mapping[str, Any], flops: FlopsPerUnit) -> dict[str, Any]:
    """Read an approach that answers itself: a surface is then its own path."""
    approach, estimate, draws, factor = _rows(block)

    def path_of(rows: Array) -> Path:
        if _has_surface(approach):
            return Surfaces(rows=rows, flops=flops)
        return LawPath(approach=approach, rows=rows, flops=flops)

    def landscape(path: Path, rows: Array, factor: float) -> Landscape:
        shape = None
        if _has_surface(approach):
            shape = Shape(draws=path_of(rows), estimate=path_of(estimate), factor=factor)
        return Landscape(path=path, shape=shape, flops=flops)

    centre = path_of(estimate)
    apart = MovedApart(draws=path_of(draws), estimate=centre, factor=factor)
    return {
        "said_by": approach.called,
        "draws": landscape(apart, draws, factor) if len(draws) else None,
        "estimate": landscape(centre, estimate, 1.0),
        "shape_from": approach.called
        if _has_surface(approach)
        else f"{approach.called} fits no surface, and none is kept beside it: {EARLIER}",
    }


def _has_surface(approach: Approach) -> bool:
    """Say whether its rows are those of `Surfaces`."""
    return approach.columns[: len(SURFACE_COLUMNS)] == SURFACE_COLUMNS


def _rows(block: Mapping[str, Any]) -> tuple[Approach, Array, Array, float]:
    """Return an approach, its estimate (1, n), its draws (n_draws, n), and its factor.

    A resample without an optimum, such as one without A, is NaN as a whole.
    """
    approach = approach_named(block["approach"])
    columns = approach.columns
    estimate = np.array([[block["estimate"][key] for key in columns]], float)
    drawn = [np.array(block["draws"][key].split(), float) for key in columns]
    draws = np.stack(drawn, axis=-1)
    if _has_surface(approach):
        draws[~np.isfinite(draws).all(axis=1)] = np.nan
    return approach, estimate, draws, float(block["stretch"])
