"""The surface that a designed sweep is read with."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.laws import FlopsPerUnit, Surface, fit_near_optimum, read_runs
from scipy.optimize import least_squares

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
SIX = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
TARGETS = np.array([1e22, 1e24])


def table(noise=0.0, seed=0, far=False, extra=0.0):
    C = np.repeat(1e18 * 10 ** (0.5 * np.arange(5)), 7)
    N = np.concatenate([np.geomspace(1 / 6, 6, 7) * TRUTH.N_opt(c, SIX) for c in C[::7]])
    if far:
        C, N = np.append(C, [1e18] * 3), np.append(N, np.array([15, 20, 30]) * N[3])
    D = C / (6 * N)
    L = TRUTH.loss(N, D) + extra * (N / 1e8) ** -0.9
    L = L * np.exp(noise * np.random.default_rng(seed).standard_normal(N.size))
    if far:
        L[-3:] *= 1.2
    return read_runs({"N": N, "D": D, "C": C, "budget": C, "loss": L})[0]


def test_a_surface_without_noise_is_found_and_runs_far_from_its_optimum_do_not_count():
    found = fit_near_optimum(table(far=True), SIX)
    assert found.kept.sum() == 35
    np.testing.assert_allclose(found.surface.to_row(), TRUTH.to_row(), rtol=1e-4)
    log_N, log_L = found.optimum(TARGETS)
    np.testing.assert_allclose(log_N[:, 0], np.log(TRUTH.N_opt(TARGETS, SIX)), atol=1e-4)
    N = TRUTH.N_opt(TARGETS, SIX)
    np.testing.assert_allclose(log_L[:, 0], np.log(TRUTH.loss(N, TARGETS / 6 / N)), atol=1e-5)


def test_it_minimises_the_weighted_relative_squares():
    runs = table(noise=0.005, seed=1)
    found = fit_near_optimum(runs, SIX)

    def residuals(row):
        fitted = Surface.from_row(row).loss(runs.N, runs.D)
        return ((runs.C / runs.C.max()) ** 0.15 * (fitted / runs.L - 1))[found.kept]

    own = (residuals(found.surface.to_row()) ** 2).sum()
    independent = least_squares(
        residuals, TRUTH.to_row(), x_scale="jac", xtol=1e-14, ftol=1e-14, max_nfev=1000
    )
    assert own == pytest.approx(2 * independent.cost, rel=1e-6)


def test_its_intervals_are_the_spread_of_simulated_sweeps():
    true = np.log(TRUTH.N_opt(TARGETS, SIX))
    errors, halves = [], []
    for seed in range(150):
        log_N, log_L = fit_near_optimum(table(noise=0.004, seed=seed), SIX).optimum(TARGETS)
        errors.append([log_N[:, 0] - true, log_L[:, 0]])
        halves.append([(values[:, 2] - values[:, 1]) / 2 / 1.96 for values in (log_N, log_L)])
    ratio = np.mean(halves, axis=0) / np.std(errors, axis=0)
    # 150 sweeps tell a standard deviation to 6%
    np.testing.assert_allclose(ratio, 1.0, atol=0.18)


def test_compute_in_the_weights_lessens_the_error_of_a_term_that_only_small_runs_have():
    runs = table(extra=0.1)
    true = np.log(TRUTH.N_opt(TARGETS, SIX))
    errors = [
        np.abs(fit_near_optimum(runs, SIX, power=power).optimum(TARGETS)[0][:, 0] - true)
        for power in (0.0, 0.3, 0.6)
    ]
    assert np.all(errors[1] < errors[0])
    assert np.all(errors[2] < errors[1])


def test_losses_below_zero_are_refused():
    runs = table()
    runs.L[0] = -1.0
    with pytest.raises(UserError, match="no relative error"):
        fit_near_optimum(runs, SIX)
