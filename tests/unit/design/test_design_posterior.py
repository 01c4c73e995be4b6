"""The law that runs leave, against independent least squares, differences and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.posterior import (
    E_SHARE,
    E_STD,
    EXPONENT,
    EXPONENT_STD,
    NOISE,
    NOISE_FREEDOM,
    TERM_STD,
    ExpectedOptimum,
    fit_posterior,
)
from flops_fit.laws import FlopsPerUnit, Surface
from scipy.optimize import least_squares, minimize_scalar

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
BUDGETS = 1e18 * 10 ** (0.5 * np.arange(5))
SIX = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
BENT = FlopsPerUnit(log_N=np.log([1e6, 1e8, 1e10]), log_flops=np.log([1.5e7, 8e8, 6.5e10]), k=7.0)


def sweep():
    log_C = np.repeat(np.log(BUDGETS), 7)
    centres = np.log(TRUTH.N_opt(BUDGETS, SIX))
    log_N = (centres[:, np.newaxis] + np.linspace(-1.7, 1.7, 7)).ravel()
    return log_N, log_C - np.log(6) - log_N


def noisy(rng, noise=0.004):
    log_N, log_D = sweep()
    L = TRUTH.loss(np.exp(log_N), np.exp(log_D)) * np.exp(noise * rng.standard_normal(log_N.size))
    return log_N, log_D, L


def rows_of(log_N, log_D, L, noise, expected=None):
    """Return the residuals that the posterior minimises, written down independently."""
    term = np.log((L.mean() - E_SHARE * L.min()) / 2)

    def residuals(row):
        log_A, log_B, log_E, alpha, beta = row
        fitted = np.exp(log_E) + np.exp(log_A - alpha * log_N) + np.exp(log_B - beta * log_D)
        found = [
            *((np.log(fitted) - np.log(L)) / noise),
            (log_A - alpha * log_N.mean() - term) / TERM_STD,
            (log_B - beta * log_D.mean() - term) / TERM_STD,
            (log_E - np.log(E_SHARE * L.min())) / E_STD,
            (alpha - EXPONENT) / EXPONENT_STD,
            (beta - EXPONENT) / EXPONENT_STD,
        ]
        if expected is not None:
            law = Surface.from_row(row)
            best = law.G * np.exp(law.a * (expected.log_C - expected.log_k))
            found.append((np.log(best) - expected.log_N) / expected.std)
        return np.array(found)

    return residuals


@pytest.mark.parametrize("far", [None, 0.0, 1.0])
def test_the_posterior_is_the_least_squares_with_its_prior(far):
    log_N, log_D, L = noisy(np.random.default_rng(0))
    expected = None
    if far is not None:
        best = float(np.log(TRUTH.N_opt(1e19, SIX)))
        expected = ExpectedOptimum(log_C=np.log(1e19), log_N=best + far, std=0.2, log_k=np.log(6.0))
    found = fit_posterior(log_N, log_D, L, expected)
    residuals = rows_of(log_N, log_D, L, found.noise, expected)
    start = TRUTH.to_row()
    bounds = ([-np.inf] * 3 + [0.03] * 2, [np.inf] * 3 + [2.0] * 2)
    independent = least_squares(
        residuals, start, bounds=bounds, x_scale="jac", xtol=1e-14, ftol=1e-14, max_nfev=1000
    )
    np.testing.assert_allclose(found.mean, independent.x, atol=2e-3)
    assert 2 * independent.cost == pytest.approx((residuals(found.mean) ** 2).sum(), rel=1e-6)
    precision = independent.jac.T @ independent.jac
    scale = np.sqrt(np.diag(precision))
    inverse = np.linalg.inv(found.covariance)
    np.testing.assert_allclose(
        inverse / np.outer(scale, scale), precision / np.outer(scale, scale), atol=5e-3
    )
    rest = residuals(found.mean)[: L.size] * found.noise
    freedom = L.size - 5 + NOISE_FREEDOM
    expected_noise = np.sqrt((rest @ rest + NOISE_FREEDOM * NOISE**2) / freedom)
    assert found.noise == pytest.approx(expected_noise, rel=1e-6)


def test_the_spread_of_simulated_optima_is_the_predicted_one():
    rng, target = np.random.default_rng(1), [np.log(1e23)]
    at, predicted = [], []
    for _ in range(200):
        found = fit_posterior(*noisy(rng))
        optimum = optimum_at(found.mean[np.newaxis], target, SIX)
        slopes = np.stack([optimum.of_N[0, 0], optimum.of_L[0, 0]])
        at.append([optimum.log_N[0, 0], optimum.log_L[0, 0]])
        predicted.append(np.sqrt(np.diag(slopes @ found.covariance @ slopes.T)))
    ratio = np.mean(predicted, axis=0) / np.std(at, axis=0)
    # 200 studies tell a standard deviation to 5%
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def test_derivatives_of_the_loss_are_its_differences():
    log_N, log_D = sweep()
    row, step = TRUTH.to_row(), 1e-6
    _, jacobian = log_loss(row, log_N, log_D)
    for i in range(5):
        by = np.eye(5)[i] * step
        up, down = (log_loss(row + sign * by, log_N, log_D)[0] for sign in (1, -1))
        np.testing.assert_allclose(jacobian[:, i], (up - down) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("flops", [SIX, BENT], ids=["6ND", "bent"])
def test_the_optimum_is_the_lowest_loss_and_its_derivatives_are_differences(flops):
    # Between kinks of flops_per_unit, where it is smooth
    log_C, row, step = np.log([3e17, 1e24]), TRUTH.to_row(), 1e-5
    at = optimum_at(row[np.newaxis], log_C, flops)
    for i, c in enumerate(np.exp(log_C)):

        def loss(x, c=c):
            return float(TRUTH.loss(np.exp(x), flops.D_at(c, np.exp(x))))

        best = minimize_scalar(loss, bounds=(at.log_N[0, i] - 3, at.log_N[0, i] + 3))
        assert at.log_N[0, i] == pytest.approx(best.x, abs=1e-3)
        assert at.log_L[0, i] == pytest.approx(np.log(best.fun), abs=1e-9)
    for i in range(5):
        by = np.eye(5)[i] * step
        up, down = (optimum_at((row + sign * by)[np.newaxis], log_C, flops) for sign in (1, -1))
        np.testing.assert_allclose(
            at.of_N[0, :, i], (up.log_N - down.log_N)[0] / (2 * step), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            at.of_L[0, :, i], (up.log_L - down.log_L)[0] / (2 * step), rtol=1e-4, atol=1e-6
        )
