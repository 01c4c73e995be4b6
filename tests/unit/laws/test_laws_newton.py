"""Derivatives against finite differences, objectives against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import Surface, search_surface, surface_objective
from flops_fit.laws.solver.newton import _steps, minimise_rows
from flops_fit.laws.solver.objectives import HuberLog, SquaredLoss
from flops_fit.laws.solver.projection import GRID, projected_grid
from flops_fit.laws.solver.terms import (
    Expansion,
    SurfaceData,
    expand,
    jacobian,
    objective_values,
    shares,
)
from known_laws import nine_sizes, random_surface_runs
from scipy.optimize import minimize, nnls

OBJECTIVES = [HuberLog(0.05), SquaredLoss()]


def problem(seed=0, n_rows=3):
    runs, truth = nine_sizes(noise=0.02, seed=seed)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, size=(n_rows, runs["loss"].size)).astype(float)
    data = SurfaceData.of(runs["N"], runs["D"], runs["loss"], weights)
    theta = data.centred(np.repeat(truth.to_row()[None], n_rows, 0))
    return theta + 0.1 * rng.normal(size=theta.shape), data


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_and_hessian_agree_with_finite_differences(objective):
    theta, data = problem()
    around = expand(theta, data, objective)
    gradient, hessian, gauss_newton = around.gradient, around.hessian, around.gauss_newton
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        above, below = (objective_values(theta + s, data, objective) for s in (step, -step))
        # Central differences of step h err by h^2 and by rounding / h: 1e-6 of the largest entry
        size = np.abs(gradient).max()
        np.testing.assert_allclose(gradient[:, i], (above - below) / 2e-6, atol=1e-6 * size)
        slopes = [expand(theta + s, data, objective).gradient for s in (step, -step)]
        if isinstance(objective, SquaredLoss):  # a Huber loss has kinks in its slope
            np.testing.assert_allclose(
                hessian[:, i],
                (slopes[0] - slopes[1]) / 2e-6,
                rtol=1e-5,
                atol=1e-6 * np.abs(hessian).max(),
            )
    assert np.linalg.eigvalsh(gauss_newton).min() > -1e-9 * np.abs(gauss_newton).max()


def test_the_jacobian_agrees_with_finite_differences():
    theta, data = problem()
    J = jacobian(theta, data)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        above, below = (shares(theta + s, data)[0] for s in (step, -step))
        np.testing.assert_allclose(J[..., i], (above - below) / 2e-6, atol=1e-8)


def test_huber_hessian_where_every_residual_is_small():
    theta, data = problem()
    hessian = expand(theta, data, HuberLog(10.0)).hessian
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        slopes = [expand(theta + s, data, HuberLog(10.0)).gradient for s in (step, -step)]
        np.testing.assert_allclose(
            hessian[:, i],
            (slopes[0] - slopes[1]) / 2e-6,
            rtol=1e-5,
            atol=1e-6 * np.abs(hessian).max(),
        )


def test_objectives_are_the_stated_sums_over_runs():
    runs, _ = nine_sizes()
    other = Surface(E=1.7, A=400.0, B=1800.0, alpha=0.34, beta=0.36)
    N, D, L = runs["N"], runs["D"], runs["loss"]
    fitted = other.E + other.A / N**other.alpha + other.B / D**other.beta
    total = 0.0
    for loss, value in zip(L, fitted, strict=True):
        r = abs(np.log(loss) - np.log(value))
        total += 0.5 * r**2 if r <= 1e-3 else 1e-3 * (r - 0.5e-3)
    assert surface_objective(other, N, D, L, HuberLog()) == pytest.approx(total, rel=1e-12)
    squares = ((L - fitted) ** 2).sum()
    assert surface_objective(other, N, D, L, SquaredLoss()) == pytest.approx(squares, rel=1e-12)


def test_the_grid_solves_non_negative_least_squares():
    runs, _ = nine_sizes(noise=0.05)
    data = SurfaceData.of(runs["N"], runs["D"], runs["loss"])
    theta, values = projected_grid(data, np.ones(45))
    for i, j in [(0, 0), (3, 20), (14, 15), (27, 27), (20, 2)]:
        columns = np.stack(
            [np.exp(-GRID[i] * data.x), np.exp(-GRID[j] * data.y), np.ones(45)], axis=-1
        )
        _, norm = nnls(columns, runs["loss"])
        # The map compares valleys; differences of sums lose the digits that L^2 has before them
        assert values[i, j] == pytest.approx(norm**2, rel=1e-6, abs=1e-11)
    assert theta.shape == (28, 28, 5)


def test_the_grid_holds_where_its_columns_coincide():
    """D proportional to N: for alpha = beta the terms of N and D are the same but for a factor."""
    N = np.geomspace(1e7, 3e9, 8)
    L = 1.8 + 480 * N**-0.35 + 2100 * (20 * N) ** -0.37
    data = SurfaceData.of(N, 20 * N, L)
    _, values = projected_grid(data, np.ones(8))
    for i in range(28):
        columns = np.stack([np.exp(-GRID[i] * data.x), np.ones(8)], axis=-1)
        _, norm = nnls(columns, L)
        assert values[i, i] == pytest.approx(norm**2, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("objective", [HuberLog(), SquaredLoss()])
def test_noise_free_surfaces_are_recovered(objective):
    rng = np.random.default_rng(4)
    for _ in range(25):
        runs, truth = random_surface_runs(rng)
        found, _ = search_surface(runs["N"], runs["D"], runs["loss"], objective)
        for name in ("E", "A", "B", "alpha", "beta"):
            assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-6)


@pytest.mark.parametrize("objective", [HuberLog(), SquaredLoss()])
def test_no_other_optimiser_finds_a_lower_objective(objective):
    runs, truth = nine_sizes(noise=0.01, outliers=0.03, seed=5)
    N, D, L = runs["N"], runs["D"], runs["loss"]
    found, value = search_surface(N, D, L, objective)
    assert value == pytest.approx(surface_objective(found, N, D, L, objective), rel=1e-12)

    def total(row):
        return surface_objective(Surface.from_row(row), N, D, L, objective)

    rng = np.random.default_rng(0)
    for _ in range(6):
        start = truth.to_row() * np.exp(0.1 * rng.normal(size=5))
        simplex = minimize(
            total, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-9}
        )
        assert value <= simplex.fun * (1 + 1e-12)
    # And the solution is stationary: no single parameter improves it
    for step in np.vstack([np.eye(5), -np.eye(5)]) * 1e-5:
        assert total(found.to_row() + step) >= value * (1 - 1e-12)


def test_objective_of_any_scale_is_minimised_to_the_same_point():
    runs, _ = nine_sizes()
    N, D, L = runs["N"], runs["D"], runs["loss"]
    once, value = search_surface(N, D, L, HuberLog())
    many, larger = search_surface(N, D, L, HuberLog(), weights=np.full(45, 1e-9))
    assert larger == pytest.approx(1e-9 * value, rel=1e-12)
    assert many.A == pytest.approx(once.A, rel=1e-6)


def test_weights_count_runs():
    runs, _ = nine_sizes()
    rows = np.repeat(np.arange(45), np.arange(45) % 3)
    N, D, L = (runs[name] for name in ("N", "D", "loss"))
    repeated, value = search_surface(N[rows], D[rows], L[rows], SquaredLoss())
    weighted, same = search_surface(N, D, L, SquaredLoss(), weights=np.arange(45) % 3 * 1.0)
    assert same == pytest.approx(value, rel=1e-10)
    assert weighted.alpha == pytest.approx(repeated.alpha, rel=1e-6)


def test_rows_are_fitted_as_if_alone():
    theta, data = problem(n_rows=4)
    together, values = minimise_rows(theta, data, SquaredLoss())
    for i in range(4):
        alone = SurfaceData(data.x, data.y, data.x0, data.y0, data.L, data.weights[i])
        found, value = minimise_rows(theta[i : i + 1], alone, SquaredLoss())
        assert value[0] == pytest.approx(values[i], rel=1e-10)
        np.testing.assert_allclose(found[0], together[i], rtol=1e-5)


def test_tied_exponents_are_equal_and_the_best_of_their_kind():
    runs, truth = nine_sizes(noise=0.0)
    found, value = search_surface(runs["N"], runs["D"], runs["loss"], SquaredLoss(), tied=True)
    assert found.alpha == found.beta
    for exponent in np.linspace(0.3, 0.42, 13):
        columns = np.stack([np.ones(45), runs["N"] ** -exponent, runs["D"] ** -exponent], -1)
        norms = np.linalg.norm(columns, axis=0)
        assert value <= nnls(columns / norms, runs["loss"])[1] ** 2 * (1 + 1e-9)
    assert truth.alpha < found.alpha < truth.beta


def test_a_loss_without_floor_puts_E_on_its_bound():
    rng = np.random.default_rng(1)
    N, D = np.exp(rng.uniform(np.log(1e7), np.log(1e10), (2, 60)))
    L = 100 * N**-0.3 + 200 * D**-0.25
    found, _ = search_surface(N, D, L * np.exp(0.01 * rng.normal(size=60)), SquaredLoss())
    exact, _ = search_surface(N, D, L, SquaredLoss())
    assert 0 <= found.E < 0.1
    assert exact.E < 1e-6
    assert exact.alpha == pytest.approx(0.3, rel=1e-5)


def test_one_singular_row_does_not_stop_the_others():
    theta = np.zeros((2, 6))
    curvature = np.stack([np.ones((6, 6)), np.diag([2.0, 1.0, 4.0, 1.0, 1.0, 1.0])])
    gradient = np.stack([np.ones(6), [2.0, -1.0, 4.0, 0.5, 0.0, 1.0]])
    around = Expansion(gradient=gradient, hessian=curvature, gauss_newton=curvature)
    bound = np.full(6, 10.0)
    steps, expected = _steps(theta, around, np.zeros(2), -bound, bound, False, ())
    # Newton's step of the second; the shortest step to the valley's line of the first
    assert steps[:, 1] == pytest.approx(np.tile([-1.0, 1.0, -1.0, -0.5, 0.0, -1.0], (2, 1)))
    assert steps[:, 0] == pytest.approx(np.full((2, 6), -1 / 6))
    assert (expected > 0).all()
