"""What training costs: FLOPs, process-hours, wall time, money. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flops_fit.plan.hours import Room, Speed, Work, wall_seconds
from flops_fit.study.study import Study

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

_HOUR = 3600.0  # seconds


def flops_per_unit(study: Study, size: SizeMeasure) -> float:
    """Return the training FLOPs of one unit by the account of ``plan.flops``."""
    if study.plan.flops == "6ND":
        # Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: C = 6 N D without embeddings.
        return 6.0 * size.n_params_non_embedding
    return size.flops_per_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Experiments that belong together, such as those of a budget or of a round.

    Parameters
    ----------
    name
        For people.
    works
        What each asks of the hardware.
    trained
        Whether each is finished; as long as ``works``.
    expected
        Whether they are only expected: a later round chooses them.
    """

    name: str
    works: tuple[Work, ...]
    trained: tuple[bool, ...]
    expected: bool = False

    @property
    def left(self) -> tuple[Work, ...]:
        """Those that are not trained yet."""
        return tuple(w for w, done in zip(self.works, self.trained, strict=True) if not done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some experiments cost together; hours are None where no speed is known."""

    experiments: int
    flops: float
    process_hours: float | None  # on GPUs: GPU-hours
    money: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a plan.

    Parameters
    ----------
    parts
        In the order in which they are trained. Where `in_rounds`, each waits for the one before.
    speed
        None: no hours are known.
    room
        What runs side by side.
    threads
        Of one process.
    per_hour
        Money for an hour of one process; None: not given.
    """

    parts: tuple[Priced, ...]
    speed: Speed | None
    room: Room
    threads: int = 1
    per_hour: float | None = None
    in_rounds: bool = False

    def cost(self, works: Sequence[Work]) -> Cost:
        """Return what some experiments cost."""
        hours = None
        if self.speed is not None:
            hours = sum(self.speed.duration(w).total * w.processes for w in works) / _HOUR
        money = None if hours is None or self.per_hour is None else hours * self.per_hour
        flops = sum(work.C for work in works)
        return Cost(experiments=len(works), flops=flops, process_hours=hours, money=money)

    @property
    def works(self) -> tuple[Work, ...]:
        """All experiments."""
        return tuple(work for part in self.parts for work in part.works)

    @property
    def left(self) -> tuple[Work, ...]:
        """The experiments that are not trained yet."""
        return tuple(work for part in self.parts for work in part.left)

    def side_by_side(self, works: Sequence[Work]) -> int:
        """Return how many experiments run at a time, by the processes that most FLOPs have."""
        total: dict[int, float] = {}
        for work in works:
            total[work.processes] = total.get(work.processes, 0.0) + work.C
        processes = max(total, key=lambda count: total[count], default=1)
        return self.room.fits(processes, processes * self.threads)

    def wall_hours(self) -> float | None:
        """Return how long what is left takes on this hardware, without waiting in a queue."""
        if self.speed is None:
            return None
        waves = [part.left for part in self.parts] if self.in_rounds else [self.left]
        return sum(map(self._wall_seconds, waves)) / _HOUR

    def _wall_seconds(self, works: Sequence[Work]) -> float:
        durations = [self.speed.duration(work).total for work in works]
        return wall_seconds(durations, self.side_by_side(works))

    @property
    def beyond(self) -> int:
        """How many experiments have sizes beyond those that were timed."""
        return 0 if self.speed is None else sum(not self.speed.reaches(w.N) for w in self.works)
