"""Which budgets a design can use: those whose sizes reach the optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.derivatives import optimum_at
from flops_fit.design.offer import Offer
from flops_fit.design.placing import WIDTH
from flops_fit.design.posterior import Posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import MIN_BUDGETS, DesignError, Question, ladder
from flops_fit.design.standing import MIN_SIZES, Standing

Array = NDArray[np.float64]

BEYOND = float(np.log(2.0))
"""e-folds of N by which N_opt may lie beyond the sizes of a budget, besides twice its standard
deviation, before the sizes are said not to reach it."""

SOUGHT = 24
"""Quarter decades of the spend in which one is sought that would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where the optimum lies, by what is known, and whether sizes can be trained around it.

    Parameters
    ----------
    offer : Offer
    law : PriorLaw or Posterior
    """

    offer: Offer
    law: PriorLaw | Posterior

    def centres(self, budgets: Sequence[float]) -> tuple[list[float], list[float]]:
        """Return log N_opt at budgets, and its standard deviations."""
        at = optimum_at(self.law.mean[np.newaxis], np.log(budgets), self.offer.flops)
        variance = np.einsum("ti,ij,tj->t", at.of_N[0], self.law.covariance, at.of_N[0])
        return at.log_N[0].tolist(), np.sqrt(variance).tolist()

    def usable(self, question: Question, standing: Standing) -> tuple[float, ...]:
        """Return the budgets of a standing that can be used.

        The lowest ones may lack sizes near the optimum, as where these would train too few steps;
        what was trained there counts on.

        Raises
        ------
        DesignError
            If fewer than five are left, or sizes do not reach the optimum of a larger one.
        """
        budgets = standing.budgets
        reached = self._reached(budgets)
        first = int(np.argmax(reached)) if any(reached) else len(budgets)
        found = tuple(
            budget
            for i, budget in enumerate(budgets)
            if i >= first or (standing.n_sizes(budget) >= MIN_SIZES)
        )
        if not all(reached[first:]):
            raise DesignError(self._out_of_reach(budgets[first + reached[first:].index(False)]))
        if len(found) < MIN_BUDGETS:
            if len(budgets) >= MIN_BUDGETS and first == len(budgets):
                raise DesignError(self._out_of_reach(budgets[-1]))
            raise DesignError(self._too_few(question, standing, len(found)))
        return found

    def _reached(self, budgets: Sequence[float]) -> list[bool]:
        """Say for each budget whether enough sizes can be trained and the optimum is not beyond."""
        if not budgets:
            return []
        found = []
        for budget, centre, std in zip(budgets, *self.centres(budgets), strict=True):
            index = self.offer.at(budget).index
            if index.size < MIN_SIZES:
                found.append(False)
                continue
            log_N = np.log(self.offer.N[index])
            beyond = max(log_N[0] - centre, centre - log_N[-1])
            found.append(bool(beyond <= BEYOND + min(2 * std, WIDTH)))
        return found

    def _out_of_reach(self, budget: float) -> str:
        N = self.offer.N[self.offer.at(budget).index]
        centre = float(np.exp(self.centres([budget])[0][0]))
        said, remedy = "the runs put", ""
        if isinstance(self.law, PriorLaw):
            said, remedy = "the prior puts", " or correct the prior"
        return (
            f"{said} N_opt at {budget:.3g} FLOPs at "
            f"about {centre:.2g} parameters, beyond the sizes that can be trained there, "
            f"{N[0]:.2g} to {N[-1]:.2g}; offer sizes around it{remedy}"
        )

    def _too_few(self, question: Question, standing: Standing, n_found: int) -> str:
        remedy, lost = "offer more sizes", ""
        enough = self._enough(question) if isinstance(self.law, PriorLaw) else None
        if standing.left_out:
            named = " and ".join(f"{budget:.3g}" for budget in standing.left_out)
            lost, remedy = f", at {named} all runs failed", "find out why they fail"
        elif enough is not None:
            remedy = f"a spend of {enough:.3g} would do"
        return (
            f"{n_found} of {len(question.budgets)} budgets ({question.budgets[0]:.3g} to "
            f"{question.budgets[-1]:.3g} FLOPs) have {MIN_SIZES} sizes or more around N_opt that "
            f"can be trained{lost}, and a design needs {MIN_BUDGETS}; {remedy}"
        )

    def _enough(self, question: Question) -> float | None:
        """Return the nearest spend whose ladder has budgets enough, rounded; larger ones first."""
        for steps in (*range(1, SOUGHT), *range(-1, -SOUGHT, -1)):
            spend = float(f"{question.spend * 10 ** (steps / 4):.2g}")
            if sum(self._reached(ladder(spend))) >= MIN_BUDGETS:
                return spend
        return None
