"""Parabolas against numpy's polyfit, one at a time and many at once."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_profile
from flops_fit.laws.approaches.profile import reachable_optima
from flops_fit.laws.forms.parabola import Parabola, ParabolaDesign, has_minimum

X = 20 + np.array([-1.0, -0.6, -0.1, 0.3, 0.4, 0.9, 1.7])


def noisy(n_rows, seed=0):
    noise = np.random.default_rng(seed).normal(size=(n_rows, X.size))
    return 2 + 0.3 * (X - 20.2) ** 2 + 0.05 * noise


def weights_of_all_sizes():
    return np.random.default_rng(1).uniform(0.1, 1.0, X.size)


@pytest.mark.parametrize("weights", [None, weights_of_all_sizes()])
def test_every_row_is_the_parabola_of_polyfit(weights):
    design, y = ParabolaDesign.of(X, weights), noisy(5)
    parabolas = design.fit(y)
    for row, coefficients in zip(y, parabolas.coefficients, strict=True):
        # polyfit multiplies residuals by w, hence the root
        root = None if weights is None else np.sqrt(weights)
        expected = np.polyfit(X - design.centre, row, 2, w=root)[::-1]
        np.testing.assert_allclose(coefficients, expected, rtol=1e-10)
        np.testing.assert_allclose(design.fit(row).coefficients, coefficients, rtol=1e-12)
    left = y - parabolas.at(X)
    root = 1.0 if weights is None else np.sqrt(weights)
    np.testing.assert_allclose(design.residuals(y), root * left, atol=1e-13)


def test_the_covariance_is_that_of_polyfit():
    weights = weights_of_all_sizes()
    design = ParabolaDesign.of(X, weights)
    # "unscaled": 1/w^2 are the variances, whatever the residuals
    _, expected = np.polyfit(X - design.centre, noisy(1)[0], 2, w=np.sqrt(weights), cov="unscaled")
    np.testing.assert_allclose(
        design.covariance(1 / weights), expected[::-1, ::-1], rtol=1e-10, atol=1e-14
    )


def test_studentised_residuals_are_those_of_the_hat_matrix():
    y = noisy(3)
    columns = np.vander(X - 20, 3)
    hat = columns @ np.linalg.inv(columns.T @ columns) @ columns.T
    expected = (y - y @ hat) / np.sqrt(1 - np.diag(hat))
    np.testing.assert_allclose(
        ParabolaDesign.of(X).studentised_residuals(y), expected, rtol=1e-8, atol=1e-12
    )


def test_points_that_a_parabola_passes_through_have_no_residual():
    design = ParabolaDesign.of([-1.0, 0.0, 0.0, 1.0])
    residuals = design.studentised_residuals(np.array([3.0, 1.0, 1.4, 2.0]))
    # What is left of each replicate is half of their difference, of leverage 1/2
    np.testing.assert_allclose(residuals, [-0.2 / 0.5**0.5, 0.2 / 0.5**0.5], rtol=1e-12)


def test_the_lowest_point_of_a_parabola():
    parabola = Parabola(centre=20.0, coefficients=[[2.0, -0.4, 0.2], [2.0, 0.4, -0.2]])
    np.testing.assert_allclose(parabola.vertex, [21.0, np.nan])
    np.testing.assert_allclose(parabola.lowest, [1.8, np.nan])
    np.testing.assert_allclose(parabola.at([19, 20, 22]), [[2.6, 2.0, 2.0], [1.4, 2.0, 2.0]])


def test_curvature_within_rounding_is_no_minimum():
    y = np.full((3, 4), 2.0)
    coefficients = np.array([[2, 0, 1e-12], [2, 0, 1e-10], [2, 0, -0.1]])
    assert has_minimum(coefficients, 1.0, y).tolist() == [False, True, False]


def test_optima_of_rows_are_those_of_single_profiles():
    L = noisy(10, seed=1)
    L[3, 3] += 3.0  # an outlier
    profiles = [fit_profile(1e18, np.exp(X), row) for row in L]
    assert profiles[3].weights.min() < 1 == profiles[0].weights.min()
    for i, profile in enumerate(profiles):
        design = ParabolaDesign.of(X, profile.weights)
        log_N_opt, L_opt, usable = reachable_optima(design, L)
        assert usable[i]
        assert log_N_opt[i] == pytest.approx(profile.log_N_opt, rel=1e-10)
        assert L_opt[i] == pytest.approx(profile.L_opt, rel=1e-10)


def test_optima_out_of_reach_are_marked():
    design = ParabolaDesign.of([-1.0, -0.5, 0.0, 0.5, 1.0])
    # One that opens downwards, one lower than 0, and vertices 0.99 and 1.01 ranges outside
    L = np.stack(
        [2 - design.u**2, design.u**2 - 0.5] + [3 + (design.u - v) ** 2 for v in (2.98, 3.02)]
    )
    log_N_opt, L_opt, usable = reachable_optima(design, L)
    assert usable.tolist() == [False, False, True, False]
    assert log_N_opt == pytest.approx([0, 0, 2.98, 0])
    assert L_opt == pytest.approx([1, 1, 3, 1])
