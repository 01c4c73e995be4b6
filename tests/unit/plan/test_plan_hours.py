"""The model of time against closed forms: a machine whose every second is known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from flops_fit.plan.hours import (
    GivenSpeed,
    MeasuredSpeed,
    Room,
    Timed,
    Work,
    median_of,
    wall_seconds,
)

LAUNCH, KERNELS = 5.0, 0.004  # seconds of a launch, and of a step without any unit


def rate(N: float) -> float:
    """FLOP/s of one process of the known machine: a power of N."""
    return 1e9 * N**0.25


def startup(N: float) -> float:
    return 1.0 + N / 1e6


def flops_per_unit(N: float) -> float:
    return 6.0 * N


def timed(N: int, batch: int, processes: int = 1, kernels: float = KERNELS) -> Timed:
    """What a perfect measurement of the known machine gives."""
    own = batch / processes
    return Timed(
        N=N,
        flops_per_unit=flops_per_unit(N),
        batch=batch,
        processes=processes,
        step_seconds=kernels + own * flops_per_unit(N) / rate(N),
        startup_seconds=startup(N),
        launch_seconds=LAUNCH,
        eval_unit_seconds=flops_per_unit(N) / 3 / rate(N) / processes,
    )


def measured(*points: Timed) -> MeasuredSpeed:
    return MeasuredSpeed(points=points, source="a formula", on_gpus=False)


def work(N: float, batch: float, steps: float = 1000, processes: int = 1, **more) -> Work:
    return Work(
        N=N, flops_per_unit=flops_per_unit(N), batch=batch, steps=steps, processes=processes, **more
    )


def test_a_timed_experiment_takes_what_it_took():
    duration = measured(timed(10_000, 512)).duration(work(10_000, 512, 700, eval_units=6e4))
    assert duration.training == pytest.approx(700 * timed(10_000, 512).step_seconds)
    assert duration.evaluation == pytest.approx(6e4 * timed(10_000, 512).eval_unit_seconds)
    assert duration.other == pytest.approx(LAUNCH + startup(10_000))
    parts = duration.training + duration.evaluation + duration.other
    assert duration.total == parts


@pytest.mark.parametrize("batch", [64, 256, 1000, 8192])
def test_two_batches_tell_what_a_step_costs_besides_its_units(batch):
    speed = measured(timed(10_000, 256), timed(10_000, 1024))
    assert speed.duration(work(10_000, batch)).training == pytest.approx(
        1000 * timed(10_000, batch).step_seconds
    )


def test_a_size_with_one_batch_takes_the_kernels_of_its_neighbour():
    speed = measured(timed(10_000, 256), timed(10_000, 1024), timed(90_000, 512))
    assert speed.duration(work(90_000, 2048)).training == pytest.approx(
        1000 * timed(90_000, 2048).step_seconds
    )


@pytest.mark.parametrize("N", [20_000, 50_000, 150_000])
def test_between_sizes_a_power_law_is_exact(N):
    sizes = (10_000, 200_000)
    points = [timed(size, 512, kernels=0) for size in sizes]
    duration = measured(*points).duration(work(N, 512, eval_units=1e5))
    assert duration.training == pytest.approx(1000 * 512 * flops_per_unit(N) / rate(N))
    assert duration.evaluation == pytest.approx(1e5 * flops_per_unit(N) / 3 / rate(N))


def test_beyond_the_sizes_the_flops_per_second_stay():
    speed = measured(timed(10_000, 512, kernels=0), timed(100_000, 512, kernels=0))
    for N, at in ((1_000, 10_000), (10**8, 100_000)):
        seconds = speed.duration(work(N, 512)).training
        assert seconds == pytest.approx(1000 * 512 * flops_per_unit(N) / rate(at))
    assert speed.reaches(12_000)
    assert not speed.reaches(200_000)
    assert not speed.reaches(5_000)


def test_processes_share_a_batch():
    """With the same units for each of them, two processes step as fast as one."""
    speed = measured(timed(10_000, 256), timed(10_000, 1024))
    alone, two = speed.duration(work(10_000, 256)), speed.duration(work(10_000, 512, processes=2))
    assert two.training == pytest.approx(alone.training)
    shared = [speed.duration(work(10_000, 512, processes=p, eval_units=1e5)) for p in (1, 2)]
    assert shared[1].evaluation == pytest.approx(shared[0].evaluation / 2)


def test_the_nearest_number_of_processes_counts():
    slow = replace(timed(10_000, 512, processes=8), step_seconds=9.0)
    speed = measured(timed(10_000, 64), slow)
    assert speed.duration(work(10_000, 512, processes=8)).training == pytest.approx(9000)
    assert speed.duration(work(10_000, 64)).training < 100


def test_a_step_never_gets_cheaper_than_nothing():
    """Noise may make the larger batch look disproportionately slow, or as fast as the smaller."""
    small, large = timed(10_000, 256), timed(10_000, 1024)
    for seconds in (small.step_seconds * 10, small.step_seconds * 0.5):
        speed = measured(small, replace(large, step_seconds=seconds))
        for batch in (1, 256, 4096):
            assert speed.duration(work(10_000, batch)).training > 0


def test_no_evaluation_and_no_launch_may_be_known():
    point = replace(timed(10_000, 512), eval_unit_seconds=None, launch_seconds=None)
    duration = measured(point).duration(work(10_000, 512, eval_units=1e6))
    assert duration.evaluation == 0
    assert duration.other == startup(10_000)


def test_the_median_of_three_is_the_middle_one():
    points = [
        replace(timed(10_000, 512), step_seconds=s, launch_seconds=launch)
        for s, launch in ((1.0, None), (30.0, 4.0), (2.0, 6.0))
    ]
    assert median_of(points).step_seconds == 2.0
    assert median_of(points).launch_seconds == 5.0


def test_given_flops_per_second_are_those_of_each_process():
    speed = GivenSpeed(flops_per_second=1e12, source="given", on_gpus=True)
    duration = speed.duration(work(1e6, 1e5, 100, processes=4, eval_units=3e5))
    assert duration.training == pytest.approx(6e6 * 1e5 * 100 / 4e12)
    assert duration.evaluation == pytest.approx(6e6 * 3e5 / 3 / 4e12)
    assert duration.other == 0


def test_equal_experiments_run_in_waves():
    for n, slots in itertools.product((1, 5, 8, 9), (1, 2, 4, 16)):
        assert wall_seconds([3.0] * n, slots) == pytest.approx(3.0 * -(-n // slots))
    assert wall_seconds([], 2) == 0


def test_each_starts_as_soon_as_there_is_room():
    # 5 and 1 begin; 2 follows 1 and ends at 3; 4 follows 2 and ends at 7.
    assert wall_seconds([5, 1, 2, 4], 2) == 7


@pytest.mark.parametrize(
    ("room", "processes", "threads", "expected"),
    [
        (Room(cores=8), 1, 1, 8),
        (Room(cores=8), 2, 4, 2),
        (Room(cores=64, gpus=4), 1, 1, 4),
        (Room(cores=64, gpus=4), 2, 2, 2),
        (Room(cores=2), 4, 4, 1),  # Snakemake gives a job what there is
        (Room(jobs=100), 8, 32, 100),
        (Room(), 1, 1, 1),
    ],
)
def test_how_many_run_side_by_side(room, processes, threads, expected):
    assert room.fits(processes, threads) == expected
