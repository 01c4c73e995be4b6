"""All that is known when a round is chosen: the runs, the law that they leave, and the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.checks import misfit_of, surprise_of
from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.history import Cell, Choice, Kind, Round, Trained
from flops_fit.design.offer import Offer
from flops_fit.design.placing import WIDTH, Place
from flops_fit.design.posterior import Posterior, fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import DesignError, Question
from flops_fit.design.standing import Standing

Array = NDArray[np.float64]
Rounds = Sequence[tuple[Round, Sequence[Trained]]]

MIN_FITTED = 8
"""Runs from which a law of five parameters is fitted; before that the prior places experiments."""

BEYOND = float(np.log(2.0))
"""e-folds of N by which N_opt may lie beyond the sizes of a budget, besides twice its standard
deviation, before the sizes are said not to reach it."""


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
        posterior, misfit = _fitted(standing.done, standing), None
        if posterior is not None:
            budget = np.array([run.cell.budget for run in standing.done])
            misfit = misfit_of(posterior, *standing.columns(), budget)
        return cls(
            question=question,
            offer=offer,
            prior=prior,
            rounds=rounds,
            standing=standing,
            posterior=posterior,
            places=_places(offer, prior, standing, posterior),
            misfit=misfit,
            surprises=_surprises(standing, rounds, also),
        )

    @property
    def left(self) -> float:
        """FLOPs that are not spent."""
        return self.question.spend - self.standing.spent

    def has_had(self, kind: Kind) -> bool:
        """Say whether there was a round of this kind with the present largest budget."""
        top = self.question.budgets[-1]
        return any(
            chosen.kind == kind and chosen.checks.get("top") == top for chosen, _ in self.rounds
        )

    def round(self, kind: Kind, cells: Sequence[tuple[Cell, str]], why: str) -> Round:
        """Return a round of cells, each with its reason, and what the runs predict of them."""
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


def _fitted(done: Sequence[Trained], standing: Standing) -> Posterior | None:
    """Return the posterior, or None where the runs are too few or all at one compute."""
    if len(done) < MIN_FITTED or len({run.cell.budget for run in done}) < 2:
        return None
    return fit_posterior(*standing.columns(done))


def _places(
    offer: Offer, prior: PriorLaw, standing: Standing, posterior: Posterior | None
) -> dict[float, Place]:
    law = prior if posterior is None else posterior
    at = optimum_at(law.mean[np.newaxis], np.log(standing.budgets), offer.flops)
    variance = np.einsum("ti,ij,tj->t", at.of_N[0], law.covariance, at.of_N[0])
    for budget, centre, std in zip(standing.budgets, at.log_N[0], np.sqrt(variance), strict=True):
        _assert_reached(offer, standing, budget, float(centre), float(std), posterior is None)
    return {
        budget: Place(offer=offer, standing=standing, budget=budget, centre=float(centre))
        for budget, centre in zip(standing.budgets, at.log_N[0], strict=True)
    }


def _assert_reached(
    offer: Offer, standing: Standing, budget: float, centre: float, std: float, assumed: bool
) -> None:
    """Refuse sizes that do not reach the optimum of a budget."""
    log_N = np.log(offer.N[standing.cells[budget].index])
    beyond = max(log_N[0] - centre, centre - log_N[-1])
    if beyond <= BEYOND + min(2 * std, WIDTH):
        return
    said, remedy = "the runs put", "offer sizes around it"
    if assumed:
        said, remedy = "the prior puts", "offer sizes around it, or correct the prior"
    raise DesignError(
        f"{said} N_opt at {budget:.3g} FLOPs at about {np.exp(centre):.2g} parameters, beyond the "
        f"sizes that can be trained there, {np.exp(log_N[0]):.2g} to {np.exp(log_N[-1]):.2g}; "
        f"{remedy}"
    )


def _surprises(
    standing: Standing, rounds: Rounds, also: Sequence[Trained]
) -> tuple[float | None, ...]:
    """Return the p-value of each round's losses under what the runs before it predicted."""
    before = [run for run in also if run.L is not None]
    found: list[float | None] = []
    for chosen, results in rounds:
        posterior = None
        if any(choice.log_L is not None for choice in chosen.choices):
            posterior = _fitted(before, standing)
        found.append(None if posterior is None else surprise_of(posterior, chosen.choices, results))
        before += [run for run in results if run.L is not None]
    return tuple(found)
