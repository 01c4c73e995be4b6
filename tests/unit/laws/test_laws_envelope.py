from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_envelope, fit_runs, read_runs
from flops_fit.laws.approaches.envelope import smooth_curve
from judged import only
from known_laws import chinchilla_runs, columns, surface, surface_N_opt

FIVE = np.logspace(18, 22, 5)


def curve_study(noise=0.0):
    """Runs of 12 sizes whose curves follow the known surface at every moment."""
    N = np.logspace(8, 10, 12)
    D = np.full(12, 3e11)
    runs = {"id": [f"r{i}" for i in range(12)], "N": N, "D": D, "C": 6 * N * D}
    runs["loss"] = surface(N, D)
    rng = np.random.default_rng(0)
    steps = np.exp(np.linspace(np.log(1e8), np.log(3e11), 200))
    curves = {
        f"r{i}": np.stack(
            [
                np.arange(200),
                steps,
                surface(n, steps) * np.exp(noise * rng.normal(size=200)),
                np.full(200, 1e-3),
            ],
            axis=-1,
        )
        for i, n in enumerate(N)
    }
    return read_runs(runs)[0], curves


def test_the_envelope_of_curves_follows_the_known_law():
    runs, curves = curve_study()
    result = fit_envelope(runs, curves=curves, decays=False)
    assert result.status == "ok"
    # Sizes come in steps of 52%; the range of C in which one is best is centred on its optimum
    assert result.N_opt.exponent == pytest.approx(0.28 / 0.62, abs=0.02)
    for point in result.points:
        assert point.N_opt == pytest.approx(surface_N_opt(point.C), rel=0.15)
        assert point.N_opt * point.D_opt * 6 == pytest.approx(point.C, rel=0.01)
    assert only(result.judgements, "training_losses") == {"n": 12}


def test_noisy_curves_are_smoothed():
    runs, curves = curve_study(noise=0.005)
    result = fit_envelope(runs, curves=curves, decays=False)
    assert result.N_opt.exponent == pytest.approx(0.28 / 0.62, abs=0.06)


def test_smoothing_keeps_a_power_law_and_averages_noise():
    D = np.logspace(8, 11, 200)
    L = 100 * D**-0.2
    np.testing.assert_allclose(smooth_curve(D, L), L, rtol=2e-3)
    noisy = L * np.exp(0.01 * np.random.default_rng(0).normal(size=200))
    assert np.std(smooth_curve(D, noisy) / L) < 0.7 * 0.01


def test_a_decaying_schedule_leaves_the_end_points():
    _, curves = curve_study()
    grid = read_runs(chinchilla_runs(FIVE, np.linspace(-1.2, 1.2, 13)))[0]
    ends = dict.fromkeys(grid.id, curves["r0"])
    result = fit_envelope(grid, curves=ends, decays=True)
    assert result.status == "ok"
    assert only(result.judgements, "end_points_only") == {"why": "decaying_schedule"}
    # The grid contains the optimum of every budget
    np.testing.assert_allclose([p.N_opt for p in result.points], surface_N_opt(FIVE), rtol=1e-9)
    assert result.N_opt.exponent == pytest.approx(0.28 / 0.62, rel=1e-9)


def test_without_curves_end_points_are_used_and_edges_named():
    grid = read_runs(chinchilla_runs(FIVE, [-1.0, 0.0]))[0]
    result = fit_envelope(grid)
    assert only(result.judgements, "end_points_only") == {"why": "no_curves"}
    assert only(result.judgements, "best_run_at_edge")["C"] == FIVE.tolist()


def test_one_size_alone_supports_no_law_and_gets_no_recommendation():
    """The best of one size is that size at any compute: an exponent of 0 with no width."""
    C = 10.0 ** np.arange(18, 23)
    runs = columns(C, 1e9, surface(1e9, C / 6e9))
    result = fit_envelope(read_runs(runs)[0])
    assert result.status == "unsupported"
    assert "all of one size (N = 1e+09)" in result.reason
    assert len(result.points) == 5
    fit = fit_runs(runs, study="s", params="total", bootstrap=20)
    assert fit["recommended"]["approach"] is None


def test_losses_that_rise_leave_no_envelope():
    runs = chinchilla_runs(FIVE, [-1.0, 0.0, 1.0])
    runs["loss"] = np.linspace(2, 3, 15)
    result = fit_envelope(read_runs(runs)[0])
    assert result.status == "unsupported"
    assert "holds 1 point(s)" in result.reason
