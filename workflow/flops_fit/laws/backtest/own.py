"""The backtest of a study: its own largest budgets, hidden and predicted by its own answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import binom, norm

from flops_fit.laws.answer.answer import Answer, fit_answer
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.approach import ApproachOptions
from flops_fit.laws.backtest.found import MIN_NEAR, MIN_STRATUM, Found
from flops_fit.laws.backtest.meaning import meaning
from flops_fit.laws.backtest.origins import MIN_KEPT, Kind, Origin, design_of, origins
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.judgement.judgement import Judgement, judge

Refit = Callable[[RunTable], OptimumLaw | None]
"""Fits the answer to the runs that are kept; None if these give none."""

RARE = 0.01
"""Chance below which so few hits are no accident. Small, because predictions of one budget from
several origins hit or miss together."""

NO_TEST = {
    "budgets": f"Fewer than {MIN_KEPT + 1} budgets, or none of the largest has {MIN_NEAR} sizes "
    f"around its optimum: none can be hidden, with {MIN_KEPT} left to predict it from.",
    "strata": f"Fewer than {MIN_KEPT + 1} strata of C, of {MIN_STRATUM} runs each: none can be "
    f"hidden, with {MIN_KEPT} left to predict it from.",
}
"""Said instead of a backtest."""

NOT_POSITIVE = (
    "A loss is not positive: what a stratum of C shows is read off the logarithm of the loss, so "
    "that nothing can be tested."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One quantity at a hidden budget: what was predicted, and what was found."""

    predicted: float
    ci: tuple[float, float]
    found: float
    found_std_err: float
    """Of the natural logarithm of N_opt; of L_opt in the unit of the loss."""
    covered: bool
    """Whether the interval reaches what was found, of which it knows the standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRow:
    """The prediction of one hidden budget from those below the largest `hidden` ones."""

    hidden: int
    C: float
    """Mean of the runs that the optimum was found from, FLOPs."""
    times: float
    """C over the largest C that was kept."""
    N_opt: Checked
    L_opt: Checked | None

    def to_json(self) -> dict[str, Any]:
        """Return an entry of `backtest.rows` in fit.json, of plain Python values."""
        entry = asdict(self)
        for check in (entry["N_opt"], entry["L_opt"]):
            if check is not None:
                check["ci"] = list(check["ci"])
        return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """All predictions of hidden budgets; without rows, `text` says why there are none."""

    kind: Kind
    level: float
    rows: tuple[BacktestRow, ...] = ()
    text: str = ""
    """What the predictions say about the extrapolation that is asked for."""
    judgements: tuple[Judgement, ...] = ()

    def checks(self, quantity: str) -> list[Checked]:
        """Return the predictions of "N_opt" or "L_opt"."""
        found = [getattr(row, quantity) for row in self.rows]
        return [item for item in found if item is not None]

    def hits(self, quantity: str) -> tuple[int, int]:
        """Return how many intervals of a quantity reached what was found, and of how many."""
        checks = self.checks(quantity)
        return sum(item.covered for item in checks), len(checks)

    def to_json(self) -> dict[str, Any]:
        """Return `backtest` of fit.json, of plain Python values."""
        hits = {name: self.hits(name) for name in ("N_opt", "L_opt")}
        return {
            "kind": self.kind,
            "ci": self.level,
            "text": self.text,
            "covered": {name: {"n": n, "of": of} for name, (n, of) in hits.items()},
            "rows": [row.to_json() for row in self.rows],
        }


def backtest_own(
    runs: RunTable, answer: Answer, options: ApproachOptions, asked: Sequence[float]
) -> Backtest | None:
    """Return the backtest of a study's answer, see `backtest_answer`; None if it has no law."""
    if answer.law is None:
        return None

    def refit(kept: RunTable) -> OptimumLaw | None:
        flops = FlopsPerUnit.of(kept)
        return fit_answer(kept, flops, options=options).law

    kind: Kind = "budgets" if answer.method == "path" else "strata"
    return backtest_answer(runs, refit, level=answer.level, asked=asked, kind=kind)


def backtest_answer(
    runs: RunTable,
    refit: Refit,
    *,
    level: float,
    asked: Sequence[float] = (),
    kind: Kind | None = None,
) -> Backtest:
    """Hide the largest 1, 2 and 3 budgets, and predict them with the answer of the others.

    Parameters
    ----------
    runs : RunTable
        Completed runs.
    refit : callable
        Returns the answer to some of the runs.
    level : float
        Nominal coverage of the intervals.
    asked : sequence of float
        C of the predictions that the study asks for, FLOPs.
    kind : {"budgets", "strata"}, optional
        What the answer rests on; None for what the runs look like.
    """
    kind = design_of(runs) if kind is None else kind
    rows: list[BacktestRow] = []
    positive = bool(runs.L.min() > 0)
    if kind == "strata" and not positive:
        return Backtest(kind=kind, level=level, text=NOT_POSITIVE)
    for origin in origins(runs, kind):
        rows += _rows(origin, refit(runs.take(origin.kept)), level)
    test = Backtest(kind=kind, level=level, rows=tuple(rows), text=NO_TEST[kind])
    if not rows:
        return test
    judgements = []
    for quantity in ("N_opt", "L_opt"):
        n, of = test.hits(quantity)
        if of and binom.cdf(n, of, level) < RARE:
            judgements.append(judge("backtest_missed", quantity=quantity, n=n, of=of, level=level))
    ahead = max([C / float(runs.C.max()) for C in asked], default=1.0)
    text = _text(test, ahead, missed=bool(judgements), positive=positive)
    return replace(test, text=text, judgements=tuple(judgements))


def _rows(origin: Origin, law: OptimumLaw | None, level: float) -> list[BacktestRow]:
    if law is None:
        return []
    return [
        BacktestRow(
            hidden=origin.n_hidden,
            C=found.C,
            times=found.C / origin.largest,
            N_opt=_check_N(law, found, level),
            L_opt=_check_L(law, found, level) if law.has_loss else None,
        )
        for found in origin.hidden
    ]


def _check_N(law: OptimumLaw, found: Found, level: float) -> Checked:
    low, middle, high = _percentiles(law.log_N_opt(np.log(found.C))[:, 0], level)
    return Checked(
        predicted=float(np.exp(middle)),
        ci=(float(np.exp(low)), float(np.exp(high))),
        found=float(np.exp(found.log_N)),
        found_std_err=found.log_N_std_err,
        covered=reaches((low, middle, high), found.log_N, found.log_N_std_err, level),
    )


def _check_L(law: OptimumLaw, found: Found, level: float) -> Checked:
    low, middle, high = _percentiles(law.L_opt(np.log(found.C))[:, 0], level)
    return Checked(
        predicted=middle,
        ci=(low, high),
        found=found.L,
        found_std_err=found.L_std_err,
        covered=reaches((low, middle, high), found.L, found.L_std_err, level),
    )


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float, float]:
    low, middle, high = np.quantile(draws, [(1 - level) / 2, 0.5, (1 + level) / 2]).tolist()
    return low, middle, high


def reaches(
    interval: tuple[float, float, float], found: float, std_err: float, level: float
) -> bool:
    """Say whether an interval (low, middle, high) reaches what was found, give or take its error.

    The half-width on the side of what was found and that of its own normal interval are added in
    quadrature: if both are normal, the level is that of their difference.
    """
    low, middle, high = interval
    half = high - middle if found > middle else middle - low
    return bool(abs(found - middle) <= np.hypot(half, norm.ppf((1 + level) / 2) * std_err))


def _text(test: Backtest, ahead: float, *, missed: bool, positive: bool) -> str:
    quantities = ("N_opt", "L_opt") if positive else ("N_opt",)
    errors = {
        quantity: [abs(np.log(item.predicted / item.found)) for item in test.checks(quantity)]
        for quantity in quantities
    }
    return meaning(
        level=test.level,
        N=test.hits("N_opt"),
        L=test.hits("L_opt"),
        factor=float(np.exp(np.mean(errors["N_opt"]))),
        error=float(np.mean(errors["L_opt"])) if errors.get("L_opt") else None,
        tested=max(row.times for row in test.rows),
        asked=ahead,
        missed=missed,
    )
