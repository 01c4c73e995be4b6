from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import (
    ResidualLimits,
    Surface,
    fit_isoflop,
    fit_profile,
    height_weights,
    profile_weights,
    read_runs,
    residual_limits,
)
from judged import only
from known_laws import EXPONENT, chinchilla_runs, columns, parabolic_runs, surface, surface_N_opt


def isoflop(runs):
    return fit_isoflop(read_runs(runs)[0])


@pytest.mark.parametrize(
    "offsets", [(-1, 0.2, 1.3), (-2, -1, 0.1, 0.8), np.linspace(-3, 2, 17), (0.3, 1.0, 2.0)]
)
def test_vertex_of_a_parabola_is_exact(offsets):
    u = np.array(offsets)
    profile = fit_profile(1e20, 3e8 * np.exp(u), 2.5 + 0.07 * u**2)
    assert np.exp(profile.log_N_opt) == pytest.approx(3e8, rel=1e-10)
    assert profile.L_opt == pytest.approx(2.5, rel=1e-12)
    assert profile.coefficients[2] == pytest.approx(0.07, rel=1e-10)
    assert profile.r_squared == pytest.approx(1.0, abs=1e-12)
    # The coefficients draw the parabola through the points
    drawn = np.polynomial.Polynomial(profile.coefficients)(np.log(profile.N) - profile.log_N_center)
    np.testing.assert_allclose(drawn, profile.L, rtol=1e-12)


def test_p_value_of_the_curvature_agrees_with_an_independent_regression():
    """Numpy's polyfit, and Student's t."""
    rng = np.random.default_rng(5)
    u = np.linspace(-1, 1, 8)
    L = 2 + 0.05 * u**2 + 0.02 * rng.normal(size=u.size)
    profile = fit_profile(1e20, np.exp(10 + u), L)
    coefficients, covariance = np.polyfit(u, L, 2, cov=True)
    ratio = coefficients[0] / np.sqrt(covariance[0, 0])
    # The tail of Student's t with 5 degrees of freedom, integrated from its closed-form density
    x = np.linspace(ratio, ratio + 2000, 4_000_001)
    density = 8 / (3 * np.pi * np.sqrt(5)) * (1 + x**2 / 5) ** -3
    assert profile.curvature_p_value == pytest.approx(np.trapezoid(density, x), rel=1e-5)
    assert profile.coefficients[2] == pytest.approx(coefficients[0], rel=1e-10)


def test_three_points_are_interpolated_and_leave_no_test():
    profile = fit_profile(1e20, [1e7, 3e7, 2e8], [2.4, 2.2, 2.9])
    assert profile.curvature_p_value is None
    assert profile.r_squared == pytest.approx(1.0, abs=1e-12)


def test_weights_by_height_do_not_depend_on_the_unit_or_the_zero_of_the_loss():
    L = np.array([2.9, 2.3, 2.1, 2.2, 2.6, 7.0])
    weights = height_weights(L)
    np.testing.assert_allclose(height_weights(1.4427 * L - 3), weights, rtol=1e-12)
    assert weights[2] == 1.0
    assert np.sum(weights >= 0.5) == 3  # half of six
    assert weights[5] < 0.02
    assert height_weights(np.array([2.0, 2.0, 2.0, 2.5])).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    "u", [np.linspace(-1.8, 1.8, n) for n in (5, 7, 9)] + [np.array([-1.0, 0, 0, 1])]
)
def test_runs_with_normal_noise_count_the_same(u):
    """One study in 20 or less may hold a run that is taken for an outlier."""
    n = u.size
    rng = np.random.default_rng(n)
    faded = 0
    for _ in range(200):
        profiles = [(u, 2 + 0.05 * u**2 + 0.02 * rng.normal(size=n)) for _ in range(5)]
        limits = residual_limits(profiles)
        faded += any(profile_weights(u, L, limits).min() < 1 for _, L in profiles)
    assert faded <= 20


@pytest.mark.parametrize("outlier", [0, 3, 6])
@pytest.mark.parametrize("rise", [0.2, 2.0])
def test_an_outlier_fades_the_runs_of_its_own_profile(outlier, rise):
    rng = np.random.default_rng(2)
    u = np.linspace(-1.8, 1.8, 7)
    profiles = [(u, 2 + 0.05 * u**2 + 0.01 * rng.normal(size=7)) for _ in range(4)]
    profiles[1][1][outlier] += rise
    limits = residual_limits(profiles)
    for index, (_, L) in enumerate(profiles):
        expected = height_weights(L) if index == 1 else np.ones(7)
        np.testing.assert_allclose(profile_weights(u, L, limits), expected, rtol=1e-12)
    assert profile_weights(u, profiles[1][1], limits)[outlier] < 0.2


def test_no_run_is_an_outlier_where_parabolas_pass_through_all():
    profiles = [(np.array([0.0, 1.0, 3.0]), np.array([2.4, 2.2, 2.9]))]
    assert residual_limits(profiles) == ResidualLimits(np.inf, np.inf)
    assert profile_weights(*profiles[0], ResidualLimits()).tolist() == [1.0] * 3


@pytest.mark.filterwarnings("error")
def test_losses_without_any_height_have_weights():
    u, L = np.linspace(-1, 1, 5), np.zeros(5)
    assert profile_weights(u, L, residual_limits([(u, L), (u, L)])).tolist() == [1.0] * 5


def test_vertex_outside_the_sizes_is_at_the_edge_even_if_the_lowest_run_is_not():
    C = (1e18, 1e19)
    runs = parabolic_runs(C, offsets=(0, 1, 2, 3, 4))
    runs["loss"] = np.tile([2.05, 2.0, 2.4, 2.6, 2.9], 2)  # so ragged that the vertex falls outside
    result = isoflop(runs)
    assert [profile.position < 0 for profile in result.profiles] == [True, True]
    assert [point.at_edge for point in result.points] == [True, True]


def test_a_run_far_above_the_others_moves_the_vertex_little():
    u = np.linspace(-1.5, 1.5, 7)
    L = 2 + 0.1 * u**2
    L[-1] += 1.0
    vertex = fit_profile(1e20, np.exp(u), L).log_N_opt
    c2, c1, _ = np.polyfit(u, L, 2)
    # The weight of the outlier is 0.006: a small pull remains, since its leverage is the largest
    assert fit_profile(1e20, np.exp(u), L).weights[-1] < 0.01
    assert abs(vertex) < 0.05
    assert abs(-c1 / (2 * c2)) > 0.3  # what the unweighted parabola says


@pytest.mark.parametrize("exponent", [0.35, 0.5, 0.73])
@pytest.mark.parametrize("C", [(5e10, 1.5e11, 5e11, 1.5e12), (1e18, 1e20, 1e24)])
def test_laws_through_parabolic_profiles_are_exact(C, exponent):
    result = isoflop(parabolic_runs(C, exponent=exponent))
    assert result.status == "ok"
    assert result.N_opt.exponent == pytest.approx(exponent, abs=1e-9)
    assert result.N_opt.coefficient == pytest.approx(0.1, rel=1e-7)
    assert result.D_opt.exponent == pytest.approx(1 - exponent, abs=1e-9)  # D = C / (6 N)
    assert [point.at_edge for point in result.points] == [False] * len(C)
    for point in result.points:
        assert point.N_opt == pytest.approx(0.1 * point.C**exponent, rel=1e-9)
        assert point.L_opt == pytest.approx(1 + 100 * point.C**-0.1, rel=1e-12)


def test_L_opt_law_is_recovered_with_its_offset():
    law = isoflop(parabolic_runs(np.logspace(18, 22, 5))).L_opt
    assert law.offset == pytest.approx(1.0, rel=1e-6)
    assert law.exponent == pytest.approx(-0.1, rel=1e-6)


def test_chinchilla_surface_near_its_optimum():
    C = np.logspace(18, 22, 5)
    result = isoflop(chinchilla_runs(C, np.linspace(-0.3, 0.3, 9)))
    # The surface has the same shape at every C up to a factor, so the bias of the parabola cancels
    assert result.N_opt.exponent == pytest.approx(EXPONENT, abs=1e-9)
    # ... and remains in the vertex: third-order terms shift it by 0.04% at this width
    N_opt = np.array([point.N_opt for point in result.points])
    np.testing.assert_allclose(N_opt, surface_N_opt(C), rtol=1e-3)
    assert result.L_opt.offset == pytest.approx(1.69, rel=1e-6)


@pytest.mark.parametrize("ratio", [1 / 3, 0.8, 3])
@pytest.mark.parametrize("shift", [-np.log(3), 0.0, np.log(3)])
def test_the_bias_of_N_opt_is_that_of_a_parabola_on_the_grid(ratio, shift):
    """Noise-free surfaces: the exponent is exact, and N_opt off by what the grid implies.

    At its optimum a surface has alpha A/N^alpha = beta B/D^beta = K, so that u = log(N/N_opt) away
    along constant C it is E + K (exp(-alpha u)/alpha + exp(beta u)/beta): the parabola through a
    grid of u has its vertex at a u that knows nothing of C, E, A or B.
    """
    beta = 0.4
    alpha = ratio * beta
    truth = Surface(E=1.7, A=300.0, B=900.0, alpha=alpha, beta=beta)
    u = np.linspace(-1.6, 1.6, 9) + shift
    C = np.logspace(18, 21, 4)
    N_opt = truth.G * (C / 6) ** truth.a
    N = N_opt[:, None] * np.exp(u)
    D = C[:, None] / (6 * N)
    result = isoflop(columns(C[:, None], N, 1.7 + 300 / N**alpha + 900 / D**beta))

    curve = np.exp(-alpha * u) / alpha + np.exp(beta * u) / beta
    # The normal equations, solved by Cramer's rule
    m = [(u**k).sum() for k in range(5)]
    r = [(u**k * curve).sum() for k in range(3)]
    c1 = np.linalg.det([[m[0], r[0], m[2]], [m[1], r[1], m[3]], [m[2], r[2], m[4]]])
    c2 = np.linalg.det([[m[0], m[1], r[0]], [m[1], m[2], r[1]], [m[2], m[3], r[2]]])
    predicted = -c1 / (2 * c2)

    found = np.log([point.N_opt for point in result.points]) - np.log(N_opt)
    np.testing.assert_allclose(found, predicted, atol=1e-8)
    assert abs(predicted) > 1e-3  # there is a bias to be seen
    assert result.N_opt.exponent == pytest.approx(truth.a, abs=1e-9)
    assert result.N_opt.coefficient == pytest.approx(
        truth.G * 6**-truth.a * np.exp(predicted), rel=1e-6
    )


def test_chinchilla_surface_on_a_fixed_grid_of_sizes():
    """Grids that do not follow the optimum: the parabola's bias no longer cancels exactly."""
    C = np.logspace(19, 22, 4)
    sizes = np.geomspace(1e7, 1e11, 60)
    rows = [(c, N) for c in C for N in sizes if abs(np.log(N / surface_N_opt(c))) < 0.7]
    C_of, N = np.array(rows).T
    result = isoflop(columns(C_of, N, surface(N, C_of / (6 * N))))
    assert result.N_opt.exponent == pytest.approx(EXPONENT, abs=2e-3)


def test_D_opt_follows_the_measured_flops_per_unit():
    def flops_per_unit(N):
        return 40 * N**0.9  # k falls with N, as attention and the head do

    result = isoflop(parabolic_runs(flops_per_unit=flops_per_unit))
    for point in result.points:
        assert flops_per_unit(point.N_opt) * point.D_opt == pytest.approx(point.C, rel=1e-9)
    assert result.D_opt.exponent == pytest.approx(1 - 0.9 * 0.5, abs=1e-9)


def test_rescaled_compute_keeps_the_exponents():
    runs = parabolic_runs(noise=0.01)
    scaled = runs | {name: 1000 * runs[name] for name in ("budget", "C")}
    before, after = isoflop(runs), isoflop(scaled)
    assert after.N_opt.exponent == pytest.approx(before.N_opt.exponent, rel=1e-10)
    assert after.D_opt.exponent == pytest.approx(before.D_opt.exponent, rel=1e-10)
    for C in (1e18, 1e23):
        assert after.N_opt.predict(1000 * C) == pytest.approx(before.N_opt.predict(C), rel=1e-9)


def test_replicates_are_points_of_their_own():
    runs = parabolic_runs()
    twice = {name: [*values, *values] for name, values in runs.items()}
    twice["id"] = [f"{i}" for i in range(len(twice["id"]))]
    result = isoflop(twice)
    assert [point.n for point in result.points] == [10] * 4
    assert result.N_opt.exponent == pytest.approx(0.5, abs=1e-9)


def test_C_of_a_point_is_what_its_runs_spent():
    runs = parabolic_runs()
    spent = runs["budget"] * np.tile([0.995, 1.0, 1.0, 1.0, 1.003], 4)
    result = isoflop(runs | {"C": spent})
    expected = np.array([1e18, 1e19, 1e20, 1e21]) * (0.995 + 3 + 1.003) / 5
    np.testing.assert_allclose([point.C for point in result.points], expected, rtol=1e-12)


def test_budget_without_a_minimum_is_named_and_left_out():
    runs = parabolic_runs()
    runs["loss"] = np.where(runs["budget"] == 1e19, 4 - (runs["loss"] - 2), runs["loss"])
    result = isoflop(runs)
    assert [point.C for point in result.points] == [1e18, 1e20, 1e21]
    assert len(result.profiles) == 4
    assert only(result.judgements, "no_minimum")["C"] == 1e19
    assert result.N_opt.exponent == pytest.approx(0.5, abs=1e-9)


def test_flat_profile_has_no_minimum():
    assert not fit_profile(1e20, [1e7, 2e7, 4e7, 8e7], [2.0, 2.0, 2.0, 2.0]).has_minimum


def test_minimum_far_outside_the_sizes_gives_no_optimum():
    # Range 3, so that a shift of 6 puts the vertex 1.5 ranges below the smallest size
    result = isoflop(parabolic_runs(shift=[0, 0, 0, 6.0]))
    assert [point.C for point in result.points] == [1e18, 1e19, 1e20]
    assert only(result.judgements, "minimum_out_of_reach") == {
        "C": 1e21,
        "outside": pytest.approx(1.5),
        "add": "smaller",
    }


def test_one_usable_profile_fails_with_the_reason():
    runs = parabolic_runs((1e18, 1e19))
    runs["loss"] = np.where(runs["budget"] == 1e19, 4 - (runs["loss"] - 2), runs["loss"])
    result = isoflop(runs)
    assert result.status == "failed"
    assert "1 of 2 profiles" in result.reason
    assert result.N_opt is None
    assert len(result.points) == 1


def test_budgets_too_close_to_each_other_fail_with_the_reason():
    result = isoflop(parabolic_runs((1e18, 1.0001e18), noise=0.01))
    assert result.status == "failed"
    assert "range of floats" in result.reason
    assert (len(result.points), result.N_opt) == (2, None)


@pytest.mark.parametrize("offsets", [(-1, 0, 1), (-1, 1)])
def test_too_little_data_is_unsupported(offsets):
    C = (1e18,) if len(offsets) == 3 else (1e18, 1e19, 1e20)
    result = isoflop(parabolic_runs(C, offsets=offsets))
    assert result.status == "unsupported"
    assert "2 budgets with 3 sizes" in result.reason


def test_two_sizes_are_refused_by_the_parabola():
    with pytest.raises(ValueError, match="3 distinct N, but got 2"):
        fit_profile(1e20, [1e7, 1e7, 2e7], [2.0, 2.1, 2.2])
