"""Whole studies without training: losses are drawn from a law, all else is what real studies do."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from flops_fit.design.history import Cell, Round, Trained
from flops_fit.design.offer import Cells, Offer
from flops_fit.design.outcome import Outcome, answered, if_exact
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import DesignError, Question
from flops_fit.design.rounds import next_round
from flops_fit.design.truth import Truth
from flops_fit.laws.data.accounting import FlopsPerUnit

Progress = Callable[[int, int], None]
"""Called with the number of finished studies and of all."""

History = Sequence[tuple[Round, Sequence[Trained]]]

MAX_ROUNDS = 30
"""More than any design has; the rest would be an endless one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The rounds of a study, and why there are no more if the planner refused another one."""

    rounds: History
    refusal: str | None = None

    @property
    def runs(self) -> list[Trained]:
        """All runs, those that failed as well."""
        return [run for _, results in self.rounds for run in results]


@dataclass(frozen=True, slots=True)
class CellsByBudget:
    """What can be trained at some budgets, worked out beforehand, to be sent to other processes."""

    cells: dict[float, Cells]

    def __call__(self, budget: float) -> Cells:
        return self.cells[budget]


@dataclass(frozen=True, slots=True, kw_only=True)
class Designed:
    """A study that is designed in rounds."""

    question: Question
    offer: Offer
    prior: PriorLaw
    rounds: History = ()
    also: Sequence[Trained] = ()

    @property
    def target(self) -> float:
        """FLOPs that the study asks about."""
        return self.question.target

    @property
    def flops(self) -> FlopsPerUnit:
        """FLOPs per unit of its sizes."""
        return self.offer.flops

    def portable(self) -> Designed:
        """Return the same with its cells worked out."""
        cells = {budget: self.offer.at(budget) for budget in self.question.budgets}
        return replace(self, offer=replace(self.offer, cells=CellsByBudget(cells)))

    def play(self, truth: Truth, rng: np.random.Generator | None) -> Course:
        """Return all rounds, those that are given first.

        Raises
        ------
        DesignError
            If not even the first round that is asked for is possible.
        """
        rounds = list(self.rounds)
        while len(rounds) < MAX_ROUNDS:
            try:
                chosen = next_round(self.question, self.offer, self.prior, rounds, self.also)
            except DesignError as error:
                if len(rounds) == len(self.rounds):
                    raise
                return Course(rounds=rounds, refusal=str(error))
            if chosen.kind == "done":
                break
            cells = [choice.cell for choice in chosen.choices]
            rounds.append((chosen, train(cells, truth, rng)))
        return Course(rounds=rounds)

    def known(self) -> Sequence[Trained]:
        """Return runs that the user brings along."""
        return self.also


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A study whose cells are all laid out beforehand, such as a grid."""

    cells: tuple[Cell, ...]
    target: float
    flops: FlopsPerUnit

    def portable(self) -> Laid:
        """Return itself."""
        return self

    def play(self, truth: Truth, rng: np.random.Generator | None) -> Course:
        """Return its one round."""
        only = Round(number=0, kind="done", choices=(), why="all cells of a grid at once")
        return Course(rounds=[(only, train(self.cells, truth, rng))])

    def known(self) -> Sequence[Trained]:
        """Return nothing."""
        return ()


Sweep = Designed | Laid


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """One simulated study.

    Parameters
    ----------
    number : int
    experiments, rounds : int
    spent : float
        FLOPs.
    filled : bool
        Whether a check failed, so that the two largest budgets were filled.
    refusal : str or None
        Why the planner refused another round, so that the study ended there.
    answer : Outcome or None
        With the error of the form in its intervals; None without one.
    exact : Outcome or None
        Of the surface; None where its runs do not tell it.
    """

    number: int
    experiments: int
    rounds: int
    spent: float
    filled: bool
    refusal: str | None
    answer: Outcome | None
    exact: Outcome | None


def train(
    cells: Sequence[Cell], truth: Truth, rng: np.random.Generator | None
) -> tuple[Trained, ...]:
    """Return what the runs of some cells would find; without `rng` what is expected of them."""
    N, D = (np.array([getattr(cell, name) for cell in cells]) for name in ("N", "D"))
    L = np.exp(truth.log_losses(N, D, rng))
    return tuple(Trained(cell=cell, L=float(loss)) for cell, loss in zip(cells, L, strict=True))


def simulate(
    sweep: Sweep,
    truth: Truth,
    n: int,
    *,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Simulated]:
    """Return `n` simulated studies; the same for the same arguments on any number of processes.

    Parameters
    ----------
    workers : int
        Processes that are forked from this one, in which no other thread may compute.

    Raises
    ------
    DesignError
        If no design is possible.
    """
    if isinstance(sweep, Designed):
        # A portable offer has cells at the design's budgets alone, and a refusal names others
        next_round(sweep.question, sweep.offer, sweep.prior, sweep.rounds, sweep.also)
    task = partial(simulate_one, sweep.portable(), truth, seed)
    found: list[Simulated] = []
    if workers <= 1:
        return [_counted(found, task(i), n, progress) for i in range(n)]
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max_workers=workers, mp_context=fork) as pool:
        for one in pool.map(task, range(n)):
            _counted(found, one, n, progress)
    return found


def _counted(
    found: list[Simulated], one: Simulated, n: int, progress: Progress | None
) -> Simulated:
    found.append(one)
    if progress is not None:
        progress(len(found), n)
    return one


def simulate_one(sweep: Sweep, truth: Truth, seed: int, number: int) -> Simulated:
    """Return one simulated study."""
    course = sweep.play(truth, np.random.default_rng([seed, number]))
    trained = [*sweep.known(), *course.runs]
    return Simulated(
        number=number,
        experiments=len(course.runs),
        rounds=len(course.rounds),
        spent=float(sum(run.cell.C for run in course.runs)),
        filled=any(chosen.kind == "fill" for chosen, _ in course.rounds),
        refusal=course.refusal,
        answer=answered(trained, sweep.target),
        exact=if_exact(trained, sweep.target, sweep.flops),
    )
