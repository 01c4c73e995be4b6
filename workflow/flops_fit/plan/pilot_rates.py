"""Pure mathematics of a learning-rate pilot: which rates to try next, the optimum, and its drift.

Rates are factors of ``train.lr``; all logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flops_fit.laws.forms.parabola import ParabolaDesign
from flops_fit.study.recipe_rules import LrFactor

STEP = 3.0
"""Ratio of neighbouring rates: their losses differ by several times the noise (by 1 to 10% in the
study of tests/workflow/test_lr_pilot.py), and a parabola still holds."""

MOST_STEPS = 4
"""Steps from train.lr at which a search for a minimum ends: a factor of 81, beyond which something
else is wrong."""

NOISE = 0.003
"""Standard deviation of log L from seed to seed: the least in benchmarks/planner_scenarios.py."""

_SURE = 2.0  # standard deviations from 0 at which a drift is kept

Losses = Mapping[float, float | None]
"""Factor of train.lr -> loss in nats, None where the run diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """Where the loss of one size is lowest."""

    budget: float
    size: float
    N: float
    D: float
    log_factor: float
    """Of the best rate, over that of train.lr."""
    std: float
    """Standard deviation of it, from noise of `NOISE` in the losses."""
    edge: str | None
    """"below" or "above" if the best rate tried is at that end of them, else None."""
    n_rates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the best rate moves: log factor = level + power_n log(N/n) + power_d log(D/d)."""

    rule: LrFactor
    """The powers that are told from 0 by two standard deviations; the others are 0."""
    power_n: tuple[float, float]
    """Estimate of the power of N and its standard deviation, before that."""
    power_d: tuple[float, float] | None
    """The same of D; None where one budget cannot tell it from that of N."""


def next_factors(losses: Losses) -> list[float]:
    """Return the factors to try next at one size; none once the minimum lies between rates.

    Three rates first; then one beyond the end at which the loss is lowest, and one halfway to a
    rate that diverged beside the best.
    """
    if not losses:
        return [1 / STEP, 1.0, STEP]
    tried = sorted(losses)
    best = _best(losses)
    if best is None:
        return _within([tried[0] / STEP])
    i = tried.index(best)
    if i == 0:
        return _within([best / STEP])
    if i + 1 == len(tried):
        return _within([best * STEP])
    sides = [x for x in (tried[i - 1], tried[i + 1]) if losses[x] is None]
    halfway = [math.sqrt(best * x) for x in sides]
    # One step of halving: beside a cliff, the best rate is the best.
    return [x for x, side in zip(halfway, sides, strict=True) if _apart(best, side)]


def optimum_of(losses: Losses, *, budget: float, size: float, N: float, D: float) -> Optimum | None:
    """Return the optimum of one size by a parabola in log lr through the best rate and its sides.

    At the edge of the rates, or beside one that diverged, the best rate itself. None if every run
    diverged.
    """
    best = _best(losses)
    if best is None:
        return None
    tried = sorted(losses)
    i = tried.index(best)
    edge = "below" if i == 0 else "above" if i + 1 == len(tried) else None
    log_factor, std = math.log(best), math.log(STEP)
    around = tried[max(0, i - 1) : i + 2]
    if edge is None and all(losses[x] is not None for x in around):
        log_factor, std = _vertex(np.log(around), np.array([losses[x] for x in around]))
    return Optimum(
        budget=budget,
        size=size,
        N=N,
        D=D,
        log_factor=log_factor,
        std=std,
        edge=edge,
        n_rates=len(tried),
    )


def drift_of(optima: Sequence[Optimum]) -> Drift:
    """Fit how the best rate moves with N, and with D where there are several budgets.

    Weighted least squares; a power within two standard deviations of 0 is left at 0, the less sure
    one first, since a rule is used far beyond the sizes that decided it.
    """
    log_n = np.log([one.N for one in optima])
    log_d = np.log([one.D for one in optima])
    columns = {"power_n": log_n - log_n.mean(), "power_d": log_d - log_d.mean()}
    if len({one.budget for one in optima}) < 2:
        del columns["power_d"]
    y = np.array([one.log_factor for one in optima])
    std = np.array([one.std for one in optima])
    level, found = _least_squares(columns, y, std)
    first = dict(found)
    kept = dict(columns)
    while kept:
        unsure = min(kept, key=lambda name: abs(found[name][0]) / found[name][1])
        if abs(found[unsure][0]) > _SURE * found[unsure][1]:
            break
        del kept[unsure]
        level, found = _least_squares(kept, y, std)
    rule = LrFactor(
        base=math.exp(level),
        power_n=found.get("power_n", (0.0, 0.0))[0],
        power_d=found.get("power_d", (0.0, 0.0))[0],
        n=math.exp(log_n.mean()),
        d=math.exp(log_d.mean()),
    )
    return Drift(rule=rule, power_n=first["power_n"], power_d=first.get("power_d"))


def _best(losses: Losses) -> float | None:
    finite = {x: L for x, L in losses.items() if L is not None}
    return min(finite, key=lambda x: (finite[x], x)) if finite else None


def _within(factors: list[float]) -> list[float]:
    limit = STEP ** (MOST_STEPS + 0.5)
    return [x for x in factors if 1 / limit < x < limit]


def _apart(one: float, other: float) -> bool:
    """Whether two rates are a whole step apart, so that one between them tells more."""
    return abs(math.log(one / other)) > 0.75 * math.log(STEP)


def _vertex(x: np.ndarray, L: np.ndarray) -> tuple[float, float]:
    """Return the x of the lowest point of a parabola through three points, and its deviation."""
    design = ParabolaDesign.of(x)
    y = np.log(L) if (L > 0).all() else L / np.abs(L).max()
    parabola = design.fit(y)
    _, c1, c2 = np.asarray(parabola.coefficients)
    gradient = np.array([0.0, -1 / (2 * c2), c1 / (2 * c2**2)])
    variance = gradient @ design.covariance(np.full(x.shape, NOISE**2)) @ gradient
    # The vertex lies between the sides of the best rate, whatever the noise.
    return float(parabola.vertex), min(math.sqrt(variance), math.log(STEP))


def _least_squares(
    columns: Mapping[str, np.ndarray], y: np.ndarray, std: np.ndarray
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the level, and each column's coefficient with its standard deviation."""
    X = np.column_stack([np.ones_like(y), *columns.values()]) / std[:, np.newaxis]
    covariance = np.linalg.pinv(X.T @ X)
    coefficients = covariance @ (X.T @ (y / std))
    deviations = np.sqrt(np.diag(covariance))
    found = zip(coefficients[1:].tolist(), deviations[1:].tolist(), strict=True)
    return float(coefficients[0]), dict(zip(columns, found, strict=True))
