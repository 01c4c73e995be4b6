"""Columns in another unit than they should be, recognised by orders of magnitude."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.table import RunTable
from flops_fit.laws.judgement.judgement import Judgement, judge

NATS_PER_UNIT = "nats_per_unit"
"""The unit of a loss that is nats per whatever D counts."""

FLOPS_PER_PARAM = 6.0
"""C = 6 N D of a transformer (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""

USUAL_FACTOR = 3.0
"""Counted FLOPs lie within this factor of 6 N D. The next unit of C is 11 times another."""

IMPOSSIBLE_K = (0.06, 1e5)
"""C/(N D) beyond these is an error of units: a hundredth of 6, more than sparse models save, and
more than a unit of many tokens (an image of 1000 patches: 6000) costs."""

COUNT_UNITS = {"millions": 1e6, "billions": 1e9}
COMPUTE_UNITS = {
    "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15, "EFLOP": 1e18, "ZFLOP": 1e21,
    "TF-days": 8.64e16, "PF-days": 8.64e19, "EF-days": 8.64e22,
}  # fmt: skip
UNITS: Mapping[str, Mapping[str | None, float]] = {
    "N": {None: 1.0, **COUNT_UNITS},
    "D": {None: 1.0, **COUNT_UNITS, "trillions": 1e12},
    "C": {None: 1.0, **COMPUTE_UNITS},
}
"""What people write columns in, by name; None is what a column should be in."""

PLAUSIBLE = {"N": (1e3, 1e13), "D": (1e4, 1e16), "C": (1e9, 1e28)}
"""Medians of sweeps that anybody may have run: from toys to the largest trainings."""

USUAL = {"N": 3e8, "D": 1e10}
"""Where several units would do, that which brings N and D nearest to an ordinary sweep."""

SMALL_COUNT = 1e4
"""Counts of parameters and units are whole numbers; fractions of small ones are in a unit."""

ABSURD = frozenset(
    ("compute_off_budget", "compute_differs_from_6nd", "optimum_differs_from_6nd", "extrapolation")
)
"""Judgements that compare FLOPs with FLOPs that are in another unit."""

TEXT_FLOOR = 1.69
"""Nats per token below which text was not predicted: E of Hoffmann et al. 2022 (arXiv 2203.15556,
equation 10). Losses in bits or nats per byte lie below."""


def judge_units(runs: RunTable, loss_unit: str | None = NATS_PER_UNIT) -> list[Judgement]:
    """Return one judgement on all columns that are in another unit, an empty list if none is.

    Parameters
    ----------
    loss_unit : str, optional
        Unit of the losses; None if nobody has said it, and it is taken for nats per token.
    """
    k = runs.C / runs.N / runs.D
    off = (k < IMPOSSIBLE_K[0]) | (k > IMPOSSIBLE_K[1])
    found = _off_by_factors(runs.take(off)) if off.any() else _no_counts(runs)
    n = int(off.sum()) or len(runs)
    if off.any():
        k = k[off]
    if loss_unit is None and 0 < runs.L.min() and np.median(runs.L) < TEXT_FLOOR:
        found.append(_entry("loss", runs.L, "bits per byte"))
    return (
        [judge("units", columns=found, n=n, of=len(runs), k=np.median(k), floor=TEXT_FLOOR)]
        if found
        else []
    )


def scales_are_wrong(judgements: Iterable[Judgement]) -> bool:
    """Say whether `judge_units` found N, D or C in another unit, so that 6 N D says nothing."""
    columns = [item.values["columns"] for item in judgements if item.code == "units"]
    return any(entry["column"] != "loss" for found in columns for entry in found)


def without_absurdities(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Leave out what says again, in absurd numbers, that N, D or C is in another unit."""
    if not scales_are_wrong(judgements):
        return list(judgements)
    return [item for item in judgements if item.code not in ABSURD]


def _entry(
    column: str, values: NDArray[np.float64], unit: str | None, factor: float | None = None
) -> dict[str, Any]:
    lowest, highest = float(values.min()), float(values.max())
    return {
        "column": column, "unit": unit, "factor": factor, "lowest": lowest, "highest": highest,
    }  # fmt: skip


def _off_by_factors(runs: RunTable) -> list[dict[str, Any]]:
    """Return the columns whose units explain why C/(N D) of all these runs is impossible."""
    k = float(np.median(runs.C / runs.N / runs.D))
    medians = {name: float(np.median(getattr(runs, name))) for name in UNITS}
    best: tuple[tuple[int, float], dict[str, str | None]] | None = None
    for units in itertools.product(*UNITS.values()):
        named = dict(zip(UNITS, units, strict=True))
        factors = {name: UNITS[name][unit] for name, unit in named.items()}
        usual = k * factors["C"] / factors["N"] / factors["D"] / FLOPS_PER_PARAM
        if not 1 / USUAL_FACTOR <= usual <= USUAL_FACTOR:
            continue
        meant = {name: medians[name] * factors[name] for name in UNITS}
        if not all(low <= meant[name] <= high for name, (low, high) in PLAUSIBLE.items()):
            continue
        distance = sum(abs(np.log(meant[name] / usual)) for name, usual in USUAL.items())
        rank = (sum(unit is not None for unit in units), float(distance))
        if best is None or rank < best[0]:
            best = rank, named
    named = best[1] if best else dict.fromkeys(UNITS)
    return [
        _entry(name, getattr(runs, name), unit, None if unit is None else UNITS[name][unit])
        for name, unit in named.items()
        if unit is not None or best is None
    ]


def _no_counts(runs: RunTable) -> list[dict[str, Any]]:
    """Return columns that hold no counts, though they go together: one is taken from the others."""
    small = {
        name: values
        for name, values in (("N", runs.N), ("D", runs.D), ("C", runs.C))
        if np.median(values) < SMALL_COUNT
    }
    if not any((values != np.round(values)).any() for values in small.values()):
        return []
    return [_entry(name, values, None) for name, values in small.items()]
