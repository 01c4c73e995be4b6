"""Predictions of fit.json at one compute as typed objects for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Interval = tuple[float, float]

LAWS = ("N_opt", "D_opt", "L_opt")
"""The quantities for which an approach gives laws: parameters, units, nats per unit."""
QUANTITIES = (*LAWS, "D_per_N")
"""The quantities that are predicted; D_per_N is in units per parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A predicted value, and its interval if one was computed."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The predictions of the answer, or of an approach, at one C."""

    C: float
    extrapolated: bool
    """C lies outside the measured budgets."""
    estimates: Mapping[str, Estimate]
    """By `QUANTITIES`. L_opt has no value if the fit found no law for the loss."""

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Prediction:
        """Read a prediction of fit.json."""
        values = {name: row[name] for name in LAWS}
        values["D_per_N"] = row.get("D_per_N", row["D_opt"] / row["N_opt"])
        return cls(
            C=float(row["C"]),
            extrapolated=bool(row["extrapolated"]),
            estimates={
                name: Estimate(value=value, interval=read_interval(row.get(f"{name}_ci")))
                for name, value in values.items()
            },
        )


def read_interval(pair: Sequence[float] | None) -> Interval | None:
    """Read an interval of fit.json, null if there is none."""
    return None if pair is None else (pair[0], pair[1])
