"""Noise from replicated seeds: its size, and what is judged by it."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_isoflop, fit_profile, fit_vpnls, read_runs
from flops_fit.laws.data.noise import Noise, replicate_noise
from flops_fit.laws.evidence.surface_judgements import studentised_residuals
from judged import found, only
from known_laws import nine_sizes
from scipy.stats import chi2, norm
from scipy.stats import t as student_t


def replicated(*, noise=0.01, seeds=3, seed=0):
    """Nine sizes at five budgets, each trained with several seeds."""
    runs, _ = nine_sizes(noise=0.0)
    rng = np.random.default_rng(seed)
    losses = np.repeat(runs["loss"], seeds) * np.exp(noise * rng.normal(size=45 * seeds))
    columns = {key: np.repeat(runs[key], seeds) for key in ("budget", "N", "D", "C")}
    return columns | {"loss": losses}


def table(runs):
    return read_runs(runs)[0]


def test_pooled_noise_is_the_known_one():
    found = replicate_noise(table(replicated(noise=0.01)))
    assert found.freedom == 90
    # The sum of squares over the variance is chi-squared: 99.8% of studies lie between these
    assert chi2.ppf(0.001, 90) < 90 * found.variance / 0.01**2 < chi2.ppf(0.999, 90)
    # A median of 135 has a standard error of 1.25 / sqrt(135) = 11% and more between siblings
    assert found.scale == pytest.approx(0.01, rel=0.4)


def test_the_pooled_variance_is_what_a_loop_over_cells_gives():
    runs = replicated(noise=0.02, seeds=2, seed=4)
    runs = {key: values[:-1] for key, values in runs.items()}  # one cell with a single run
    squares, freedom, deviations = 0.0, 0, []
    for budget, N in {(b, n) for b, n in zip(runs["budget"], runs["N"], strict=True)}:
        own = np.log(runs["loss"][(runs["budget"] == budget) & (runs["N"] == N)])
        squares += ((own - own.mean()) ** 2).sum()
        freedom += own.size - 1
        if own.size > 1:
            deviations += (np.abs(own - own.mean()) / np.sqrt(1 - 1 / own.size)).tolist()
    found = replicate_noise(table(runs))
    assert found.freedom == freedom == 44
    assert found.variance == pytest.approx(squares / freedom, rel=1e-10)
    assert found.scale == pytest.approx(np.median(deviations) / norm.ppf(0.75), rel=1e-4)


def test_one_outlier_does_not_move_the_scale():
    runs = replicated(noise=0.01)
    before = replicate_noise(table(runs)).scale
    runs["loss"][10] *= 2
    after = replicate_noise(table(runs))
    assert after.scale == pytest.approx(before, rel=0.05)
    assert after.variance > 10 * 0.01**2


def test_copies_few_replicates_and_other_learning_rates_are_no_noise():
    single, _ = nine_sizes()
    copied = {key: np.tile(single[key], 2) for key in ("budget", "N", "D", "C", "loss")}
    assert replicate_noise(table(copied)) is None
    assert replicate_noise(table(single)) is None
    few = replicated(seeds=2)
    rows = [*range(0, 90, 2), 1, 3, 5]  # three replicates
    assert replicate_noise(table({key: values[rows] for key, values in few.items()})) is None
    rates = replicated(seeds=2) | {"lr": np.tile([0.1, 0.2], 45)}
    assert replicate_noise(table(rates)) is None
    negative = replicated()
    negative["loss"][0] = -1.0
    assert replicate_noise(table(negative)) is None


def test_curvature_is_tested_against_the_noise_of_replicates():
    u = np.linspace(-1, 1, 7)
    L = 2 + 0.05 * u**2
    noise = Noise(variance=0.01**2, freedom=20, scale=0.01)
    profile = fit_profile(1e20, np.exp(20 + u), L, noise=noise)
    # The weighted estimate is linear in L: c2 = sum h L, with the rows of the solved equations
    X = np.vander(u, 3, increasing=True)
    w = profile.weights
    h = np.linalg.solve(X.T @ (w[:, None] * X), (X * w[:, None]).T)[2]
    ratio = (h @ L) / (0.01 * L.mean() * np.sqrt((h**2).sum()))
    assert profile.curvature_p_value == pytest.approx(student_t.sf(ratio, 20), rel=1e-6)
    # Without replicates these noise-free points leave no doubt
    assert fit_profile(1e20, np.exp(20 + u), L).curvature_p_value < 1e-6
    assert profile.curvature_p_value > 1e-3
    # Even an interpolating parabola is tested
    three = fit_profile(1e20, np.exp(20 + u[[0, 3, 6]]), L[[0, 3, 6]], noise=noise)
    assert three.curvature_p_value is not None


def test_noise_of_replicates_reaches_the_profiles_of_a_study():
    """Three sizes at every budget interpolate: only replicates at one of them test the others."""
    runs = replicated(noise=0.001, seeds=3)
    first = [i for i in range(135) if (i // 3) % 9 in (0, 4, 8) and (i < 27 or i % 3 == 0)]
    study = {key: values[first] for key, values in runs.items()}
    tested = fit_isoflop(table(study)).profiles
    assert [profile.N.size for profile in tested] == [9, 3, 3, 3, 3]
    assert all(profile.curvature_p_value < 1e-3 for profile in tested)
    single = fit_isoflop(table({key: values[3::3] for key, values in study.items()})).profiles
    assert all(profile.curvature_p_value is None for profile in single)


def test_lack_of_fit_is_judged_by_the_replicates():
    # Ripples that a curve per budget follows little: beside them nothing is significant, beside
    # the replicates everything is
    runs = replicated(noise=1e-4, seeds=2)
    runs["loss"] *= 1 + 0.01 * np.sin(9 * np.log(runs["N"]))
    rippled = fit_vpnls(table(runs))
    assert only(rippled.judgements, "lack_of_fit")["replicated"]
    single = fit_vpnls(table({key: values[::2] for key, values in runs.items()}))
    assert not found(single.judgements, "lack_of_fit")
    false = [
        bool(found(fit_vpnls(table(replicated(seeds=2, seed=s))).judgements, "lack_of_fit"))
        for s in range(30)
    ]
    assert sum(false) <= 2  # at 1% each, three or more of 30 has probability 0.3%


def test_a_budget_of_few_sizes_does_not_silence_lack_of_fit():
    runs, _ = nine_sizes(noise=0.003, seed=1)
    runs["loss"] *= 1 + 0.03 * np.sin(1.5 * np.log(runs["N"]))
    rows = [0, 4, 8, *range(9, 45)]  # three sizes at the smallest budget
    some = {key: np.asarray(values)[rows] for key, values in runs.items()}
    assert found(fit_vpnls(table(some)).judgements, "lack_of_fit")
    # Of three sizes everywhere nothing can be said
    rows = [i for i in range(45) if i % 9 in (0, 4, 8)]
    few = {key: np.asarray(values)[rows] for key, values in runs.items()}
    assert not found(fit_vpnls(table(few)).judgements, "lack_of_fit")


def test_residuals_are_studentised_by_the_larger_of_both_scales():
    runs = table(replicated(noise=0.01, seeds=2))
    surface = fit_vpnls(runs).surface
    residual = np.log(runs.L) - np.log(surface.loss(runs.N, runs.D))
    plain = studentised_residuals(surface, runs, residual)
    loud = Noise(variance=0.04**2, freedom=20, scale=0.04)
    ratio = plain / studentised_residuals(surface, runs, residual, loud)
    assert ratio == pytest.approx(np.full(90, ratio[0]), rel=1e-9)
    assert ratio[0] == pytest.approx(4.0, rel=0.3)
    quiet = Noise(variance=1e-8, freedom=20, scale=1e-4)
    np.testing.assert_allclose(studentised_residuals(surface, runs, residual, quiet), plain)
