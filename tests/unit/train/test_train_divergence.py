"""A loss that explodes ends a run, and nothing that a healthy run does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flops_fit.train.divergence import Divergence


def judge(losses, *, steps: int = 1000, warmup: int = 100, every: int = 10, cuts=()):
    """Return the step at which a run ends early, None if it does not."""
    rule = Divergence(steps=steps, warmup=warmup)
    for step in range(every, steps + 1, every):
        if step in cuts:
            state, rule = rule.state(), Divergence(steps=steps, warmup=warmup)
            rule.restore(state)
        if rule.seen(step, losses(step)):
            return step
    return None


def test_a_loss_that_stays_ten_times_above_the_untrained_one_ends_the_run():
    def explodes(step):
        return 5.5 if step < 300 else 56.0

    assert judge(explodes) == 400  # 100 steps after it was seen first
    assert judge(explodes, steps=5000, warmup=100) == 800  # a tenth of the run after
    assert judge(lambda step: 5.5 if step < 300 else 54.9) is None


@pytest.mark.parametrize("kind", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_it_at_once(kind):
    assert judge(lambda step: 5.5 if step < 50 else kind) == 50


def test_where_a_run_is_cut_changes_nothing():
    random = np.random.default_rng(0)
    for _ in range(50):
        start = int(random.integers(0, 900))
        noise = random.lognormal(0, 1, 1001)

        def loss(step, start=start, noise=noise):
            return 3.0 * noise[step] * (40 if step > start else 1)

        whole = judge(loss)
        cuts = random.integers(1, 100, 5) * 10
        assert judge(loss, cuts=set(cuts.tolist())) == whole


HEALTHY = {
    "a language model": lambda step: 1.4 + 4.1 * step**-0.3,
    "spikes of a large rate": lambda step: 500.0 if step % 90 == 0 else 3.0,
    "a rough start": lambda step: 5.5 if step == 10 else 1e4 if step <= 150 else 4.0,
    "a small loss that grows a little": lambda step: 0.01 + 0.001 * step,
    "a log density": lambda step: -0.001 - 0.004 * step,
    "a log density that turns positive": lambda step: -3.0 if step < 50 else 16.0,
    "a loss of zero in the beginning": lambda step: 0.0 if step == 10 else 19.0,
    "nothing to predict now and then": lambda step: None if step % 30 else 2.0,
    "a large scale": lambda step: 1e6 / step,
}


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_healthy_runs_go_on(name):
    assert judge(HEALTHY[name]) is None


def test_a_rough_start_that_does_not_end_is_seen_after_the_warm_up():
    assert judge(lambda step: 5.5 if step == 10 else 1e4) == 110 + 100


def test_at_the_end_of_a_run_there_is_nothing_to_wait_for():
    assert judge(lambda step: 5.5 if step < 980 else 60.0) == 1000
    assert judge(lambda step: 5.5 if step != 990 else 60.0) is None


def test_the_reason_names_both_losses():
    rule = Divergence(steps=10, warmup=0)
    assert not rule.seen(1, 2.0)
    assert rule.seen(10, 123.456)
    assert rule.reason == "the loss exploded from 2 to 123.5"
