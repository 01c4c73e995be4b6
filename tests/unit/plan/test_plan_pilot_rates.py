"""A learning-rate pilot against valleys of losses whose optimum is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flops_fit.plan.pilot_rates import NOISE, STEP, drift_of, next_factors, optimum_of

WHERE = {"budget": 1e6, "size": 8, "N": 100.0, "D": 1e4}


def valley(log_best: float, curvature: float = 0.03, cliff: float = math.inf):
    """Log L is a parabola in log lr; above the cliff a run diverges."""

    def loss(factor: float) -> float | None:
        if factor > cliff:
            return None
        return 3 * math.exp(curvature / 2 * (math.log(factor) - log_best) ** 2)

    return loss


def searched(loss) -> dict[float, float | None]:
    """All rates that a pilot tries, wave by wave."""
    losses: dict[float, float | None] = {}
    while factors := next_factors(losses):
        assert not set(factors) & set(losses)
        losses |= {factor: loss(factor) for factor in factors}
    return losses


@pytest.mark.parametrize("log_best", [-0.4, 0.0, 0.3])
def test_three_rates_find_the_optimum_of_a_parabola(log_best):
    losses = searched(valley(log_best))
    assert sorted(losses) == pytest.approx([1 / STEP, 1, STEP])
    found = optimum_of(losses, **WHERE)
    assert found.log_factor == pytest.approx(log_best, abs=1e-9)
    assert (found.edge, found.n_rates) == (None, 3)


@pytest.mark.parametrize(("log_best", "n_rates"), [(2.0, 5), (-3.0, 6)])
def test_an_optimum_at_the_edge_extends_the_rates(log_best, n_rates):
    first = {factor: valley(log_best)(factor) for factor in (1 / STEP, 1, STEP)}
    assert optimum_of(first, **WHERE).edge == ("above" if log_best > 0 else "below")
    losses = searched(valley(log_best))
    found = optimum_of(losses, **WHERE)
    assert found.log_factor == pytest.approx(log_best, abs=1e-9)
    assert (found.edge, found.n_rates) == (None, n_rates)


def test_a_search_ends_and_says_that_it_found_no_minimum():
    losses = searched(valley(50.0))
    assert max(losses) == pytest.approx(STEP**4)
    found = optimum_of(losses, **WHERE)
    assert found.edge == "above"
    assert found.log_factor == pytest.approx(4 * math.log(STEP))


def test_beside_a_rate_that_diverges_the_halfway_one_is_tried():
    losses = searched(valley(0.2, cliff=2))
    assert sorted(losses) == pytest.approx([1 / STEP, 1, math.sqrt(STEP), STEP])
    assert losses[3.0] is None
    found = optimum_of(losses, **WHERE)
    # 1/3, 1 and sqrt(3) are on the parabola
    assert found.log_factor == pytest.approx(0.2, abs=1e-9)


def test_rates_fall_until_one_does_not_diverge():
    losses = searched(valley(-3.5, cliff=0.12))
    assert optimum_of(losses, **WHERE).log_factor == pytest.approx(-3.5, abs=1e-9)
    nothing = searched(lambda factor: None)
    assert min(nothing) == pytest.approx(STEP**-4)
    assert optimum_of(nothing, **WHERE) is None


def test_the_standard_deviation_is_that_of_noisy_valleys():
    random = np.random.default_rng(1)
    clean = valley(0.2, curvature=0.1)
    found = []
    for _ in range(4000):
        noise = np.exp(NOISE * random.standard_normal(3))
        losses = {x: clean(x) * e for x, e in zip((1 / STEP, 1, STEP), noise, strict=True)}
        found.append(optimum_of(losses, **WHERE).log_factor)
    assert np.std(found) == pytest.approx(optimum_of(searched(clean), **WHERE).std, rel=0.1)


def optima(level: float, power_n: float, power_d: float, budgets=(1e6, 3e6)) -> list:
    """Optima of a law at two sizes of each budget, C = 6 N D; N = 100 and D = 1e4 are the base."""
    made = []
    for budget in budgets:
        for N in (50.0, 300.0):
            D = budget / (6 * N)
            best = level + power_n * math.log(N / 100) + power_d * math.log(D / 1e4)
            losses = searched(valley(best))
            made.append(optimum_of(losses, budget=budget, size=N, N=N, D=D))
    return made


def test_a_known_drift_with_n_and_d_is_found():
    found = drift_of(optima(0.2, -0.5, 0.3))
    assert found.power_n[0] == pytest.approx(-0.5, abs=1e-6)
    assert found.power_d[0] == pytest.approx(0.3, abs=1e-6)
    assert found.rule.at(100, 1e4) == pytest.approx(math.exp(0.2))
    assert found.rule.at(400, 2e4) == pytest.approx(math.exp(0.2) * 4**-0.5 * 2**0.3)


def test_one_budget_tells_the_drift_along_it():
    """There D is C / 6 N: a power of D looks like one of N with the other sign."""
    found = drift_of(optima(0.2, -0.5, 0.3, budgets=(1e6,)))
    assert found.power_n[0] == pytest.approx(-0.8, abs=1e-6)
    assert found.power_d is None
    assert found.rule.power_d == 0


def test_a_drift_within_the_noise_is_left_out():
    found = drift_of(optima(0.2, -0.01, 0.0))
    assert found.power_n[0] == pytest.approx(-0.01, abs=1e-6)
    assert abs(found.power_n[0]) < 2 * found.power_n[1]
    assert (found.rule.power_n, found.rule.power_d) == (0, 0)
    assert found.rule.at(1e9, 1e12) == pytest.approx(math.exp(0.2), rel=0.02)
