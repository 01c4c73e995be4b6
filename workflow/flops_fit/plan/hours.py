"""How long an experiment takes: a model of time, made from trainings that were timed. Pure.

The seconds of one training are::

    launch + startup(N) + steps * step(N, batch, processes) + eval_units * eval(N, processes)

``launch`` is what passes before the trainer begins and after it ends, the same for all, and
``startup`` what it needs before its first step. A step takes
``t + u * batch / processes``: ``t`` for starting its kernels, which a batch of any size waits for,
``u`` for every unit. Both are fitted to the timed batches of a size; in between sizes, the FLOP/s
that follow are interpolated in log N. Beyond the timed sizes they keep their end value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import groupby
from statistics import median
from typing import Protocol

import numpy as np

# A forward pass takes a third of the FLOPs of a forward and a backward pass (Kaplan et al. 2020,
# arXiv 2001.08361, section 2.1).
_FORWARD_SHARE = 1 / 3
_ALIKE = 1.5  # factor in N up to which the end value of the FLOP/s passes for measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one experiment asks of the hardware."""

    N: float  # non-embedding parameters
    flops_per_unit: float
    batch: float  # units per step, over all processes
    steps: float
    processes: int = 1
    eval_units: float = 0.0

    @property
    def C(self) -> float:
        """Training FLOPs."""
        return self.flops_per_unit * self.batch * self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A training that was timed, or the median of several alike."""

    N: int  # non-embedding parameters
    flops_per_unit: float
    batch: int  # units per step, over all processes
    processes: int
    step_seconds: float
    startup_seconds: float  # of the trainer, until the steps take what they take later on
    launch_seconds: float | None  # before and after all that; None if it was not timed
    eval_unit_seconds: float | None  # per unit of the evaluation; None if nothing was evaluated

    @property
    def cell(self) -> tuple[int, int, int]:
        """What it was timed at: N, batch, processes."""
        return self.N, self.batch, self.processes


def median_of(alike: Sequence[Timed]) -> Timed:
    """Return the median of points of one cell."""
    return replace(
        alike[0],
        step_seconds=median(point.step_seconds for point in alike),
        startup_seconds=median(point.startup_seconds for point in alike),
        launch_seconds=_median_of_known(point.launch_seconds for point in alike),
        eval_unit_seconds=_median_of_known(point.eval_unit_seconds for point in alike),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """The seconds of one experiment."""

    training: float
    evaluation: float
    other: float

    @property
    def total(self) -> float:
        """From its launch to its record."""
        return self.training + self.evaluation + self.other


class Speed(Protocol):
    """How fast the hardware is, whether it was measured or given."""

    on_gpus: bool
    source: str  # where the figures are from, as a clause

    def duration(self, work: Work) -> Duration:
        """Return how long an experiment takes."""
        ...

    def reaches(self, N: float) -> bool:
        """Return whether a size lies within what is known, and not beyond it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSpeed:
    """FLOP/s of one process that the user gives; the start of an experiment is not known."""

    flops_per_second: float
    source: str
    on_gpus: bool

    def duration(self, work: Work) -> Duration:
        """Return the seconds of steps and evaluation at this speed, shared by the processes."""
        together = self.flops_per_second * work.processes
        evaluated = _FORWARD_SHARE * work.flops_per_unit * work.eval_units
        return Duration(training=work.C / together, evaluation=evaluated / together, other=0.0)

    def reaches(self, N: float) -> bool:
        """Return True: it was given for all sizes."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSpeed:
    """The speed that follows from timed trainings, at least one."""

    points: tuple[Timed, ...]
    source: str
    on_gpus: bool

    def duration(self, work: Work) -> Duration:
        """Return the seconds of an experiment by the model of this module.

        Of another number of processes than the timed ones, it takes the nearest timed number: a
        process is as fast there with as many units per step of its own.
        """
        points = self._nearest(work.processes)
        rate = _interpolated(work.N, [(N, self._rate(alike, points, work)) for N, alike in points])
        step = work.flops_per_unit * work.batch / work.processes / rate
        return Duration(
            training=work.steps * step,
            evaluation=work.eval_units * self._eval_unit(work, points),
            other=self._before(work, points),
        )

    def reaches(self, N: float) -> bool:
        """Return whether a size lies between the timed ones, or not far beyond them."""
        timed = [point.N for point in self.points]
        return min(timed) / _ALIKE <= N <= max(timed) * _ALIKE

    def _nearest(self, processes: int) -> list[tuple[float, list[Timed]]]:
        """Return the points with the nearest number of processes, by N in ascending order."""
        near = min(
            {point.processes for point in self.points},
            key=lambda timed: (abs(math.log(timed / processes)), timed),
        )
        chosen = sorted((p for p in self.points if p.processes == near), key=lambda p: p.N)
        return [(float(N), list(alike)) for N, alike in groupby(chosen, key=lambda p: p.N)]

    def _rate(
        self, alike: Sequence[Timed], points: Sequence[tuple[float, list[Timed]]], work: Work
    ) -> float:
        """Return the FLOP/s of one process at a timed size, at the batch of the work."""
        own = work.batch / work.processes
        start, per_unit = _step_line(alike, _start_elsewhere(alike[0].N, points))
        return alike[0].flops_per_unit * own / (start + per_unit * own)

    def _before(self, work: Work, points: Sequence[tuple[float, list[Timed]]]) -> float:
        """Return the seconds of launch and startup."""
        launch = _median_of_known(point.launch_seconds for point in self.points) or 0.0
        startups = [(N, median(point.startup_seconds for point in alike)) for N, alike in points]
        return launch + _between(work.N, startups)

    def _eval_unit(self, work: Work, points: Sequence[tuple[float, list[Timed]]]) -> float:
        """Return the seconds per unit of the evaluation, which the processes share."""
        rates = [
            (N, point.flops_per_unit / (point.eval_unit_seconds * point.processes))
            for N, alike in points
            for point in alike
            if point.eval_unit_seconds
        ]
        if not rates:
            return 0.0
        by_size = [
            (N, math.exp(_mean(math.log(rate) for _, rate in alike)))
            for N, alike in groupby(rates, key=lambda pair: pair[0])
        ]
        return work.flops_per_unit / (_interpolated(work.N, by_size) * work.processes)


def _step_line(alike: Sequence[Timed], start: float | None) -> tuple[float, float]:
    """Return (t, u) of step = t + u * units per process, neither below 0.

    Least squares of the relative deviations. Where one batch alone was timed, t is `start`, that of
    the nearest size with two (None: 0), as far as the step allows.
    """
    units = np.array([point.batch / point.processes for point in alike])
    seconds = np.array([point.step_seconds for point in alike])
    if len(set(units.tolist())) == 1:
        step = float(np.exp(np.log(seconds).mean()))
        first = min(start or 0.0, step)
        return first, (step - first) / float(units[0])
    columns = np.column_stack([1 / seconds, units / seconds])  # (points, 2)
    t, u = np.linalg.lstsq(columns, np.ones(len(units)), rcond=None)[0]
    if t < 0 or u < 0:  # then the best point of the quadrant lies on its nearer border
        kept = columns[:, 1 if t < 0 else 0]
        value = float(kept.sum() / (kept @ kept))
        return (0.0, value) if t < 0 else (value, 0.0)
    return float(t), float(u)


def _start_elsewhere(N: float, points: Sequence[tuple[float, list[Timed]]]) -> float | None:
    """Return t of the nearest size of which two batches were timed."""
    several = [
        (abs(math.log(size / N)), _step_line(alike, None)[0])
        for size, alike in points
        if len({point.batch for point in alike}) > 1
    ]
    return min(several)[1] if several else None


def _interpolated(N: float, values: Sequence[tuple[float, float]]) -> float:
    """Return a positive quantity at N, interpolated in log-log, with its end values beyond."""
    return math.exp(_between(N, [(size, math.log(value)) for size, value in values]))


def _between(N: float, values: Sequence[tuple[float, float]]) -> float:
    sizes, found = zip(*values, strict=True)
    return float(np.interp(math.log(N), np.log(sizes), found))


def _median_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What runs side by side; None: no limit."""

    cores: int | None = None
    gpus: int | None = None
    jobs: int | None = None

    def fits(self, processes: int, threads: int) -> int:
        """Return how many experiments alike run side by side; at least one."""
        limits = [
            limit // taken
            for limit, taken in (
                (self.cores, threads), (self.gpus, processes), (self.jobs, 1),
            )
            if limit is not None
        ]  # fmt: skip
        return max(1, min(limits)) if limits else 1


def wall_seconds(durations: Sequence[float], side_by_side: int) -> float:
    """Return when the last of several experiments ends, each started as soon as there is room.

    List scheduling in the given order (Graham 1966, Bell System Technical Journal 45, 1563).

    Parameters
    ----------
    durations
        Seconds of each experiment.
    side_by_side
        How many run at a time.
    """
    ends: list[float] = []
    last = 0.0
    for seconds in durations:
        begin = heappop(ends) if len(ends) >= side_by_side else 0.0
        heappush(ends, begin + seconds)
        last = max(last, begin + seconds)
    return last
