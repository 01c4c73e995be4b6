"""The content of fit.json as typed objects for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws import approach as laws
from flops_fit.laws.approaches.registry import approach_named
from flops_fit.laws.judgement.judgement import Judgement
from flops_fit.laws.results import Point, Profile
from flops_fit.report.answer import ReportedAnswer
from flops_fit.report.backtest import Backtest
from flops_fit.report.predictions import LAWS, Interval, Prediction, read_interval

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """y = offset + coefficient * C^exponent, C in FLOPs."""

    coefficient: float
    exponent: float
    offset: float
    r_squared: float | None
    """Of the regression on logs; None if undefined, as for a constant."""
    exponent_interval: Interval | None

    @classmethod
    def from_json(cls, law: Mapping[str, Any]) -> Law:
        """Read a LAW of fit.json."""
        interval = law["ci"] and law["ci"]["exponent"]
        return cls(
            coefficient=law["coefficient"],
            exponent=law["exponent"],
            offset=law["offset"] or 0.0,
            r_squared=law["r_squared"],
            exponent_interval=read_interval(interval),
        )

    def at(self, C: Array) -> Array:
        """Return y at `C`, any shape."""
        return self.offset + self.coefficient * C**self.exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """One approach's entry; laws, points and predictions are there if its status is `ok`."""

    name: str
    status: str
    reason: str
    """Why the status is not `ok`; may be empty."""
    laws: Mapping[str, Law]
    """By `LAWS`; L_opt may be missing."""
    points: tuple[Point, ...]
    profiles: tuple[Profile, ...]
    """Ascending in C; empty for an approach that fits no parabolas."""
    predictions: tuple[Prediction, ...]
    """Ascending in C."""

    @property
    def method(self) -> laws.Approach:
        """The registered approach, with its name and look."""
        return approach_named(self.name)

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> Approach:
        """Read the entry of the approach `name` in fit.json."""
        profiles = [_profile(profile) for profile in entry.get("profiles", ())]
        predictions = [Prediction.from_json(row) for row in entry.get("predictions", ())]
        return cls(
            name=name,
            status=entry["status"],
            reason=entry.get("reason") or "",
            laws={law: Law.from_json(entry[law]) for law in LAWS if entry.get(law)},
            points=tuple(Point(**point) for point in entry.get("points", ())),
            profiles=tuple(sorted(profiles, key=lambda profile: profile.C)),
            predictions=tuple(sorted(predictions, key=lambda prediction: prediction.C)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutScore:
    """How well an approach predicted budgets that its fit had not seen."""

    approach: str
    kind: str
    """`largest`: the largest budgets were left out; `leave_one_out`: a single budget."""
    budgets: tuple[float, ...]
    mean_abs_relative_error: float | None
    """Of L_opt."""
    N_opt_ratio: float | None
    """Predicted over found."""
    per_run_error: float | None
    """Mean relative error of a surface over the runs left out."""

    @classmethod
    def from_json(cls, score: Mapping[str, Any]) -> HoldoutScore:
        """Read an entry of `holdout` in fit.json."""
        return cls(
            approach=score["approach"],
            kind=score["kind"],
            budgets=tuple(score["budgets"]),
            mean_abs_relative_error=score["mean_abs_relative_error"],
            N_opt_ratio=score["N_opt_ratio"],
            per_run_error=score["per_run_error"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFit:
    """What the tables and figures show of a fit."""

    study: str
    params: str
    loss_unit: str | None
    interval_method: str | None
    n_runs: int
    excluded: tuple[str, ...]
    """Ids of the runs that were left out."""
    approaches: tuple[Approach, ...]
    holdout: tuple[HoldoutScore, ...]
    backtest: Backtest | None
    """None without an answer, or in the file of an earlier version."""
    answer: ReportedAnswer
    judgements: tuple[Judgement, ...]

    @classmethod
    def from_json(cls, fit: Mapping[str, Any], source: str = "fit.json") -> ReportedFit:
        """Read the content of fit.json; `source` is named in errors.

        Raises
        ------
        UserError
            If it is not a fit.json of this version.
        """
        try:
            entries = fit["approaches"].items()
            approaches = tuple(Approach.from_json(name, entry) for name, entry in entries)
            return cls(
                study=fit["study"],
                params=fit["params"],
                loss_unit=fit.get("loss_unit"),
                interval_method=fit["interval_method"],
                n_runs=fit["n_runs"],
                excluded=tuple(exclusion["id"] for exclusion in fit["excluded"]),
                approaches=approaches,
                holdout=tuple(HoldoutScore.from_json(score) for score in fit["holdout"]),
                backtest=Backtest.from_json(fit["backtest"]) if fit.get("backtest") else None,
                answer=ReportedAnswer.from_json(fit["answer"], fit["k"]),
                judgements=tuple(Judgement(**judgement) for judgement in fit["judgements"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{source}: is not a fit.json that a report can be made from ({error!r}); delete "
                "it, and a rerun fits the study again"
            ) from None

    @property
    def fitted(self) -> tuple[Approach, ...]:
        """The approaches whose status is `ok`, in the file's order."""
        return tuple(approach for approach in self.approaches if approach.status == "ok")

    @property
    def left_out(self) -> tuple[Approach, ...]:
        """The approaches without laws."""
        return tuple(approach for approach in self.approaches if approach.status != "ok")


def _profile(entry: Mapping[str, Any]) -> Profile:
    arrays = {name: np.asarray(entry[name], float) for name in ("N", "L", "weights")}
    c0, c1, c2 = entry["coefficients"]
    return Profile(**{**entry, **arrays, "coefficients": (c0, c1, c2)})
