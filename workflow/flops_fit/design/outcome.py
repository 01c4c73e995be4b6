"""What the runs of a design say in the end: the answer, and the surface if its form is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from flops_fit.design.derivatives import OptimumAt, optimum_at
from flops_fit.design.history import Trained
from flops_fit.design.posterior import fit_posterior
from flops_fit.laws.answer.answer import Question as Asked
from flops_fit.laws.answer.answer import fit_answer
from flops_fit.laws.approaches.near_optimum import fit_near_optimum
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable, read_runs

Array = NDArray[np.float64]

LEVEL = 0.95
"""Nominal coverage of all intervals here."""

MIN_RUNS = 12
"""Runs from which five parameters are fitted without a prior."""

Z = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate of a natural logarithm with its interval."""

    low: float
    middle: float
    high: float

    @classmethod
    def normal(cls, mean: float, std: float) -> Interval:
        """Return the interval of a normal distribution."""
        return cls(low=mean - Z * std, middle=mean, high=mean + Z * std)

    @property
    def half(self) -> float:
        """Half of its width: its exponential is the factor up to which the quantity is known."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Say whether a value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """log N_opt and log L_opt at the target (parameters, nats per unit)."""

    N: Interval
    L: Interval | None
    """None where the losses have no law, or a limit of zero."""


def runs_of(trained: Sequence[Trained]) -> RunTable:
    """Return the runs that have a loss as a table."""
    done = [run for run in trained if run.L is not None]
    return read_runs(
        {
            "id": [f"{i}" for i in range(len(done))],
            "budget": [run.cell.budget for run in done],
            "N": [run.cell.N for run in done],
            "D": [run.cell.D for run in done],
            "C": [run.cell.C for run in done],
            "flops_per_unit": [run.cell.C / run.cell.D for run in done],
            "seed": [run.cell.seed for run in done],
            "loss": [run.L for run in done],
        }
    )[0]


def answered(trained: Sequence[Trained], target: float) -> Outcome | None:
    """Return what the answer says, whose intervals hold the error of the form; None without one."""
    runs = runs_of(trained)
    answer = fit_answer(runs, FlopsPerUnit.of(runs), Asked(C=(target,), level=LEVEL))
    if answer.law is None:
        return None
    found = answer.predictions[0]
    low, high = np.log(found.N_opt_ci)
    L = None
    if found.L_opt is not None and found.L_opt_ci[0] > 0:
        values = np.log([found.L_opt_ci[0], found.L_opt, found.L_opt_ci[1]]).tolist()
        L = Interval(low=values[0], middle=values[1], high=values[2])
    N = Interval(low=float(low), middle=float(np.log(found.N_opt)), high=float(high))
    return Outcome(N=N, L=L)


def if_exact(trained: Sequence[Trained], target: float, flops: FlopsPerUnit) -> Outcome | None:
    """Return what the surface through the runs says: the truth only if its form is exact.

    None where the runs do not tell its parameters: losses that noise hides do not fall with N, or
    the interval of the optimum leaves the range of numbers.

    It is the surface near the optimum (`laws.approaches.near_optimum`), as the table of a design
    has it; through fewer than `MIN_RUNS` runs the planner's own, which has a weak prior.
    """
    runs = runs_of(trained)
    if len(runs) >= MIN_RUNS:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            found = fit_near_optimum(runs, flops).optimum(np.array([target]), LEVEL)
            ends = np.exp([found[0][0], found[1][0]])
        if not (np.isfinite(ends).all() and (ends[:, 0] > 0).all()):
            return None
        return Outcome(N=_interval(found[0][0]), L=_interval(found[1][0]))
    found = fit_posterior(np.log(runs.N), np.log(runs.D), runs.L)
    at = optimum_at(found.mean[np.newaxis], [np.log(target)], flops)
    return around(at, found.covariance)


def around(at: OptimumAt, covariance: Array) -> Outcome:
    """Return the optimum of one surface at one compute, with a covariance of its parameters."""
    stds = [float(np.sqrt(slope[0, 0] @ covariance @ slope[0, 0])) for slope in (at.of_N, at.of_L)]
    return Outcome(
        N=Interval.normal(float(at.log_N[0, 0]), stds[0]),
        L=Interval.normal(float(at.log_L[0, 0]), stds[1]),
    )


def _interval(estimate: Array) -> Interval:
    """Return an estimate, low and high as an interval."""
    middle, low, high = (float(value) for value in estimate)
    return Interval(low=low, middle=middle, high=high)
