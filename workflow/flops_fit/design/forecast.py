"""What a study would find, before it is trained: its rounds, its price, and how sure it will be.

The planner itself plays the rounds against the law that is expected. Then there are two intervals:

- if the form is exact: a surface E + A/N^alpha + B/D^beta through these runs, fitted near the
  optimum, with the covariance that this leaves;
- with the misfit that published sweeps show: what the answer would say of these runs, since its
  intervals hold the scatter and the bends that published sweeps have (`laws.answer.priors`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.history import Kind, Trained
from flops_fit.design.outcome import MIN_RUNS, Interval, Outcome, answered, around
from flops_fit.design.posterior import fit_posterior
from flops_fit.design.question import DesignError
from flops_fit.design.simulation import Course, Designed, Sweep
from flops_fit.design.truth import SCATTER, Truth
from flops_fit.errors import UserError
from flops_fit.laws.approaches.near_optimum import FARTHEST, MIN_KEPT, POWER
from flops_fit.laws.forms.surface import Surface

Array = NDArray[np.float64]

DRAWS = 8
"""Simulated noises that the answer's interval is averaged over: its width varies by a quarter from
one to the next."""

MOST_RUNS = 4000
"""Runs that these hold together: the more there are of one sweep, the less a width varies."""

TRIES = 5
"""Noises of which the first that no check objects to is played: a false alarm is not expected."""

NO_FORECAST = (DesignError, UserError, LinAlgError)
"""What a forecast may raise: no design is possible, or the laws leave the range of numbers."""

CHOICES = (0.5, 2.0)
"""Spends, in multiples of the present one, that a forecast is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRound:
    """A round: what is trained in it, and what that takes."""

    number: int
    kind: Kind
    experiments: int
    spent: float
    """FLOPs."""
    given: bool
    """Whether it was chosen already, and is no forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected of a study.

    Parameters
    ----------
    target, spent : float
        FLOPs; what all rounds take together.
    rounds : tuple of ExpectedRound
    exact, misfit : Outcome
        log N_opt and log L_opt at the target with the intervals of the module's text.
    law, noise
        The surface and the standard deviation of log L that this is expected of.
    """

    target: float
    spent: float
    rounds: tuple[ExpectedRound, ...]
    exact: Outcome
    misfit: Outcome | None
    law: Surface
    noise: float

    @property
    def experiments(self) -> int:
        """How many there are in all rounds."""
        return sum(item.experiments for item in self.rounds)


def forecast(sweep: Sweep, expected: Truth | None = None) -> Forecast:
    """Return what a study is expected to find.

    Parameters
    ----------
    sweep : Designed or Laid
        A design may have rounds already, and goes on from them.
    expected : Truth, optional
        The law; without it, the surface through the runs so far, and before there are any, the
        prior of a design.

    Raises
    ------
    DesignError
        If no design is possible, or the law has no optimum in the range of numbers at the target.
    """
    law = expected if expected is not None else expected_law(sweep)
    course = expected_course(sweep, law)
    if course.refusal:
        raise DesignError(f"with the losses that are expected, {course.refusal}")
    trained = [*sweep.known(), *course.runs]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        exact = _if_exact(trained, sweep, law)
    if not np.isfinite([exact.N.half, exact.L.half]).all():
        raise DesignError(
            f"{law.name} leaves the range of numbers at the target of {sweep.target:.3g} FLOPs"
        )
    given = len(sweep.rounds) if isinstance(sweep, Designed) else 0
    return Forecast(
        target=sweep.target,
        spent=float(sum(run.cell.C for run in course.runs)),
        rounds=tuple(
            ExpectedRound(
                number=chosen.number,
                kind=chosen.kind,
                experiments=len(results),
                spent=float(sum(run.cell.C for run in results)),
                given=i < given,
            )
            for i, (chosen, results) in enumerate(course.rounds)
        ),
        exact=exact,
        misfit=_with_misfit(trained, sweep, law),
        law=law.surface,
        noise=law.noise,
    )


def expected_law(sweep: Sweep) -> Truth:
    """Return the law that the runs so far show, or the prior's mean before there are any."""
    if not isinstance(sweep, Designed):
        raise ValueError("a sweep without a prior needs the law that is expected of it")
    runs = [*sweep.also, *(run for _, results in sweep.rounds for run in results)]
    rows = np.array([(t.cell.N, t.cell.D, t.L) for t in runs if t.L is not None], dtype=float)
    if not len(rows):
        prior = sweep.prior
        return Truth(surface=prior.surface, noise=SCATTER, name=prior.name, source=prior.source)
    found = fit_posterior(np.log(rows[:, 0]), np.log(rows[:, 1]), rows[:, 2])
    return Truth(
        surface=Surface.from_row(found.mean),
        noise=found.noise,
        name="the surface through the runs so far",
        source=f"{len(rows)} runs",
    )


def other_spends(
    sweep: Designed, with_spend: Callable[[float], Designed], spend: float
) -> dict[float, Forecast | str]:
    """Return forecasts at half and twice the spend, or why there is none, by spend."""
    found: dict[float, Forecast | str] = {}
    law = expected_law(sweep)
    for times in CHOICES:
        try:
            found[times * spend] = forecast(with_spend(times * spend), law)
        except NO_FORECAST as error:
            found[times * spend] = str(error)
    return found


def expected_course(sweep: Sweep, law: Truth) -> Course:
    """Return the rounds that are expected: against noise that no check takes for a misfit."""
    for i in range(TRIES):
        course = sweep.play(law, np.random.default_rng([0, i]))
        if not any(chosen.kind == "fill" for chosen, _ in course.rounds):
            break
    return course


def _if_exact(trained: list[Trained], sweep: Sweep, law: Truth) -> Outcome:
    """Return the optimum with the covariance that the information of the runs leaves."""
    cells = [run.cell for run in trained if run.L is not None]
    N, D, C = (np.array([getattr(cell, name) for cell in cells]) for name in ("N", "D", "C"))
    row = law.surface.to_row()
    at = optimum_at(row[np.newaxis], [np.log(sweep.target)], sweep.flops)
    log_L, jacobian = log_loss(row, np.log(N), np.log(D))
    if len(cells) < MIN_RUNS:
        weak = fit_posterior(np.log(N), np.log(D), np.exp(log_L)).prior
        return around(at, np.linalg.inv(jacobian.T @ jacobian / law.noise**2 + weak))
    near = np.abs(np.log(N / law.surface.N_opt(C, sweep.flops))) <= FARTHEST
    if near.sum() >= MIN_KEPT:
        jacobian, C = jacobian[near], C[near]
    # The covariance of a fit that weights runs of one relative noise, see `fit_near_optimum`
    root = (C / C.max()) ** (POWER / 2)
    inverse = np.linalg.pinv(jacobian * root[:, np.newaxis]) * root
    return around(at, law.noise**2 * inverse @ inverse.T)


def _with_misfit(trained: list[Trained], sweep: Sweep, law: Truth) -> Outcome | None:
    """Return the optimum with intervals as wide as the answer's to such runs, on average."""
    cells = [run.cell for run in trained if run.L is not None]
    N, D = (np.array([getattr(cell, name) for cell in cells]) for name in ("N", "D"))
    found = []
    for i in range(max(1, min(DRAWS, MOST_RUNS // len(cells)))):
        L = np.exp(law.log_losses(N, D, np.random.default_rng([1, i])))
        runs = [Trained(cell=cell, L=float(loss)) for cell, loss in zip(cells, L, strict=True)]
        if (outcome := answered(runs, sweep.target)) is not None:
            found.append(outcome)
    if not found:
        return None
    at = optimum_at(law.surface.to_row()[np.newaxis], [np.log(sweep.target)], sweep.flops)
    losses = [one.L for one in found if one.L is not None]
    return Outcome(
        N=_around(float(at.log_N[0, 0]), [one.N for one in found]),
        L=_around(float(at.log_L[0, 0]), losses) if losses else None,
    )


def _around(middle: float, found: list[Interval]) -> Interval:
    below = float(np.mean([one.middle - one.low for one in found]))
    above = float(np.mean([one.high - one.middle for one in found]))
    return Interval(low=middle - below, middle=middle, high=middle + above)
