"""The learning rate's course against factors written down by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from flops_fit.train.schedule import lr_factor


def factors(steps: int, warmup: float, schedule: str = "cosine", final: float = 0.0) -> list[float]:
    return [
        lr_factor(step, steps, warmup_fraction=warmup, schedule=schedule, final_fraction=final)
        for step in range(steps)
    ]


ROOT = math.sqrt(3) / 2  # the cosine of 30 degrees

# (1 + cos x) / 2 at 30, 60, ..., 180 degrees
SIX = [(1 + ROOT) / 2, 0.75, 0.5, 0.25, (1 - ROOT) / 2, 0.0]


@pytest.mark.parametrize(
    ("steps", "warmup", "schedule", "final", "expected"),
    [
        # two steps up, six steps of 30 degrees down
        (8, 0.25, "cosine", 0.0, [0.5, 1.0, *SIX]),
        (8, 0.25, "cosine", 0.2, [0.5, 1.0, *(0.2 + 0.8 * factor for factor in SIX)]),
        (8, 0.25, "cosine", 1.0, [0.5] + [1.0] * 7),
        (8, 0.25, "constant", 0.2, [0.5] + [1.0] * 7),
        (6, 0.0, "cosine", 0.0, SIX),
        (5, 0.0, "constant", 0.1, [1.0] * 5),
        # 0.1 of 14 steps is one, 0.1 of 4 steps is none
        (4, 0.1, "cosine", 0.0, [(1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
        (14, 0.1, "constant", 0.0, [1.0] * 14),
        # 0.3 of 6 steps is nearest to two; then four steps of 45 degrees
        (6, 0.3, "cosine", 0.0, [0.5, 1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, 0]),
        # nearly all is warm-up
        (4, 0.9, "cosine", 0.1, [0.25, 0.5, 0.75, 1.0]),
        (5, 0.8, "cosine", 0.1, [0.25, 0.5, 0.75, 1.0, 0.1]),
        (1, 0.0, "cosine", 0.1, [0.1]),
        (1, 0.9, "cosine", 0.1, [1.0]),
    ],
)
def test_factors_by_hand(steps, warmup, schedule, final, expected):
    assert factors(steps, warmup, schedule, final) == pytest.approx(expected, abs=1e-15)


ROOTS = (0.5, math.sqrt(0.5), math.sqrt(0.75), 1.0)


def wsd(steps: int, decay: float, shape: str = "linear", **settings) -> list[float]:
    settings = {"warmup_fraction": 0.0, "final_fraction": 0.0, **settings}
    return [
        lr_factor(step, steps, schedule="wsd", decay_fraction=decay, decay_shape=shape, **settings)
        for step in range(steps)
    ]


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        # two steps up, four at the peak, four down by quarters
        (wsd(10, 0.4, warmup_fraction=0.2), [0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]),
        (wsd(10, 0.4, warmup_steps=2), [0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]),
        (wsd(6, 0.5, final_fraction=0.4), [1, 1, 1, 0.8, 0.6, 0.4]),
        # the square roots of 1/4, 2/4, 3/4 and 1
        (wsd(5, 0.8, "1-sqrt"), [1, *(1 - root for root in ROOTS)]),
        (wsd(5, 0.8, "1-sqrt", final_fraction=0.2), [1, *(1 - 0.8 * root for root in ROOTS)]),
        # 0.2 of 7 steps is nearest to one, of 2 steps is none
        (wsd(7, 0.2, final_fraction=0.1), [1, 1, 1, 1, 1, 1, 0.1]),
        (wsd(2, 0.2), [1, 1]),
        (wsd(4, 1.0), [0.75, 0.5, 0.25, 0]),
        # a warm-up in steps does not depend on the length
        (wsd(4, 0.25, warmup_steps=3), [1 / 3, 2 / 3, 1, 0]),
        (wsd(8, 0.25, warmup_steps=3), [1 / 3, 2 / 3, 1, 1, 1, 1, 0.5, 0]),
    ],
)  # fmt: skip
def test_warm_up_stable_and_decay_by_hand(factors, expected):
    assert factors == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("shape", ["linear", "1-sqrt"])
def test_a_wsd_is_constant_until_its_decay_whatever_its_length(shape):
    """So a longer run passes through the states of a shorter one until that decays."""
    short, long = (wsd(steps, 0.2, shape, warmup_steps=20) for steps in (500, 3000))
    assert short[:400] == long[:400]
    assert short[400] < long[400] == 1.0
    assert all(later < earlier for earlier, later in itertools.pairwise(short[399:]))
    # The sum of 1 - k/100, and of 1 - sqrt(k/100), over k = 1 .. 100
    expected = {"linear": 49.5, "1-sqrt": 100 - sum(math.sqrt(k) for k in range(101)) / 10}
    assert sum(short[400:]) == pytest.approx(expected[shape], rel=1e-12)


def test_a_long_schedule_rises_then_falls_to_its_end():
    found = factors(1000, 0.1, final=0.1)
    peak = found.index(1.0)
    assert peak == 99
    assert found[:100] == pytest.approx([(i + 1) / 100 for i in range(100)])
    assert all(later < earlier for earlier, later in itertools.pairwise(found[99:]))
    assert found[-1] == pytest.approx(0.1, abs=1e-15)
    # The mean of half a cosine is the mean of its ends: 900 steps, of which the last is one end.
    assert sum(found[100:]) == pytest.approx(900 * 0.55 - (1 - 0.1) / 2, rel=1e-12)
