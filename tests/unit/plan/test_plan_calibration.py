"""Which short trainings calibrate a plan."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from flops_fit.plan.calibration import EVALUATED, SIZES, Guess, trials_for
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import plan_jobs
from hand_computed import planned, small_study

CPU = Guess(on_gpus=False)


def row(N: int, batch: int, processes: int = 1) -> PlannedExperiment:
    return PlannedExperiment(
        id=f"{N:x}-{batch}", budget=1.0, size=N, n_params=N, n_params_non_embedding=N,
        flops_per_unit=6.0 * N, D=1000 * batch, steps=1000, C=6.0 * N * 1000 * batch,
        units_per_param=1.0, epochs=1.0, seed=0, lr=0.1, batch=batch, processes=processes,
    )  # fmt: skip


def cells(trials) -> list[tuple[float, int]]:
    return sorted((t.experiment.size, t.experiment.batch) for t in trials if not t.shorter)


def test_sizes_from_the_smallest_to_the_largest_with_the_ends_of_their_batches():
    rows = [row(1000 * 2**i, batch) for i in range(7) for batch in (64, 128, 256)]
    found = cells(trials_for(rows, 1, CPU))
    sizes = sorted({size for size, _ in found})
    assert len(sizes) == SIZES
    assert (sizes[0], sizes[-1]) == (1000, 64_000)
    steps = [math.log2(b / a) for a, b in itertools.pairwise(sizes)]
    assert steps == [2, 2, 2]
    assert [batch for _, batch in found] == [64, 256] * SIZES


def test_each_number_of_processes_has_its_own():
    rows = [row(N, 64, processes=1 + (N > 100)) for N in (10, 50, 200, 900)]
    assert cells(trials_for(rows, 1, CPU)) == [(10, 64), (50, 64), (200, 64), (900, 64)]


def test_one_trial_has_fewer_steps_and_is_of_the_largest_size():
    (shorter,) = [t for t in trials_for([row(10, 64), row(99, 64)], 1, CPU) if t.shorter]
    assert shorter.experiment.size == 99
    (whole,) = [t for t in trials_for([row(10, 64), row(99, 64)], 1, CPU)
                if t.experiment.size == 99 and not t.shorter]  # fmt: skip
    assert shorter.steps == whole.steps // 4


@pytest.mark.parametrize(
    ("side_by_side", "on_gpus", "times"),
    [(2, False, 1), (8, False, 2), (16, False, 4), (8, True, 1)],
)
def test_on_cores_they_are_repeated_until_as_many_run_as_experiments_will(
    side_by_side, on_gpus, times
):
    rows = [row(N, 64) for N in (10, 100, 1000)]
    trials = trials_for(rows, side_by_side, Guess(on_gpus=on_gpus))
    assert len(trials) == 4 * times
    assert {trial.repeat for trial in trials} == set(range(times))


def test_a_trial_is_no_experiment_of_its_study():
    study, plan = small_study(), planned()
    jobs = plan_jobs(plan, study, data_folder="d", search_folder="s")
    trials = trials_for(plan.experiments, 1, CPU)
    made = [trial.job(jobs[trial.experiment.id]) for trial in trials]
    ids = {job.id for job in made}
    assert len(ids) == len(made)
    assert not ids & set(jobs)
    for trial, job in zip(trials, made, strict=True):
        original = jobs[trial.experiment.id]
        assert job.spec.D == job.steps * job.spec.batch
        assert not job.keep_checkpoint
        assert job.checkpoint_minutes is None
        assert job.spec.eval_units == max(1, original.spec.eval_units // EVALUATED)
        changed = {name: getattr(job.spec, name) for name in ("D", "seed", "eval_units")}
        assert replace(original.spec, **changed) == job.spec
