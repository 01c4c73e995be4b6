"""The surface with an exponent on the bracket of its terms."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface, fit_runs, read_runs, search_surface
from flops_fit.laws.forms.bracket import BracketSurface
from flops_fit.laws.forms.quantities import surface_quantities
from flops_fit.laws.readouts.landscape import Surfaces
from flops_fit.laws.solver.many_surfaces import resampled_surfaces
from flops_fit.laws.solver.objectives import HuberLog, SquaredLoss
from flops_fit.laws.solver.terms import SurfaceData, expand, jacobian, log_losses, objective_values
from hand_computed import small_study
from judged import codes, found, only
from known_laws import columns
from scipy.optimize import minimize_scalar

GAMMAS = [0.4, 0.7, 1.0, 1.6]
C = np.logspace(18, 21, 5)[:, None]


def truth_of(gamma):
    """A bracket whose terms alone are those of one surface, whatever gamma."""
    return BracketSurface(
        E=1.7, A=480 ** (1 / gamma), B=2100 ** (1 / gamma), alpha=0.33 / gamma, beta=0.38 / gamma,
        gamma=gamma,
    )  # fmt: skip


def runs_of(gamma, noise=0.0, seed=0):
    truth = truth_of(gamma)
    N = truth.G * (C / 6) ** truth.a * np.exp(np.linspace(-2, 2, 9))
    L = truth.loss(N, C / (6 * N))
    return columns(C, N, L * np.exp(noise * np.random.default_rng(seed).normal(size=N.shape)))


def fit(runs, **options):
    defaults = {"approaches": ["bracket"], "bootstrap": 100, "predict_budgets": [1e23]}
    return fit_runs(runs, study="s", params="total", **(defaults | options))


def problem(gamma, seed=0):
    runs = runs_of(gamma, noise=0.02)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, size=(3, len(runs["loss"]))).astype(float)
    data = SurfaceData.of(runs["N"], runs["D"], runs["loss"], weights)
    theta = data.centred(np.repeat(truth_of(gamma).to_row()[None], 3, 0))
    return theta + 0.1 * rng.normal(size=theta.shape), data


def test_the_loss_is_the_formula():
    surface = BracketSurface(E=1.5, A=300.0, B=900.0, alpha=0.3, beta=0.4, gamma=0.8)
    N, D = np.array([1e7, 1e9]), np.array([1e9, 1e10])
    expected = 1.5 + (300 / N**0.3 + 900 / D**0.4) ** 0.8
    np.testing.assert_allclose(surface.loss(N, D), expected, rtol=1e-12)
    assert BracketSurface.from_row(surface.to_row()).gamma == 0.8


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_optimum_is_that_of_the_formula_without_the_bracket(gamma):
    surface = truth_of(gamma)
    flops = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
    N_opt = float(surface.N_opt(1e20, flops))
    assert N_opt == pytest.approx(surface.G * (1e20 / 6) ** surface.a, rel=1e-9)
    lowest = minimize_scalar(
        lambda x: float(surface.loss(np.exp(x), 1e20 / 6 / np.exp(x))), bracket=(15, 25), tol=1e-12
    )
    assert N_opt == pytest.approx(np.exp(lowest.x), rel=1e-4)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("objective", [HuberLog(0.05), SquaredLoss()])
def test_derivatives_agree_with_finite_differences(gamma, objective):
    theta, data = problem(gamma)
    around, J = expand(theta, data, objective), jacobian(theta, data)
    size = np.abs(around.gradient).max()
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-6
        ends = theta + step, theta - step
        f = [log_losses(end, data) for end in ends]
        np.testing.assert_allclose(J[..., i], (f[0] - f[1]) / 2e-6, atol=1e-8)
        values = [objective_values(end, data, objective) for end in ends]
        np.testing.assert_allclose(
            around.gradient[:, i], (values[0] - values[1]) / 2e-6, atol=1e-6 * size
        )
        if isinstance(objective, SquaredLoss):  # a Huber loss has kinks in its slope
            slopes = [expand(end, data, objective).gradient for end in ends]
            np.testing.assert_allclose(
                around.hessian[:, i], (slopes[0] - slopes[1]) / 2e-6,
                rtol=1e-5, atol=1e-6 * np.abs(around.hessian).max(),
            )  # fmt: skip
    assert np.linalg.eigvalsh(around.gauss_newton).min() > -1e-9 * np.abs(around.gauss_newton).max()


def test_with_gamma_1_it_is_the_surface_without_a_bracket():
    theta, data = problem(1.0)
    theta[:, 5] = 0.0
    np.testing.assert_allclose(log_losses(theta, data), log_losses(theta[:, :5], data), rtol=1e-12)
    plain = expand(theta[:, :5], data, SquaredLoss())
    around = expand(theta, data, SquaredLoss())
    np.testing.assert_allclose(around.gradient[:, :5], plain.gradient, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        around.hessian[:, :5, :5], plain.hessian, atol=1e-9 * np.abs(plain.hessian).max()
    )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("objective", [HuberLog(), SquaredLoss()])
def test_the_parameters_are_found_without_noise(gamma, objective):
    runs, truth = runs_of(gamma), truth_of(gamma)
    found, value = search_surface(
        runs["N"], runs["D"], runs["loss"], objective, form=BracketSurface
    )
    assert value < 1e-15
    for name in ("E", "A", "B", "alpha", "beta", "gamma"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-5)


def test_it_is_fitted_with_intervals_that_hold_gamma_and_is_used_to_predict():
    result = fit(runs_of(0.7, noise=0.004), approaches=["bracket", "vpnls"], ci=0.99)
    surface = result["approaches"]["bracket"]["surface"]
    assert set(surface["ci"]) == {"E", "A", "B", "alpha", "beta", "gamma", "a", "b"}
    low, high = surface["ci"]["gamma"]
    assert low < 0.7 < high < 1
    assert surface["std_err"]["gamma"] > 0
    assert not found(result, "gamma_not_identified")
    row = result["approaches"]["bracket"]["predictions"][-1]
    truth = truth_of(0.7)
    N = truth.G * (1e23 / 6) ** truth.a
    assert row["N_opt_ci"][0] < N < row["N_opt_ci"][1]
    assert row["L_opt_ci"][0] < truth.loss(N, 1e23 / 6 / N) < row["L_opt_ci"][1]
    assert any(score["approach"] == "bracket" for score in result["holdout"])


def test_gamma_is_said_not_to_be_told_from_1_where_it_is_not():
    told = [
        not found(fit(runs_of(gamma, noise=0.004, seed=seed), bootstrap=0), "gamma_not_identified")
        for gamma in (1.0, 0.6)
        for seed in range(8)
    ]
    assert sum(told[:8]) <= 1
    assert all(told[8:])
    assert only(fit(runs_of(1.0, noise=0.004), bootstrap=0), "gamma_not_identified")["p_value"] > 0


def test_quantities_of_rows_are_those_of_the_surface():
    flops = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
    surface = truth_of(0.6)
    found = surface_quantities(surface.to_row()[None], np.log(C[:, 0]), np.log([1e23]), flops)
    N = float(surface.N_opt(1e23, flops))
    assert np.exp(found["log N_opt"][0, 0]) == pytest.approx(N, rel=1e-9)
    assert found["L_opt"][0, 0] == pytest.approx(float(surface.loss(N, 1e23 / 6 / N)), rel=1e-12)
    # Along C = 6 N D the bracket falls as C^-(alpha beta / (alpha + beta)) to the power gamma
    exponent = -surface.alpha * surface.beta / (surface.alpha + surface.beta) * 0.6
    assert found["L_opt exponent"][0] == pytest.approx(exponent, rel=1e-9)


def test_the_landscape_of_a_bracket_is_its_loss():
    flops = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
    surface = truth_of(0.6)
    draws = Surfaces(rows=surface.to_row()[None], flops=flops)
    found = draws.loss(np.log([[1e9]]), np.log([1e20]))[0, 0]
    assert found == pytest.approx(float(surface.loss(1e9, 1e20 / 6e9)), rel=1e-12)


def test_resamples_are_fits_of_their_own_and_keep_what_is_given():
    runs = runs_of(0.7, noise=0.004)
    table, _ = read_runs(runs)
    N, D, L = table.N, table.D, table.L
    for E in (None, 1.6):
        surface, _ = search_surface(N, D, L, SquaredLoss(), form=BracketSurface, E=E)

        counts = np.random.default_rng(0).multinomial(L.size, np.full(L.size, 1 / L.size), size=3)
        rows = resampled_surfaces(
            surface, table, counts.astype(float), SquaredLoss(), pinned=E is not None
        )
        for row, weights in zip(rows, counts, strict=True):
            own, _ = search_surface(
                N, D, L, SquaredLoss(), weights=weights.astype(float), form=BracketSurface, E=E
            )
            np.testing.assert_allclose(row, own.to_row(), rtol=1e-4)


def test_it_is_fitted_only_where_it_is_asked_for():
    assert "bracket" not in small_study({}).fit.approaches
    assert small_study({"fit.approaches": ["bracket"]}).fit.approaches == ("bracket",)
    assert "bracket" not in fit(runs_of(1.0), approaches=None, bootstrap=0)["approaches"]
    assert Surface.columns == BracketSurface.columns[:5]
    assert "parameters_on_bound" not in codes(fit(runs_of(0.7, noise=0.002), bootstrap=0))
