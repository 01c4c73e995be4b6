from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, fit_runs, read_runs
from known_laws import columns, nine_sizes

SIZES = np.logspace(6, 8.5, 30)


def interpolated(N, D, C):
    """Mean log(C/D) of each size."""
    sizes = np.unique(N)
    return np.array([np.mean(np.log(C[N == size] / D[N == size])) for size in sizes])


def uneven(N):
    """FLOPs per unit of transformers whose layers come in fours and heads in steps of 64."""
    width = np.maximum(64, 64 * np.round((N / 768) ** (1 / 3) * 8 / 64))
    layers = np.maximum(4, 4 * np.round(N / (48 * width**2)))
    return 6 * N + 6 * layers * width * 2048


def bend(log_cost):
    """Largest change of the slope d log(C/D) / d log N from one size to the next."""
    return np.abs(np.diff(np.diff(log_cost) / np.diff(np.log(SIZES)))).max()


def test_interpolation_is_exact_on_a_power_of_N():
    N = np.array([1e6, 4e6, 9e6, 3e7])
    f = 50 * N**0.9
    flops = FlopsPerUnit.from_runs(N, 1e15 / f, np.full(4, 1e15))
    inside = np.array([1e6, 2e6, 1.7e7, 3e7])
    np.testing.assert_allclose(flops.flops_per_unit(inside), 50 * inside**0.9, rtol=1e-12)


def test_beyond_the_sizes_flops_per_unit_over_N_keeps_its_end_value():
    N = np.array([1e6, 1e7])
    flops = FlopsPerUnit.from_runs(N, 1e15 / (np.array([9, 7]) * N), np.full(2, 1e15))
    np.testing.assert_allclose(
        flops.flops_per_unit([1e4, 1e6, 1e7, 1e12]) / [1e4, 1e6, 1e7, 1e12],
        [9, 9, 7, 7],
        rtol=1e-12,
    )
    assert flops.covers([9e5, 1e6, 5e6, 1e7, 2e7]).tolist() == [False, True, True, True, False]


def test_D_spends_exactly_C():
    N = np.array([1e6, 1e7, 1e8])
    flops = FlopsPerUnit.from_runs(N, 1e15 / (np.array([9, 7, 6.5]) * N), np.full(3, 1e15))
    for wanted in (1e5, 3e6, 1e9):
        assert flops.D_at(1e20, wanted) * flops.flops_per_unit(wanted) == pytest.approx(1e20)


def test_runs_of_one_size_are_averaged_in_logs_and_k_is_the_median():
    N = np.array([1e6, 1e6, 1e7])
    flops = FlopsPerUnit.from_runs(N, np.array([1.0, 1.0, 1.0]), np.array([4.0, 9.0, 70.0]) * 1e6)
    assert flops.flops_per_unit(1e6) == pytest.approx(6e6, rel=1e-12)  # geometric mean of 4 and 9
    assert flops.k == pytest.approx(7.0)  # median of 4, 9, 7


@pytest.mark.parametrize(
    "cost",
    [
        lambda N: 6 * N,
        lambda N: 6 * N + 3e4 * N**0.6,
        lambda N: 6 * N * np.where(N > 2e7, 1.04, 1.0),  # one step
        lambda N: 6.0 * N * (1 + 0.2 * np.sin(np.log(N))),
        lambda N: 6 * N * (1 + 1e-5 * np.cos(1e3 * N)),  # rounded numbers
    ],
)
def test_a_smooth_cost_is_kept_to_the_last_digit(cost):
    D = np.full(SIZES.size, 1e9)
    C = cost(SIZES) * D
    flops = FlopsPerUnit.from_runs(SIZES, D, C)
    assert flops.log_flops.tolist() == np.log(C / D).tolist()
    assert flops.log_N.tolist() == np.log(SIZES).tolist()


def test_one_cost_per_size_is_kept_to_the_last_digit_however_uneven():
    rng = np.random.default_rng(0)
    cost = 6 * SIZES * np.exp(0.02 * rng.normal(size=SIZES.size))
    N, D = np.tile(SIZES, 2), np.repeat([2.0**30, 2.0**33], SIZES.size)
    flops = FlopsPerUnit.from_runs(N, D, np.tile(cost, 2) * D)
    assert flops.log_flops.tolist() == interpolated(N, D, np.tile(cost, 2) * D).tolist()


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_counted_costs_are_kept_and_seeds_of_one_cost_tell_nothing(n_seeds):
    cost = uneven(SIZES)
    runs = columns(cost * 1e9, SIZES, 3.0, flops_per_unit=lambda N: cost)
    runs = {name: list(values) * n_seeds for name, values in runs.items() if name != "id"}
    stated = read_runs(runs | {"flops_per_unit": list(cost) * n_seeds})[0]
    assert FlopsPerUnit.of(stated).log_flops.tolist() == pytest.approx(np.log(cost), abs=1e-14)
    one, many = (
        FlopsPerUnit.of(read_runs(runs)[0]),
        FlopsPerUnit.from_runs(SIZES, cost * 0 + 1, cost),
    )
    np.testing.assert_allclose(one.log_flops, many.log_flops, atol=1e-12)


def test_an_uneven_architecture_moves_by_no_more_than_it_is_uneven():
    cost = uneven(SIZES)
    flops = FlopsPerUnit.from_runs(SIZES, np.ones(SIZES.size), cost)
    log_ratio = np.log(cost / SIZES)
    line = np.polyval(np.polyfit(np.log(SIZES), log_ratio, 1), np.log(SIZES))
    moved = np.abs(flops.log_flops - np.log(cost)).max()
    assert 0 < moved < np.abs(log_ratio - line).max()


def test_wiggles_that_exceed_their_scatter_are_kept():
    rng = np.random.default_rng(0)
    wiggle = 0.02 * (-1.0) ** np.arange(SIZES.size)
    N, D = np.tile(SIZES, 4), rng.uniform(1e9, 9e9, 4 * SIZES.size)
    C = 6 * N * D * np.exp(np.tile(wiggle, 4) + 0.002 * rng.normal(size=N.size))
    error = FlopsPerUnit.from_runs(N, D, C).log_flops - np.log(6 * SIZES) - wiggle
    assert np.abs(error).max() < 0.003


@pytest.mark.parametrize("repeats", [1, 3])
def test_scatter_is_smoothed(repeats):
    rng = np.random.default_rng(1)
    N, D = np.tile(SIZES, repeats), rng.uniform(1e9, 9e9, repeats * SIZES.size)
    errors, bends, raw = [], [], []
    for _ in range(30):
        C = (6 * N + 3e4 * N**0.6) * D * np.exp(0.01 * rng.normal(size=N.size))
        flops = FlopsPerUnit.from_runs(N, D, C)
        errors.append(flops.log_flops - np.log(6 * SIZES + 3e4 * SIZES**0.6))
        bends.append(bend(flops.log_flops))
        raw.append(bend(interpolated(N, D, C)))
    assert np.sqrt(np.mean(np.square(errors))) < 0.6 * 0.01 / np.sqrt(repeats)
    assert np.median(bends) < 0.1 * np.median(raw)


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("cost", [lambda N: 6 * N, uneven])
def test_the_accounting_is_continuous_in_C(cost, repeats):
    rng = np.random.default_rng(2)
    N, D = np.tile(SIZES, repeats), rng.uniform(1e9, 9e9, repeats * SIZES.size)
    direction = rng.uniform(-1, 1, size=N.size)
    steps = np.concatenate([np.linspace(0, 2e-3, 401), np.linspace(2e-3, 0.03, 2001)])
    curves = np.array(
        [FlopsPerUnit.from_runs(N, D, cost(N) * D * np.exp(s * direction)).log_flops for s in steps]
    )
    moved = np.abs(np.diff(curves, axis=0)).max(axis=1)
    assert np.all(moved <= 20 * np.diff(steps) + 1e-12)


def test_optima_of_surfaces_do_not_stay_at_sizes_that_seem_cheap():
    within, at_sizes = [], []
    for seed in range(60):
        runs, truth = nine_sizes(noise=0.003, seed=seed)
        runs["C"] = runs["C"] * np.exp(0.01 * np.random.default_rng(seed).normal(size=45))
        fit = fit_runs(
            runs, study="s", params="total", approaches=["vpnls"], bootstrap=60, holdout_budgets=0
        )
        for row in fit["approaches"]["vpnls"]["predictions"]:
            low, high = row["N_opt_ci"]
            within.append(
                low <= truth.N_opt(row["C"], FlopsPerUnit.from_runs([1], [1], [6])) <= high
            )
            at_sizes.append(np.isclose(row["N_opt"], runs["N"], rtol=1e-9).any())
    assert 0.85 < np.mean(within) < 0.99
    assert np.mean(at_sizes) < 0.1
