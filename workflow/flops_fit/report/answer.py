"""The answer of fit.json as typed objects for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.report.predictions import Interval, Prediction, read_interval

Array = NDArray[np.float64]

METHODS = {
    "path": "a path through the optima of the budgets",
    "strata": "a path through the optima of strata of like compute",
    "minimum": "the minimum of one budget",
}
"""What the methods of the answer are called."""

TEN_TIMES = float(np.log(10.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPoint:
    """An optimum that the answer rests on, with standard errors."""

    C: float
    N_opt: float
    log_N_opt_std_err: float
    L_opt: float
    L_opt_std_err: float
    n: int
    """Runs that it was found from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """What the answer assumes of the error of the form, and what that costs."""

    name: str
    """`N_bend`, `N_scatter`, `L_bend` or `L_scatter`."""
    prior: float | tuple[float, float]
    """Mean and standard deviation of a bend, median of a scatter."""
    found: float | None
    """What the runs leave of a bend, with its interval."""
    interval: Interval | None
    cost: float
    """Width of the interval at the largest C over the width without the assumption."""

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> Assumption:
        """Read an entry of `answer.form_error` in fit.json."""
        prior, found = entry["prior"], entry["found"]
        return cls(
            name=name,
            prior=tuple(prior) if isinstance(prior, list) else prior,
            found=found and found["value"],
            interval=read_interval(found and found["ci"]),
            cost=entry["cost"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FormError:
    """The error of the form that the answer's intervals hold."""

    C: float
    """The largest predicted C, at which the costs are."""
    assumptions: tuple[Assumption, ...]

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> FormError:
        """Read `answer.form_error` of fit.json."""
        names = ("N_bend", "N_scatter", "L_bend", "L_scatter")
        return cls(
            C=entry["C"],
            assumptions=tuple(
                Assumption.from_json(name, entry[name]) for name in names if entry.get(name)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IfExact:
    """The approach whose narrower intervals hold if its form is exact."""

    approach: str | None
    why: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearOptimum:
    """The surface of a designed sweep's runs near the optimum, see `laws.designed_sweep`."""

    why: str | None
    """Why there is none."""
    left_out: int
    """Runs too far from the optimum to count."""
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedAnswer:
    """N_opt, D_opt and L_opt of a study, and how sure they are."""

    method: str | None
    """One of `METHODS`; None if there is no answer."""
    why: str
    level: float
    points: tuple[AnswerPoint, ...]
    predictions: tuple[Prediction, ...]
    """Ascending in C."""
    law: OptimumLaw | None
    """None for a single budget."""
    flops: FlopsPerUnit
    form_error: FormError | None
    if_exact: IfExact
    near_optimum: NearOptimum | None = None
    """Of designed sweeps alone."""

    @classmethod
    def from_json(cls, answer: Mapping[str, Any], k: Mapping[str, Any]) -> ReportedAnswer:
        """Read `answer` and `k` of fit.json."""
        exact, near = answer["if_form_is_exact"], answer.get("near_optimum")
        return cls(
            method=answer["method"],
            why=answer["why"],
            level=answer["ci"],
            points=tuple(AnswerPoint(**point) for point in answer["points"]),
            predictions=_ascending(answer["predictions"]),
            law=answer["law"] and OptimumLaw.from_json(answer["law"]),
            flops=FlopsPerUnit(
                log_N=np.log(k["N"]), log_flops=np.log(k["flops_per_unit"]), k=k["value"]
            ),
            form_error=answer["form_error"] and FormError.from_json(answer["form_error"]),
            if_exact=IfExact(
                approach=exact["approach"],
                why=exact["why"],
                predictions=_ascending(exact["predictions"]),
            ),
            near_optimum=None
            if near is None
            else NearOptimum(
                why=near["why"],
                left_out=near.get("left_out", 0),
                predictions=_ascending(near["predictions"]),
            ),
        )

    @property
    def title(self) -> str:
        """What the method is called."""
        return METHODS[self.method]

    def draws(self, quantity: str, C: ArrayLike) -> Array | None:
        """Return the draws of N_opt, D_opt or L_opt at each C (FLOPs), shape (n_draws, n_C).

        None where there is no law.
        """
        if self.law is None or (quantity == "L_opt" and not self.law.has_loss):
            return None
        log_C = np.log(np.asarray(C, dtype=float))
        if quantity == "L_opt":
            return self.law.L_opt(log_C)
        N = np.exp(self.law.log_N_opt(log_C))
        return N if quantity == "N_opt" else self.flops.D_at(np.exp(log_C), N)

    def along(self, quantity: str, C: ArrayLike) -> tuple[Array, Array, Array] | None:
        """Return the median, and the ends of the interval, of a quantity at each C, (n_C,)."""
        draws = self.draws(quantity, C)
        if draws is None:
            return None
        tails = (0.5, (1 - self.level) / 2, (1 + self.level) / 2)
        middle, low, high = np.quantile(draws, tails, axis=0)
        return middle, low, high

    def exponent(self, quantity: str) -> tuple[float, Interval] | None:
        """Return the exponent of N_opt or D_opt over a factor of ten of C in the measured middle.

        With its interval; None without a law.
        """
        if self.law is None:
            return None
        C = np.exp(self.law.centre + TEN_TIMES * np.array([-0.5, 0.5]))
        slopes = np.diff(np.log(self.draws(quantity, C)), axis=1)[:, 0] / TEN_TIMES
        tails = (0.5, (1 - self.level) / 2, (1 + self.level) / 2)
        middle, low, high = np.quantile(slopes, tails).tolist()
        return middle, (low, high)


def _ascending(rows: list[Mapping[str, Any]]) -> tuple[Prediction, ...]:
    return tuple(sorted(map(Prediction.from_json, rows), key=lambda row: row.C))
