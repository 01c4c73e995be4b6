"""The results of a fit as typed objects, and how they are written to fit.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flops_fit.laws.answer.answer import Answer
from flops_fit.laws.approach import Approach
from flops_fit.laws.backtest.own import Backtest
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import Exclusion
from flops_fit.laws.evidence.intervals import Interval
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.forms.quantities import Draws
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.holdout import HoldoutScore
from flops_fit.laws.judgement.judgement import Judgement, add_judgements
from flops_fit.laws.recommendation import Recommendation, recommend_surface
from flops_fit.laws.results import ApproachResult, Prediction, Profile

QUANTITIES = ("N_opt", "D_opt", "L_opt", "D_per_N")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """The uncertainty of an approach, from resamples."""

    draws: Draws
    what: str
    """What was resampled, for a sentence."""
    small_sample_factor: float
    scatter_factor: float
    intervals: dict[str, Interval]
    std_err: dict[str, float] | None
    """Of the parameters of a surface."""

    @property
    def method(self) -> str:
        """How the intervals were computed, for a sentence."""
        text = (
            f"percentiles of refits to resampled {self.what}, times a small-sample factor of "
            f"{self.small_sample_factor:.3f}"
        )
        if self.scatter_factor != 1:
            factor = f"{self.scatter_factor:.3g}"
            text += f" (of N_opt and D_opt times another {factor}, by the scatter of the minima)"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedApproach:
    """One approach of a fit, with its predictions and intervals if it has laws."""

    approach: Approach
    result: ApproachResult
    predictions: tuple[Prediction, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    resampled: Resampled | None = None

    def interval(self, quantity: str) -> Interval:
        """Return the interval of a quantity, None where there is none."""
        return None if self.resampled is None else self.resampled.intervals.get(quantity)

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `approaches` in fit.json, of plain Python values."""
        result = self.result
        laws = {name: getattr(result, name) for name in ("N_opt", "D_opt", "L_opt")}
        return {
            "status": result.status,
            "reason": result.reason,
            **{name: self._law_to_json(name, law) for name, law in laws.items()},
            "surface": self._surface_to_json(result.surface),
            "points": [asdict(point) for point in result.points],
            "profiles": [_profile_to_json(profile) for profile in result.profiles],
            "predictions": [self._prediction_to_json(i) for i in range(len(self.predictions))],
            "warnings": [],
        }

    def _law_to_json(self, name: str, law: PowerLaw | None) -> dict[str, Any] | None:
        if law is None:
            return None
        keys = ("coefficient", "exponent")
        return {**asdict(law), "ci": {key: self.interval(f"{name} {key}") for key in keys}}

    def _surface_to_json(self, surface: Surface | None) -> dict[str, Any] | None:
        if surface is None:
            return None
        entry: dict[str, Any] = {name: getattr(surface, name) for name in surface.parameters}
        entry["objective"] = self.result.objective
        entry["ci"] = {name: self.interval(name) for name in surface.parameters}
        if self.resampled is not None and self.resampled.std_err is not None:
            entry["std_err"] = self.resampled.std_err
        return entry

    def _prediction_to_json(self, i: int) -> dict[str, Any]:
        entry = asdict(self.predictions[i])
        for quantity in QUANTITIES:
            found = self.interval(quantity)
            entry[f"{quantity}_ci"] = None if found is None else found[i]
        return entry

    def rows_to_json(self) -> dict[str, Any]:
        """Return the estimate and the draws of its parameters, from which all else is computed.

        The draws of each parameter are one text of numbers, so that a thousand stay one line.
        """
        approach, resampled = self.approach, self.resampled
        draws: Sequence[Any] = [[]] * len(approach.columns)
        if resampled is not None:
            draws = approach.drawn_parameters(resampled.draws).T
        parameters = approach.parameters(self.result)
        return {
            "estimate": dict(zip(approach.columns, parameters, strict=True)),
            "draws": {
                name: " ".join(f"{value:.9g}" for value in values)
                for name, values in zip(approach.columns, draws, strict=True)
            },
            # The name of the small-sample factor in files
            "stretch": 1.0 if resampled is None else resampled.small_sample_factor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """All results of a fit."""

    study: str
    params: str
    loss_unit: str | None
    flops: FlopsPerUnit
    N_opt_ratio_to_6ND: float | None
    n_runs: int
    excluded: tuple[Exclusion, ...]
    approaches: tuple[FittedApproach, ...]
    holdout: tuple[HoldoutScore, ...]
    answer: Answer
    backtest: Backtest | None
    """None where the answer has no law."""
    if_form_is_exact: Recommendation
    """The approach whose narrower intervals hold if its form is exact."""
    judgements: tuple[Judgement, ...]
    """Of all approaches, and of none."""
    measured: tuple[float, ...]
    """Budgets, and the C of runs without one, FLOPs."""
    level: float
    n_resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the content of fit.json."""
        fit: dict[str, Any] = {
            "study": self.study,
            "params": self.params,
            "loss_unit": self.loss_unit,
            "k": {
                "value": self.flops.k,
                "source": "median of C/(N D) over the runs",
                "N_opt_ratio_to_6ND": self.N_opt_ratio_to_6ND,
                "N": np.exp(self.flops.log_N).tolist(),
                "flops_per_unit": np.exp(self.flops.log_flops).tolist(),
            },
            "interval_method": self._interval_method(),
            "n_runs": self.n_runs,
            "excluded": [asdict(exclusion) for exclusion in self.excluded],
            "approaches": {item.approach.name: item.to_json() for item in self.approaches},
            "holdout": [score.to_json() for score in self.holdout],
            "answer": self._answer_to_json(),
            "backtest": None if self.backtest is None else self.backtest.to_json(),
            "recommended": {"approach": self.answer.method, "why": self.answer.why},
        }
        add_judgements(fit, self.judgements)
        return fit | {
            "prediction": self._prediction_to_json(),
            "surface": self._kept_surface_to_json(),
        }

    def _answer_to_json(self) -> dict[str, Any]:
        exact = self.if_form_is_exact
        chosen = self._named(exact.approach)
        rows = [] if chosen is None else chosen.to_json()["predictions"]
        return self.answer.to_json() | {"if_form_is_exact": {**asdict(exact), "predictions": rows}}

    def _interval_method(self) -> str | None:
        used: dict[str, list[str]] = {}
        for item in self.approaches:
            if item.resampled is not None:
                used.setdefault(item.resampled.method, []).append(item.approach.name)
        if not used:
            return None
        text = "; ".join(f"{how} (approach {', '.join(names)})" for how, names in used.items())
        resamples = f"{self.n_resamples} resamples, seed {self.seed}"
        return f"{self.level:.0%} intervals from {resamples}: {text}"

    def _prediction_to_json(self) -> dict[str, Any] | None:
        """Return `prediction` of fit.json: the laws behind `answer.if_form_is_exact`, if any."""
        item = self._named(self.if_form_is_exact.approach)
        if item is None:
            return None
        budgets = [min(self.measured), max(self.measured)]
        return item.rows_to_json() | {"budgets": budgets, "ci": self.level}

    def _kept_surface_to_json(self) -> dict[str, Any] | None:
        """Return `surface` of fit.json, for the loss beside the optimum; None without one."""
        fitted = [(item.approach, item.result) for item in self.approaches]
        kept = recommend_surface(fitted, self.holdout)
        item = self._named(kept.approach)
        return None if item is None else asdict(kept) | item.rows_to_json()

    def _named(self, name: str | None) -> FittedApproach | None:
        return next((item for item in self.approaches if item.approach.name == name), None)


def _profile_to_json(profile: Profile) -> dict[str, Any]:
    entry = asdict(profile)
    for name in ("N", "L", "weights"):
        entry[name] = entry[name].tolist()
    return entry | {"coefficients": list(profile.coefficients)}
