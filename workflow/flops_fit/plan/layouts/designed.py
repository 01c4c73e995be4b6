"""What a design chooses from: the sizes of a study, and what each trains on at a budget.

The choice itself is made in `flops_fit.design`, round by round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flops_fit.design.history import Trained
from flops_fit.design.offer import Cells, Offer
from flops_fit.design.prior import PriorLaw, prior_of
from flops_fit.design.question import (
    LEAST_STEP,
    MIN_BUDGETS,
    STEP,
    TOP_SHARE,
    DesignError,
    Question,
    ladder,
)
from flops_fit.design.simulation import Designed, History
from flops_fit.design.standing import SAME_BUDGET
from flops_fit.errors import UserError
from flops_fit.plan.layouts.isoflop_grid import feasible_cell, remedies
from flops_fit.plan.layouts.layout import Cause, Cell, Dropped
from flops_fit.plan.price import flops_per_unit
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

_DIGITS = 4
"""Significant digits of a budget that a design chooses, so that it reads like one of a person's."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The measured sizes of a study, and its data.

    Parameters
    ----------
    sizes
        Parameters and FLOPs per unit by size, in ascending order.
    """

    study: Study
    sizes: Mapping[float, SizeMeasure]
    data: DatasetMeta

    @cached_property
    def offered(self) -> tuple[float, ...]:
        """The sizes by ascending N, one for each N."""
        by_N: dict[int, float] = {}
        for size, measure in self.sizes.items():
            by_N.setdefault(measure.n_params_non_embedding, size)
        return tuple(by_N[N] for N in sorted(by_N))

    def cell(self, budget: float, size: float) -> Cell | Dropped:
        """Return a size with the steps that spend a budget, or why it cannot be trained."""
        found = feasible_cell(
            self.study,
            self.sizes[size],
            budget,
            size,
            units_per_sample=self.data.units_per_sample,
        )
        most = self.study.plan.max_epochs
        if isinstance(found, Cell) and found.D > most * self.data.units_train:
            epochs = found.D / self.data.units_train
            reason = f"{epochs:.3g} epochs of the training split are more than max_epochs {most:g}"
            return Dropped(budget=budget, size=size, cause=Cause.REPEATS_DATA, reason=reason)
        return found

    def cells(self, budget: float) -> Cells:
        """Return what can be trained at a budget, with its exact units and FLOPs."""
        if budget not in self._cells:
            self._cells[budget] = self._tried(budget)
        return self._cells[budget]

    @cached_property
    def _cells(self) -> dict[float, Cells]:
        return {}

    def _tried(self, budget: float) -> Cells:
        tried = [self.cell(budget, size) for size in self.offered]
        index = [i for i, cell in enumerate(tried) if isinstance(cell, Cell)]
        D = np.array([tried[i].D for i in index], dtype=float)
        price = np.array([self._price(self.offered[i]) for i in index], dtype=float)
        return Cells(index=np.array(index, dtype=np.intp), D=D, C=price * D)

    @cached_property
    def offer(self) -> Offer:
        """The sizes with their cells."""
        N = [self.sizes[size].n_params_non_embedding for size in self.offered]
        return Offer(
            N=np.array(N, dtype=float),
            flops_per_unit=np.array([self._price(size) for size in self.offered], dtype=float),
            cells=self.cells,
        )

    def dropped(self, budgets: Iterable[float]) -> tuple[Dropped, ...]:
        """Return what is left out at these budgets, and why."""
        tried = (self.cell(budget, size) for budget in budgets for size in self.offered)
        return tuple(one for one in tried if isinstance(one, Dropped))

    def prior(self, budget: float) -> PriorLaw:
        """Return the law that the study expects, as sure as it is at its largest budget (FLOPs).

        Raises
        ------
        UserError
            If ``plan.prior`` names none.
        """
        plan = self.study.plan
        try:
            return prior_of(plan.prior, self.offer.flops, budget, self.study.folder)
        except UserError as error:
            raise UserError(f"{self.study.config_file}: plan.prior: {error}") from None

    def sweep(
        self,
        spend: float,
        *,
        kept: Sequence[float] = (),
        rounds: History = (),
        also: Sequence[Trained] = (),
    ) -> Designed:
        """Return the design that may spend so many FLOPs.

        Parameters
        ----------
        kept
            Budgets at which experiments were trained already, FLOPs.
        rounds, also
            As in `flops_fit.design.rounds.next_round`.

        Raises
        ------
        DesignError
            If no design is possible.
        """
        plan = self.study.plan
        budgets = plan.budgets or _ladder(spend, kept)
        if len(budgets) < MIN_BUDGETS:
            raise DesignError(_too_few(budgets, None if plan.budgets else spend, kept))
        question = Question(target=plan.target, spend=spend, budgets=budgets)
        return Designed(
            question=question,
            offer=self.offer,
            prior=self.prior(budgets[-1]),
            rounds=rounds,
            also=also,
        )

    @contextmanager
    def named_errors(self, key: str, budgets: Sequence[float] = ()) -> Iterator[None]:
        """Turn a DesignError into a sentence for the user, with what would help.

        Parameters
        ----------
        key
            Of the configuration, below ``plan`` or whole.
        budgets
            At which sizes may have been left out.
        """
        try:
            yield
        except DesignError as error:
            advice = remedies(self.dropped(budgets))
            help_ = f"; {', or '.join(advice)}" if advice else ""
            raise UserError(f"{self.study.config_file}: {key}: {error}{help_}") from None

    def _price(self, size: float) -> float:
        return flops_per_unit(self.study, self.sizes[size])


def _ladder(spend: float, kept: Sequence[float]) -> tuple[float, ...]:
    """Return the budgets for a spend; those that were trained at stay."""
    fresh = tuple(_rounded(budget) for budget in ladder(spend))
    if all(any(abs(budget / one - 1) <= SAME_BUDGET for one in fresh) for budget in kept):
        return fresh
    whole = ladder(spend, kept)
    return tuple(b if b in kept else _rounded(b) for b in whole)


def _too_few(budgets: Sequence[float], spend: float | None, kept: Sequence[float]) -> str:
    """Say that the budgets are too few: as stated, or since a spend was lowered below the runs."""
    few = f"at least {MIN_BUDGETS}: fewer show no lack of fit"
    if spend is None:
        return f"found {len(budgets)} beside plan.target, expected {few}"
    above = MIN_BUDGETS - len(kept) - 1
    enough = LEAST_STEP * max(kept) * STEP**above / TOP_SHARE * (1 + 1e-3)
    return (
        f"{spend:.3g} leaves {len(budgets)} budgets with those that were trained at, expected "
        f"{few}; spend {enough:.4g} or more"
    )


def _rounded(budget: float) -> float:
    return float(f"{budget:.{_DIGITS}g}")


def summary_of_dropped(dropped: Iterable[Dropped]) -> list[str]:
    """Return a line for each budget and cause: how many sizes, from which to which."""
    groups: dict[tuple[float, Cause], list[Dropped]] = defaultdict(list)
    for one in dropped:
        groups[one.budget, one.cause].append(one)
    lines = []
    for (budget, _), ones in sorted(groups.items(), key=lambda item: item[0][0]):
        sizes = sorted(one.size for one in ones)
        which = f"size {sizes[0]:g}"
        if len(sizes) > 1:
            which = f"{len(sizes)} sizes from {sizes[0]:g} to {sizes[-1]:g}"
        lines.append(f"budget {budget:.4g}: {which}: {_example(ones)}")
    return lines


def _example(ones: Sequence[Dropped]) -> str:
    """Return why sizes were left out: the reason of one, the cause of several and an example."""
    if len(ones) == 1:
        return ones[0].reason
    return f"{ones[0].cause.value}, such as {ones[0].size:g}: {ones[0].reason}"
