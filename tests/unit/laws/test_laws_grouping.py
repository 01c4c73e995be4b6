"""Tables without budgets: groups, and losses moved to one compute."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs, group_budgets
from known_laws import columns, surface, surface_N_opt

OFFSETS = np.linspace(-1.5, 1.5, 7)


def test_nearly_equal_compute_is_one_budget():
    rng = np.random.default_rng(0)
    C = np.repeat([1e18, 3e18, 1e19], 6) * rng.uniform(0.96, 1.04, 18)
    budget, profiled = group_budgets(np.tile(np.logspace(7, 8, 6), 3), C)
    assert profiled.all()
    assert np.unique(budget).size == 3
    np.testing.assert_allclose(budget, np.repeat([1e18, 3e18, 1e19], 6), rtol=0.04)


def test_equal_compute_is_a_budget_to_the_last_digit():
    C = np.repeat([1e18, 3.3e18, 1e19], 6)
    np.testing.assert_array_equal(group_budgets(np.tile(np.logspace(7, 8, 6), 3), C)[0], C)


def test_groups_need_four_sizes_and_span_ten_percent_at_most():
    C = np.array([1.0, 1.03, 1.06, 1.09, 1.2, 50, 50, 50, 50, 300, 300, 300]) * 1e18
    N = np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 1, 2, 3]) * 1e7
    budget, profiled = group_budgets(N, C)
    assert profiled.tolist() == [True] * 4 + [False] + [True] * 4 + [False] * 3
    assert budget[4] == budget[0]  # the nearest group, for resampling
    # The same sizes again and again are no profile
    assert not group_budgets(np.tile([1e7, 2e7, 3e7], 4), np.repeat([1e18, 1e20], 6))[1].any()


def test_scattered_compute_gives_quantiles_and_no_approach_2():
    rng = np.random.default_rng(1)
    N, C = np.exp(rng.uniform(16, 20, 40)), 10 ** np.linspace(17, 23, 40)
    fit = fit_runs({"N": N, "D": C / (6 * N), "C": C, "loss": surface(N, C / (6 * N))},
                   study="s", params="total", bootstrap=0)  # fmt: skip
    assert fit["approaches"]["2"]["status"] == "unsupported"
    assert "fewer than 2 groups" in fit["approaches"]["2"]["reason"]
    assert len(fit["approaches"]["3"]["points"]) == 5


def at_few_compute(counts, seed=0):
    """Runs at 1e18, 1e20 and so on, so many at each, which name no budget."""
    rng = np.random.default_rng(seed)
    C = np.repeat(10.0 ** (18 + 2 * np.arange(len(counts))), counts)
    N = surface_N_opt(C) * np.exp(np.concatenate([np.linspace(-1, 1, n) for n in counts]))
    runs = columns(C, N, surface(N, C / (6 * N)) * np.exp(0.002 * rng.normal(size=C.size)))
    del runs["budget"]
    return runs


@pytest.mark.parametrize(
    ("counts", "tied"), [((4, 3), False), ((3, 2), True), ((6, 3, 3), False), ((9, 2), False)]
)
def test_few_compute_values_are_the_budgets_however_many_runs_stand_at_one(counts, tied):
    """More than half of the runs at the lowest C leave the other one a budget of its own."""
    runs = at_few_compute(counts)
    budget, profiled = group_budgets(runs["N"], runs["C"])
    assert not profiled.any()
    np.testing.assert_array_equal(budget, runs["C"])
    fit = fit_runs(runs, study="s", params="total", approaches=["3", "vpnls"], bootstrap=20,
                   tie_exponents=tied)  # fmt: skip
    for entry in fit["approaches"].values():
        assert entry["status"] == "ok", entry["reason"]
        assert [row["C"] for row in entry["predictions"]] == np.unique(runs["C"]).tolist()


def test_nearly_equal_compute_is_never_split_and_every_budget_was_run():
    rng = np.random.default_rng(3)
    # Three sizes at each, which are no group; many at one C, a few within 10% of others
    levels = 10.0 ** np.array([17, 17.5, 18, 19, 19.5, 20, 20.5, 21])
    C = np.repeat(levels, [3, 3, 30, 3, 3, 3, 3, 1])
    nearly = C * rng.uniform(0.97, 1.03, C.size)
    budget, profiled = group_budgets(np.tile([1e7, 2e7, 4e7], 17)[: C.size], nearly)
    assert not profiled.any()
    assert 2 <= np.unique(budget).size <= 5
    assert set(budget) <= set(nearly)
    for value in np.unique(C):
        assert np.unique(budget[value == C]).size == 1
    # The order of the strata is that of C
    assert (np.diff(budget[np.argsort(nearly)]) >= 0).all()


def test_losses_are_moved_to_the_compute_of_their_group():
    rng = np.random.default_rng(2)
    centres = np.repeat([1e18, 1e19, 1e20, 1e21], 7)
    C = centres * rng.uniform(0.955, 1.045, 28)
    N = surface_N_opt(centres) * np.tile(np.exp(OFFSETS), 4)
    spread = columns(C, N, surface(N, C / (6 * N)))
    del spread["budget"]
    exact = columns(centres, N, surface(N, centres / (6 * N)))
    fits = [
        fit_runs(runs, study="s", params="total", approaches=["2"], bootstrap=0)["approaches"]["2"]
        for runs in (spread, exact)
    ]
    # Noise-free, so that the surface moves the losses exactly; unmoved, N_opt is off by 10%
    assert fits[0]["N_opt"]["exponent"] == pytest.approx(fits[1]["N_opt"]["exponent"], abs=3e-4)
    for a, b in zip(fits[0]["points"], fits[1]["points"], strict=True):
        law = surface_N_opt(a["C"]) / surface_N_opt(b["C"])
        assert a["N_opt"] == pytest.approx(b["N_opt"] * law, rel=0.01)


def test_runs_of_a_grid_that_meet_at_one_compute_by_chance_are_no_budgets():
    N, D = (values.ravel() for values in np.meshgrid(
        np.array([1, 2, 4, 8, 11, 17, 29]) * 1e7, np.array([1, 2, 4, 8, 13, 19, 31]) * 1e9
    ))  # fmt: skip
    C = 6 * N * D
    assert np.sort(np.bincount(np.unique(C, return_inverse=True)[1]))[-1] == 4
    assert not group_budgets(N, C)[1].any()
    diagonals = np.isin(N, np.unique(N)[:4]) & np.isin(D, np.unique(D)[:4])
    assert not group_budgets(N[diagonals], C[diagonals])[1].any()  # a single group of 4 of 16 runs


def test_runs_that_all_stand_at_one_compute_are_one_budget():
    C = 1e19 * np.random.default_rng(0).uniform(0.99, 1.01, 9)
    budget, profiled = group_budgets(np.logspace(7, 9, 9), C)
    assert profiled.all()
    assert np.unique(budget).tolist() == [pytest.approx(1e19, rel=0.01)]
