"""All that is known when a round is chosen: the runs, the law that they leave, and the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.checks import misfit_of, surprise_of
from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.history import Cell, Choice, Kind, Round, Trained
from flops_fit.design.offer import Offer
from flops_fit.design.placing import Place
from flops_fit.design.posterior import ExpectedOptimum, Posterior, fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import Question
from flops_fit.design.reach import Reach
from flops_fit.design.standing import SAME_BUDGET, Standing

Array = NDArray[np.float64]
Rounds = Sequence[tuple[Round, Sequence[Trained]]]

MIN_FITTED = 8
"""Runs from which a law of five parameters is fitted; before that the prior places experiments."""

LEAST_STD = float(np.log(6.0))
"""The least standard deviation of the prior's log N_opt: it may be off by the width of a pilot, and
shall not hold off what the runs show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a step of the design looks at.

    Parameters
    ----------
    question, offer, prior, rounds
        As given to `next_round`.
    also : sequence of Trained
    standing : Standing
    posterior : Posterior or None
        None before there are runs enough.
    places : dict of budget to Place
        Of the budgets in use, around the optimum by the posterior, or else by the prior.
    misfit : float or None
        p-value of the lack of fit.
    surprises : tuple of float or None
        p-value of each round's predictions.
    """

    question: Question
    offer: Offer
    prior: PriorLaw
    rounds: Rounds
    standing: Standing
    posterior: Posterior | None
    places: dict[float, Place]
    misfit: float | None
    surprises: tuple[float | None, ...]

    @classmethod
    def of(
        cls,
        question: Question,
        offer: Offer,
        prior: PriorLaw,
        rounds: Rounds,
        also: Sequence[Trained],
    ) -> Known:
        """Fit the runs so far and check what was predicted of them.

        Raises
        ------
        DesignError
            If too few budgets can be used, or the sizes do not reach the optimum.
        """
        standing = Standing.of(question, offer, rounds, also)
        expected = _expected(offer, prior, question)
        posterior, misfit = _fitted(standing.done, standing, expected), None
        if posterior is not None:
            budget = np.array([run.cell.budget for run in standing.done])
            misfit = misfit_of(posterior, *standing.columns(), budget)
        reach = Reach(offer=offer, law=prior if posterior is None else posterior)
        standing = replace(standing, budgets=reach.usable(question, standing))
        return cls(
            question=question,
            offer=offer,
            prior=prior,
            rounds=rounds,
            standing=standing,
            posterior=posterior,
            places={
                budget: Place(offer=offer, standing=standing, budget=budget, centre=centre)
                for budget, centre in zip(
                    standing.budgets, reach.centres(standing.budgets)[0], strict=True
                )
            },
            misfit=misfit,
            surprises=_surprises(standing, rounds, also, expected),
        )

    @property
    def left(self) -> float:
        """FLOPs that are not spent."""
        return self.question.spend - self.standing.spent

    def has_had(self, kind: Kind) -> bool:
        """Say whether there was a round of this kind with the present largest budget."""
        top = self.question.budgets[-1]
        return any(
            chosen.kind == kind and _is_same(chosen.checks.get("top"), top)
            for chosen, _ in self.rounds
        )

    def round(self, kind: Kind, cells: Sequence[tuple[Cell, str]], why: str) -> Round:
        """Return a round of cells, each with its reason, and what the runs predict of them."""
        if not self.rounds:
            why += self._unused()
        lost = self.standing.left_out
        if lost:
            named = " and ".join(f"{budget:.3g}" for budget in lost)
            why += f" All runs at {named} FLOPs failed, so that the design does without."
        return Round(
            number=self.rounds[-1][0].number + 1 if self.rounds else 0,
            kind=kind,
            choices=self._predicted(cells),
            why=why,
            checks={
                "lack_of_fit_p": self.misfit,
                "chi2_p": self.surprises[-1] if self.surprises else None,
                "spent": self.standing.spent,
                "left": self.left,
                "top": self.question.budgets[-1],
            },
        )

    def _unused(self) -> str:
        """Name the budgets of the question at which too few sizes can be trained."""
        below = [b for b in self.question.budgets if b not in self.standing.budgets]
        if not below:
            return ""
        named = ", ".join(f"{budget:.3g}" for budget in below)
        return f" The budgets of {named} FLOPs train too few sizes near N_opt, and are not used."

    def _predicted(self, cells: Sequence[tuple[Cell, str]]) -> tuple[Choice, ...]:
        if self.posterior is None or not cells:
            return tuple(Choice(cell=cell, why=why) for cell, why in cells)
        log_N, log_D = (np.log([getattr(cell, key) for cell, _ in cells]) for key in ("N", "D"))
        log_L, jacobian = log_loss(self.posterior.mean, log_N, log_D)
        variance = np.einsum("mi,ij,mj->m", jacobian, self.posterior.covariance, jacobian)
        std = np.sqrt(variance + self.posterior.noise**2)
        return tuple(
            Choice(cell=cell, why=why, log_L=float(m), log_L_std=float(s))
            for (cell, why), m, s in zip(cells, log_L, std, strict=True)
        )


def _is_same(one: float | None, other: float) -> bool:
    return one is not None and abs(one / other - 1) <= SAME_BUDGET


def _expected(offer: Offer, prior: PriorLaw, question: Question) -> ExpectedOptimum:
    """Return what the prior says of the optimum at the lowest budget, for what it is worth."""
    budget = question.budgets[0]
    at = optimum_at(prior.mean[np.newaxis], [np.log(budget)], offer.flops)
    log_N, slope = float(at.log_N[0, 0]), at.of_N[0, 0]
    return ExpectedOptimum(
        log_C=float(np.log(budget)),
        log_N=log_N,
        std=max(float(np.sqrt(slope @ prior.covariance @ slope)), LEAST_STD),
        log_k=float(np.log(offer.flops.flops_per_unit(np.exp(log_N)))) - log_N,
    )


def _fitted(
    done: Sequence[Trained], standing: Standing, expected: ExpectedOptimum
) -> Posterior | None:
    """Return the posterior, or None where the runs are too few or all at one compute."""
    if len(done) < MIN_FITTED or len({run.cell.budget for run in done}) < 2:
        return None
    return fit_posterior(*standing.columns(done), expected)


def _surprises(
    standing: Standing,
    rounds: Rounds,
    also: Sequence[Trained],
    expected: ExpectedOptimum,
) -> tuple[float | None, ...]:
    """Return the p-value of each round's losses under what the runs before it predicted."""
    before = [run for run in also if run.L is not None]
    found: list[float | None] = []
    for chosen, results in rounds:
        posterior = None
        if any(choice.log_L is not None for choice in chosen.choices):
            posterior = _fitted(before, standing, expected)
        found.append(None if posterior is None else surprise_of(posterior, chosen.choices, results))
        before += [run for run in results if run.L is not None]
    return tuple(found)
