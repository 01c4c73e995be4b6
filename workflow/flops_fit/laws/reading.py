"""The laws of a fit.json, ready to predict at any compute, with intervals from its draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from flops_fit.errors import UserError
from flops_fit.laws.approaches.registry import approach_named
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.evidence.intervals import intervals_of
from flops_fit.laws.forms.quantities import Draws

Array = NDArray[np.float64]

REACH = 1e30
"""The search for the compute at which a size is best covers 1 to this many FLOPs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """Predictions of the laws at one C, with intervals (lo, hi) if there are draws."""

    C: float
    N: float
    D: float
    L: float | None
    intervals: Mapping[str, tuple[float, float] | None]
    """By name: N_opt, D_opt, D_per_N, L_opt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLaws:
    """The recommended approach of a fit."""

    study: str
    approach: str
    rows: Array
    """The estimate: one row of the approach's `columns`."""
    draws: Array
    """Resamples, shape (n_draws, n_columns); no rows if no intervals were computed."""
    flops: FlopsPerUnit
    budgets: tuple[float, float]
    """Smallest and largest measured budget, FLOPs."""
    level: float
    small_sample_factor: float

    @classmethod
    def from_json(cls, fit: Mapping[str, Any], source: str) -> FittedLaws:
        """Read the content of fit.json; `source` is named in errors.

        Raises
        ------
        UserError
            If it recommends no approach, or is not a fit.json of this version.
        """
        try:
            name = fit["recommended"]["approach"]
            if name is None:
                raise UserError(f"{source}: recommends no approach: {fit['recommended']['why']}")
            stored, k = fit["prediction"], fit["k"]
            N, flops = np.array(k["N"], float), np.array(k["flops_per_unit"], float)
            columns = approach_named(name).columns
            draws = [np.array(stored["draws"][key].split(), float) for key in columns]
            return cls(
                study=str(fit["study"]),
                approach=name,
                rows=np.array([[stored["estimate"][key] for key in columns]], float),
                draws=np.stack(draws, axis=-1),
                flops=FlopsPerUnit(log_N=np.log(N), log_flops=np.log(flops), k=float(k["value"])),
                budgets=(float(stored["budgets"][0]), float(stored["budgets"][1])),
                level=float(stored["ci"]),
                small_sample_factor=float(stored["stretch"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{source}: is not a fit.json that predictions can be made from ({error!r}); fit "
                "the study again"
            ) from None

    def quantities(self, rows: Array, C: Array) -> Draws:
        """Return log N_opt, log D_opt, log D_per_N and L_opt, each (n_rows, n_C)."""
        return approach_named(self.approach).quantities(rows, np.log(C), self.flops)

    def optimum(self, C: float) -> Optimum:
        """Return the optimum at `C` FLOPs.

        Raises
        ------
        UserError
            If C is not a positive number, or the laws leave the range of numbers there.
        """
        if not (np.isfinite(C) and C > 0):
            raise UserError(f"The compute is {C}, but must be a positive number of FLOPs.")
        at = np.array([C])
        estimate = self.quantities(self.rows, at)
        N, D = (float(np.exp(estimate[f"log {key}"][0, 0])) for key in ("N_opt", "D_opt"))
        if not (np.isfinite(N) and np.isfinite(D) and N > 0 and D > 0):
            raise UserError(f"The laws leave the range of numbers at C = {C:g}; ask for less.")
        intervals: dict[str, tuple[float, float] | None] = dict.fromkeys(
            ("N_opt", "D_opt", "D_per_N", "L_opt")
        )
        if len(self.draws):
            draws = self.quantities(self.draws, at)
            keys = ("log N_opt", "log D_opt", "log D_per_N", "L_opt", "N_opt exponent")
            found, _ = intervals_of(
                {key: estimate[key][0] for key in keys},
                {key: draws[key] for key in keys},
                level=self.level,
                factor=self.small_sample_factor,
            )
            for key in intervals:
                pair = found[key]
                intervals[key] = None if pair is None else (pair[0][0], pair[0][1])
        L = float(estimate["L_opt"][0, 0])
        return Optimum(C=C, N=N, D=D, L=L if np.isfinite(L) else None, intervals=intervals)

    def compute_for(self, quantity: str, value: float) -> float:
        """Return the C at which `value` is the best "N_opt" or "D_opt".

        Raises
        ------
        UserError
            If there is none: the value is not positive, or the law does not rise to it.
        """
        if not (np.isfinite(value) and value > 0):
            raise UserError(f"{quantity[0]} is {value}, but must be a positive number.")

        def distance(log_C: float) -> float:
            found = self.quantities(self.rows, np.exp([log_C]))[f"log {quantity}"][0, 0]
            return float(found - np.log(value))

        ends = (0.0, float(np.log(REACH)))
        with np.errstate(over="ignore", invalid="ignore"):
            if not distance(ends[0]) < 0 < distance(ends[1]):
                raise UserError(
                    f"No compute between 1 and {REACH:g} FLOPs has {value:g} as its best "
                    f"{quantity[0]} under the laws of {self.study}."
                )
            return float(np.exp(brentq(distance, *ends, xtol=1e-12)))

    def losses(self, C: Array) -> tuple[Array, Array]:
        """Return L_opt of the estimate (n_C,), and of every draw (n_draws, n_C).

        Draws are moved away from the estimate by the fit's small-sample factor: percentiles of what
        is computed from them are intervals like those of fit.json.
        """
        estimate = self.quantities(self.rows, C)["L_opt"][0]
        if not len(self.draws):
            return estimate, np.empty((0, C.size))
        draws = self.quantities(self.draws, C)["L_opt"]
        return estimate, estimate + self.small_sample_factor * (draws - estimate)
