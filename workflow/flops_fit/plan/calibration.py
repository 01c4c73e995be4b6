"""Short trainings whose speed tells how long the experiments of a plan take. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.hours import wall_seconds
from flops_fit.plan.job import Job
from flops_fit.plan.layouts.isoflop_grid import spread_evenly

SIZES = 4  # for each number of processes
SHORTER = 4  # how many times fewer steps the trial has that tells what the first steps cost
EVALUATED = 4  # how many times fewer units a trial evaluates
_SECONDS = 5.0  # of training, about, in each trial
_FEWEST_STEPS, _MOST_STEPS = 16, 4000
_LAUNCH_SECONDS = 8.0  # until the first step, on a machine that has more to do (measured: 4 to 12)
_MOST_TRIALS = 32
# What is guessed before anything is measured decides only how long the trials are. 19 to 67 GFLOP/s
# were measured on a core (GPT of width 16 to 192, float32), 2 to 10 ms for a step of nothing.
_CORE_FLOPS = 2e10
_GPU_FLOPS = 5e13
_STEP_SECONDS = {True: 0.02, False: 0.003}  # on a GPU, on a core


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One short training."""

    experiment: PlannedExperiment  # whose size and batch it has
    steps: int
    repeat: int = 0  # counts those that are alike but for their seed
    shorter: bool = False  # whether it tells what the first steps cost

    def job(self, planned: Job) -> Job:
        """Return the job of this trial, made from that of the experiment.

        It keeps nothing but its record. Its evaluation is shorter, too.
        """
        batch = planned.spec.batch
        spec = replace(
            planned.spec,
            D=self.steps * batch,
            seed=self.repeat,
            eval_units=max(1, planned.spec.eval_units // EVALUATED),
        )
        return replace(
            planned,
            spec=spec,
            steps=self.steps,
            keep_checkpoint=False,
            checkpoint_minutes=None,
            trunk=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What is assumed about hardware that nothing has measured yet."""

    on_gpus: bool
    threads: int = 1  # of a process

    def step(self, row: PlannedExperiment) -> float:
        """Return the seconds of a step."""
        flops = _GPU_FLOPS if self.on_gpus else _CORE_FLOPS * self.threads
        work = row.flops_per_unit * row.batch / row.processes
        return _STEP_SECONDS[self.on_gpus] + work / flops

    def seconds(self, row: PlannedExperiment, steps: int) -> float:
        """Return the seconds of a training of so many steps."""
        return _LAUNCH_SECONDS + steps * self.step(row)


def trials_for(
    experiments: Sequence[PlannedExperiment], side_by_side: int, guess: Guess
) -> list[Trial]:
    """Return the short trainings that calibrate a plan, the longest first.

    For each number of processes, `SIZES` of its sizes, spread evenly in log N from the smallest to
    the largest, each with the smallest and the largest of its batches; and one of the largest size
    with fewer steps. On cores they are repeated until as many run side by side as experiments will:
    these slow each other down.
    """
    cells = [
        row
        for processes in sorted({row.processes for row in experiments})
        for row in _cells([row for row in experiments if row.processes == processes])
    ]
    trials = [Trial(experiment=row, steps=_steps(row, guess)) for row in cells]
    first = max(trials, key=lambda trial: trial.experiment.n_params_non_embedding)
    short = max(1, first.steps // SHORTER)
    trials.append(replace(first, steps=short, shorter=True))
    if not guess.on_gpus:
        repeats = math.ceil(min(side_by_side, _MOST_TRIALS) / len(trials))
        trials = [replace(trial, repeat=k) for k in range(repeats) for trial in trials]
    return sorted(trials, key=lambda trial: -guess.seconds(trial.experiment, trial.steps))


def guessed_wall_seconds(trials: Iterable[Trial], side_by_side: int, guess: Guess) -> float:
    """Return about how long a calibration takes."""
    durations = [guess.seconds(trial.experiment, trial.steps) for trial in trials]
    return wall_seconds(durations, side_by_side)


def _cells(experiments: Sequence[PlannedExperiment]) -> list[PlannedExperiment]:
    by_size: dict[float, list[PlannedExperiment]] = {}
    for row in experiments:
        by_size.setdefault(row.size, []).append(row)
    log_n = {size: math.log(rows[0].n_params_non_embedding) for size, rows in by_size.items()}
    cells = []
    for size in spread_evenly(log_n, SIZES):
        ends = [choose(by_size[size], key=lambda row: row.batch) for choose in (min, max)]
        cells += ends[: 1 if ends[0].batch == ends[1].batch else 2]
    return cells


def _steps(row: PlannedExperiment, guess: Guess) -> int:
    wanted = round(_SECONDS / guess.step(row))
    return min(max(wanted, _FEWEST_STEPS), _MOST_STEPS)
