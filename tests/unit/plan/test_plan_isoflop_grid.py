"""Sizes are spread as evenly in log N as they can be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from flops_fit.plan.layouts.isoflop_grid import spread_evenly


def brute_force(positions: list[float], count: int) -> tuple[float, list[tuple[int, ...]]]:
    """Least sum of squared distances over every subset in every order, and the subsets with it."""
    targets = np.linspace(min(positions), max(positions), count)
    costs: dict[tuple[int, ...], float] = {}
    for subset in itertools.combinations(range(len(positions)), count):
        chosen = np.array([positions[i] for i in subset])
        costs[subset] = min(
            float(((chosen[list(order)] - targets) ** 2).sum())
            for order in itertools.permutations(range(count))
        )
    least = min(costs.values())
    return least, [subset for subset, cost in costs.items() if cost <= least + 1e-12]


@pytest.mark.parametrize(("n", "count"), [(4, 3), (6, 3), (7, 4), (8, 4), (7, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_the_spread_is_the_best_of_all_subsets(n, count, seed):
    rng = np.random.default_rng((n, count, seed))
    positions = np.sort(rng.uniform(0, 5, n)).tolist()
    sizes = rng.permutation(n)  # a size's rank is no clue to its N
    chosen = spread_evenly({int(size): positions[size] for size in sizes}, count)
    _, best = brute_force(positions, count)
    assert tuple(chosen) in best
    assert (chosen[0], chosen[-1]) == (0, n - 1)


def test_spread_of_a_known_case():
    """Of 1, 2, 4, ..., 256 every second is what an even spread of five takes."""
    log_n = {size: math.log(size) for size in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
    assert spread_evenly(log_n, 5) == [1, 4, 16, 64, 256]
    assert spread_evenly(log_n, 9) == spread_evenly(log_n, 20) == list(log_n)
    # Targets 0, 5, 10, 15, 20: squares 0 + 1 + 25 + 9 + 0 make 35; 0, 3, 4, 15, 20 make 40,
    # though its distances sum to less (8 against 9).
    positions = [0.0, 2.0, 3.0, 4.0, 15.0, 18.0, 20.0]
    assert spread_evenly({p: p for p in positions}, 5) == [0, 4, 15, 18, 20]


def test_the_spread_goes_by_n_and_not_by_size():
    assert spread_evenly({1: 3.0, 2: 2.0, 3: 1.0}, 5) == [3, 2, 1]
