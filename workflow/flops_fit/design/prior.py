"""What is assumed of the law before the first run: from a number, a published law, or a fit.json.

All are put as five quantities at one compute, the largest budget of the sweep: the optimum and how
it grows, how steep the loss is, and how much of it is left in the end. They are what is known of a
law before a sweep, each with its own uncertainty; the parameters of L = E + A/N^alpha + B/D^beta
follow from them. The loss itself is not expected anywhere, since it depends on tokens and data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from flops_fit.design.published import PUBLISHED, SIX, PublishedLaw
from flops_fit.errors import UserError
from flops_fit.laws.answer.law import ANSWER_COLUMNS, OptimumLaw
from flops_fit.laws.answer.priors import PathPriors
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.surface import Surface, optimal_log_N
from flops_fit.laws.reading import read_fit

Array = NDArray[np.float64]

DEFAULT = 20.0
"""Units per parameter where nothing is stated: Hoffmann et al. 2022 (arXiv 2203.15556), table 3."""

N_STD = float(np.log(3.0))
"""Standard deviation of log N_opt about a rule: published laws lie within a factor 3 of each other
up to 1e22 FLOPs, and other data and tokenizers move them as much."""

OWN_N_STD = float(np.log(1.2))
"""The least of an earlier fit, whose data or recipe were others."""

EXPONENT_STD = PathPriors().exponent[1]
"""Of a, the exponent of N_opt."""

SUM = (0.72, 0.2)
"""alpha + beta: 0.71 in arXiv 2404.10102, 0.62 in Hoffmann et al. 2022, 0.76 in the prior of
`design.posterior`."""

E_SHARE = (0.7, 0.15)
"""E over L_opt at the largest budget: 0.79 at 1e21 FLOPs in arXiv 2404.10102, 0.73 in Hoffmann et
al. 2022, lower at less. What is left above E makes valleys deep, and a sweep sure: a high share is
the careful assumption. The same mean is in the prior of `design.posterior`."""

LOSS = (3.0, 1.0)
"""L_opt at the largest budget in nats, and the standard deviation of its logarithm: a scale that
no design depends on."""

LEAST, MOST = 0.03, 0.97
"""Range of exponents a and shares E / L_opt, so that no term of a law is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLaw:
    """A law with its uncertainty.

    Parameters
    ----------
    mean : ndarray, shape (5,)
        log A, log B, log E (natural logs), alpha, beta of L = E + A/N^alpha + B/D^beta.
    covariance : ndarray, shape (5, 5)
        Of these.
    name, source : str
        What it is called, and where its figures are from.
    """

    mean: Array
    covariance: Array
    name: str
    source: str

    @property
    def surface(self) -> Surface:
        """The mean as a surface."""
        return Surface.from_row(self.mean)

    def N_opt(self, C: float, flops: FlopsPerUnit) -> float:
        """Return N of the lowest loss that `C` FLOPs buy under the mean."""
        return float(np.exp(optimal_log_N(self.mean[np.newaxis], [C], flops)[0, 0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is known of a law at one compute: values, and their standard deviations.

    `values` and `stds` have shape (5,): log N_opt, a (the exponent of N_opt under C = k N D),
    alpha + beta, E / L_opt, log L_opt. `covariance`, if given, replaces the stds.
    """

    log_C: float
    values: Array
    stds: Array
    covariance: Array | None = None

    def law(self, flops: FlopsPerUnit, name: str, source: str) -> PriorLaw:
        """Return the law whose parameters follow, with their covariance by the delta method."""
        J = np.stack([_slope(self, i, flops) for i in range(5)], axis=1)
        own = np.diag(self.stds**2) if self.covariance is None else self.covariance
        return PriorLaw(
            mean=_parameters(self.values, self.log_C, flops),
            covariance=J @ own @ J.T,
            name=name,
            source=source,
        )


def prior_of(
    value: float | str | None,
    flops: FlopsPerUnit,
    budget: float,
    folder: str | Path = ".",
) -> PriorLaw:
    """Return the law that a study expects.

    Parameters
    ----------
    value : number, str or None
        Units per non-embedding parameter, the name of a law in `published.PUBLISHED`, or the path
        of an earlier fit.json or of its folder; None for 20 units per parameter.
    flops : FlopsPerUnit
        Of the study's sizes.
    budget : float
        Its largest budget, FLOPs.
    folder : path
        Where a relative path starts.

    Raises
    ------
    UserError
        "found ..., expected ...", to which the caller adds file and key.
    """
    if value is None:
        value = DEFAULT
    if not isinstance(value, str):
        return _of_ratio(float(value), flops, budget)
    if value in PUBLISHED:
        return _of_published(PUBLISHED[value], flops, budget)
    path = Path(folder) / value
    if not path.exists():
        raise UserError(
            f"found {value!r}, expected a number of units per parameter, the name of a law "
            f"({', '.join(PUBLISHED)}), or the path of a fit.json; there is no file {path}"
        )
    return _of_fit(path, flops, budget)


def _of_ratio(ratio: float, flops: FlopsPerUnit, budget: float) -> PriorLaw:
    """Return the law of D_opt = ratio N_opt, which has alpha = beta."""
    if not (np.isfinite(ratio) and ratio > 0):
        raise UserError(f"found {ratio:g}, expected a positive number of units per parameter")
    log_N = _log_N_where(lambda x: np.log(ratio) + x, flops, np.log(budget))
    values = np.array([log_N, 0.5, SUM[0], E_SHARE[0], np.log(LOSS[0])])
    name = f"{ratio:g} units per parameter"
    return _expected(values, np.log(budget)).law(flops, name, "a rule of thumb")


def _of_published(law: PublishedLaw, flops: FlopsPerUnit, budget: float) -> PriorLaw:
    log_C = float(np.log(budget))
    log_D = law.log_D_opt(log_C)
    log_N = _log_N_where(lambda x: log_D, flops, log_C)
    total, share, log_L = SUM[0], E_SHARE[0], np.log(LOSS[0])
    if law.surface is not None:
        total = law.surface.alpha + law.surface.beta
        # Beyond its own runs a law says nothing of losses: 50 nats at 1e11
        within = float(np.clip(log_C, *np.log(law.measured)))
        D = np.exp(law.log_D_opt(within))
        log_L = np.log(law.surface.loss(np.exp(within) / (SIX * D), D))
        share = law.surface.E / np.exp(log_L)
    values = np.array([log_N, 1 - law.b, total, share, float(log_L)])
    return _expected(values, log_C).law(flops, law.name, f"{law.title} ({law.source})")


def _expected(values: Array, log_C: float) -> Expectation:
    stds = np.array([N_STD, EXPONENT_STD, SUM[1], E_SHARE[1], LOSS[1]])
    return Expectation(log_C=float(log_C), values=values, stds=stds)


def _of_fit(path: Path, flops: FlopsPerUnit, budget: float) -> PriorLaw:
    """Return the answer of an earlier study, with the uncertainty that it has at this compute."""
    fit, source = read_fit(path)
    try:
        answer, study = fit["answer"], str(fit["study"])
        law = None if answer["law"] is None else OptimumLaw.from_json(answer["law"])
        theirs = _flops_of(fit["k"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{source}: is not a fit.json with an answer ({error!r}); fit that study again"
        ) from None
    if law is None:
        raise UserError(f"{source}: gives no law: {answer['why']}")
    drawn = _draws(law, theirs, flops, float(np.log(budget)))
    values = np.median(drawn, axis=0)
    covariance = np.cov(drawn, rowvar=False) + np.diag([OWN_N_STD**2, 0, 0, 0, 0])
    found = Expectation(
        log_C=float(np.log(budget)), values=values, stds=np.zeros(5), covariance=covariance
    )
    return found.law(flops, f"the answer of {study}", source)


def _flops_of(k: Mapping[str, Any]) -> FlopsPerUnit:
    """Read the accounting of a fit.json."""
    N, per_unit = np.array(k["N"], float), np.array(k["flops_per_unit"], float)
    return FlopsPerUnit(log_N=np.log(N), log_flops=np.log(per_unit), k=float(k["value"]))


def _draws(law: OptimumLaw, theirs: FlopsPerUnit, ours: FlopsPerUnit, log_C: float) -> Array:
    """Return draws of the five quantities, shape (n_draws, 5), from an answer's laws.

    D_opt goes from one study to the other, see `published`. By the envelope theorem L_opt falls
    with C as -beta B/D^beta, so that the slope of log(L_opt - E) gives alpha + beta.
    """
    step, at = 0.5, np.array([log_C])
    log_N = law.log_N_opt(at)[:, 0]
    log_D = log_C - np.log(theirs.flops_per_unit(np.exp(log_N)))
    s = np.array([_local_power(theirs, float(np.median(log_N)))])
    rise = (law.log_N_opt(at + step) - law.log_N_opt(at - step))[:, 0] / (2 * step)
    a = np.clip(rise / (1 + rise * (1 - s)), LEAST, MOST)
    log_N = np.array([_log_N_where(lambda x, d=d: d, ours, log_C) for d in log_D])
    n = len(log_N)
    if not law.has_loss:
        known = np.random.default_rng(0).standard_normal((n, 3))
        total, share, log_L = (known * [SUM[1], E_SHARE[1], LOSS[1]]).T
        return np.stack([log_N, a, SUM[0] + total, E_SHARE[0] + share, np.log(LOSS[0]) + log_L], 1)
    E = law.rows[:, ANSWER_COLUMNS.index("L_opt offset")]
    L = law.L_opt(at)[:, 0]
    fall = np.log((law.L_opt(at - step)[:, 0] - E) / (law.L_opt(at + step)[:, 0] - E)) / (2 * step)
    total = fall * (1 - a + a * s) / (a * (1 - a))
    return np.stack([log_N, a, total, E / L, np.log(np.maximum(L, np.finfo(float).tiny))], axis=1)


def _log_N_where(log_D: Any, flops: FlopsPerUnit, log_C: float) -> float:
    """Return the log N on which C FLOPs train log_D(log N) units."""

    def spent(x: float) -> float:
        return float(np.log(flops.flops_per_unit(np.exp(x))) + log_D(x) - log_C)

    low, high = flops.log_N[0] - 60.0, flops.log_N[-1] + 60.0
    if spent(low) >= 0 or spent(high) <= 0:
        raise UserError("found an optimum beyond all sizes, expected one that can be trained")
    return float(brentq(spent, low, high, xtol=1e-10))


def _local_power(flops: FlopsPerUnit, log_N: float) -> float:
    """Return s of flops_per_unit ~ N^s within a factor 6 of N, which is where runs will be."""
    x = log_N + np.array([-1, 1]) * np.log(6.0)
    y = np.log(flops.flops_per_unit(np.exp(x)))
    return float(max((y[1] - y[0]) / (x[1] - x[0]), 0.1))


def _parameters(values: Array, log_C: float, flops: FlopsPerUnit) -> Array:
    """Return log A, log B, log E, alpha, beta of the five quantities.

    At the lowest loss along D = C / (c N^s) the terms relate as alpha A/N^alpha = beta s B/D^beta,
    and together they are what L_opt has above E.
    """
    log_N, a, total, share, log_L = (float(value) for value in values)
    a, share = float(np.clip(a, LEAST, MOST)), float(np.clip(share, LEAST, MOST))
    total = max(total, 2 * LEAST)
    alpha, beta = (1 - a) * total, a * total
    s = _local_power(flops, log_N)
    log_D = log_C - float(np.log(flops.flops_per_unit(np.exp(log_N))))
    log_above = log_L + np.log1p(-share)
    log_A = log_above + np.log(beta * s / (alpha + beta * s)) + alpha * log_N
    log_B = log_above + np.log(alpha / (alpha + beta * s)) + beta * log_D
    return np.array([log_A, log_B, log_L + np.log(share), alpha, beta])


def _slope(about: Expectation, i: int, flops: FlopsPerUnit) -> Array:
    """Return the derivative of the parameters by the i-th quantity, shape (5,)."""
    step = np.zeros(5)
    step[i] = 1e-4
    above, below = (_parameters(about.values + d, about.log_C, flops) for d in (step, -step))
    return (above - below) / (2 * step[i])
