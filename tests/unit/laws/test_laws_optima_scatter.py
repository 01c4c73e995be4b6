from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_isoflop, fit_runs, read_runs
from flops_fit.laws.evidence.optima_scatter import (
    NO_EXCESS,
    USUAL_EXCESS,
    OptimaScatter,
    optima_scatter,
    scattered_quantile,
)
from judged import found, only
from known_laws import columns
from scipy.stats import norm

C = np.logspace(18, 21, 5)
U = np.array([-1.5, -0.75, 0.0, 0.75, 1.5])
CURVATURE = 0.1


def valleys(C=C, *, noise, moved=0.0, seed=0):
    """Parabolas around N = 0.1 C^0.5 exp(moved), on a grid around that minimum."""
    C = np.asarray(C)[:, np.newaxis]
    N = 0.1 * C**0.5 * np.exp(U + np.broadcast_to(moved, C.shape[:1])[:, np.newaxis])
    L = 2 + CURVATURE * U**2 + noise * np.random.default_rng(seed).normal(size=N.shape)
    return columns(C, N, L)


def scatter_of(runs):
    return optima_scatter(fit_isoflop(read_runs(runs)[0]).profiles)


def test_noise_alone_is_significant_as_often_as_it_says():
    p_values = [scatter_of(valleys(noise=0.005, seed=seed)).p_value for seed in range(400)]
    # Uniform between 0 and 1, by Kolmogorov's test at 5%: 1.36 over the root of their number
    ordered = np.sort(p_values)
    assert np.abs(ordered - np.linspace(0, 1, 400)).max() < 1.36 / 20


def test_the_ratio_is_that_of_known_scatter():
    """Of a vertex -c1/(2 c2) on a symmetric grid the variance is sigma^2 / sum u^2 / (2 c2)^2."""
    rng = np.random.default_rng(1)
    noise, between = 0.002, 0.1
    own = noise / np.sqrt((U**2).sum()) / (2 * CURVATURE)
    squares = [
        scatter_of(valleys(noise=noise, seed=seed, moved=between * rng.normal(size=5))).ratio ** 2
        for seed in range(300)
    ]
    # The noise is estimated, with 10 degrees of freedom: the mean of F is 10/8 times too large
    assert np.mean(squares) == pytest.approx(10 / 8 * (1 + (between / own) ** 2), rel=0.2)


def test_scatter_between_budgets_widens_the_intervals_and_is_said():
    moved = [0.2, -0.2, 0.2, -0.2, 0.2]
    calm, scattered = (
        fit_runs(runs, study="s", params="total", approaches=["2"], bootstrap=200, ci=0.9)
        for runs in (valleys(noise=1e-3), valleys(noise=1e-3, moved=moved))
    )

    def width(fit):
        low, high = fit["approaches"]["2"]["N_opt"]["ci"]["exponent"]
        return high - low

    assert not found(calm, "scattered_optima")
    ratio = only(scattered, "scattered_optima", "2")["ratio"]
    assert ratio > 3
    # Student's quantiles of the three budgets that a line leaves, and of the ten runs
    wide = scattered_quantile(ratio, 0.9, line=3, runs=10)
    assert wide == pytest.approx(2.3534 * ratio, rel=0.03)
    assert width(scattered) == pytest.approx(wide / 1.8125 * width(calm), rel=0.2)


def test_the_quantile_is_that_of_the_posterior_by_quadrature():
    """Against integration over phi and sigma, with the likelihoods of both sums of squares."""
    ratio, level, line, runs = 1.8, 0.9, 3, 12
    log_phi = np.linspace(0, np.log(1000), 600)
    log_sigma = np.linspace(-1.5, 1.5, 600)
    phi, sigma = np.exp(np.meshgrid(log_phi, log_sigma, indexing="ij"))

    def likelihood(phi):
        return (
            sigma**-runs * np.exp(-runs / 2 / sigma**2)
            * (phi * sigma) ** -line * np.exp(-line / 2 * (ratio / phi / sigma) ** 2)
        )  # fmt: skip

    slab = likelihood(phi) * (1 - NO_EXCESS) / np.log(USUAL_EXCESS) * log_phi[1]
    spike = likelihood(np.ones_like(phi)) * NO_EXCESS / len(log_phi)
    weights = np.concatenate([slab.ravel(), spike.ravel()])
    scales = np.concatenate([(phi * sigma).ravel(), sigma.ravel()])
    found = scattered_quantile(ratio, level, line=line, runs=runs)
    inside = weights @ (2 * norm.cdf(found / scales) - 1) / weights.sum()
    assert inside == pytest.approx(level, abs=0.003)


@pytest.mark.parametrize(("line", "runs"), [(1, 3), (3, 10), (6, 30)])
def test_no_ratio_makes_an_interval_jump(line, runs):
    """A test at 5% made it several times as wide where the ratio passed its limit."""
    ratios = np.exp(np.arange(-3, 5, 0.01))
    wide = [scattered_quantile(ratio, 0.9, line=line, runs=runs) for ratio in ratios]
    steps = np.diff(np.log(wide))
    assert (steps > 0).all()
    # In the worst case three times as fast as the ratio itself, which grows by 1% a step
    assert steps.max() < 0.031


@pytest.mark.parametrize("budgets", [C, C[:2]])
def test_without_noise_or_without_a_spare_budget_nothing_is_said(budgets):
    scatter = scatter_of(valleys(budgets, noise=0.0))
    assert scatter == OptimaScatter(ratio=None, p_value=1.0)


def test_intervals_hold_the_truth_where_budgets_scatter():
    """Nominal 90%, 4 budgets: with the freedom of the runs instead of the line's, 84% do."""
    rng = np.random.default_rng(3)
    held = []
    for seed in range(150):
        moved = 0.1 * rng.normal(size=4)
        fit = fit_runs(
            valleys(C[:4], noise=0.002, moved=moved, seed=seed), study="s", params="total",
            approaches=["2"], bootstrap=200, ci=0.9, workers=1, holdout_budgets=0,
        )  # fmt: skip
        low, high = fit["approaches"]["2"]["N_opt"]["ci"]["exponent"]
        held.append(low <= 0.5 <= high)
    assert np.mean(held) > 0.87


def test_an_outlier_leaves_the_intervals_of_its_study_narrow():
    def width(runs):
        fit = fit_runs(runs, study="s", params="total", approaches=["2"], bootstrap=300, ci=0.9)
        low, high = fit["approaches"]["2"]["N_opt"]["ci"]["exponent"]
        return high - low

    runs = valleys(noise=0.002)
    spoilt = runs | {"loss": [*runs["loss"]]}
    spoilt["loss"][0] += 5
    assert width(spoilt) < 5 * width(runs)
