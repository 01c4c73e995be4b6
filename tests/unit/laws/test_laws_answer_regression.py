"""The regressions behind the answer's paths: closed forms, likelihoods, and draws from a grid."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws.answer.regression import interpolated, interpolated_twice, places, regress
from scipy.stats import multivariate_t


def test_a_regression_has_the_closed_form_of_its_posterior():
    rng = np.random.default_rng(0)
    X = np.stack([np.ones(8), np.linspace(-1, 1, 8)], axis=1)
    y = X @ [2.0, -1.0] + 0.1 * rng.standard_normal(8)
    std = np.array([100.0, 0.5])
    found = regress(X, y[np.newaxis], np.full((1, 8), 0.04), np.array([[0.0, 0.3]]), std, 4.0)
    # The same as ordinary least squares with the prior as two more observations
    rows = np.concatenate([X / 0.2, np.diag(1 / std)])
    values = np.concatenate([y / 0.2, [0.0, 0.3 / 0.5]])
    mean, squares, _, _ = np.linalg.lstsq(rows, values)
    assert found.mean[0] == pytest.approx(mean)
    assert found.covariance[0] == pytest.approx(np.linalg.inv(rows.T @ rows))
    assert found.squares[0] == pytest.approx(4.0 + squares[0])


def test_the_likelihood_of_a_regression_is_that_of_a_multivariate_t():
    X = np.stack([np.ones(5), np.arange(5.0) - 2], axis=1)
    std, variance, freedom = np.array([100.0, 0.5]), np.full(5, 0.3), 6.0
    rng = np.random.default_rng(1)
    ys = rng.standard_normal((3, 5))
    found = regress(X, ys, np.tile(variance, (3, 1)), np.zeros((3, 2)), std, freedom)
    # Of the four contrasts that the intercept does not touch
    contrasts = np.linalg.svd(np.ones((1, 5)))[2][1:]
    shape = contrasts @ (np.diag(variance) + 0.25 * np.outer(X[:, 1], X[:, 1])) @ contrasts.T
    truth = [multivariate_t(np.zeros(4), shape, df=freedom).logpdf(contrasts @ y) for y in ys]
    assert np.diff(found.log_likelihood) == pytest.approx(np.diff(truth), abs=1e-3)


def test_places_follow_the_weights_and_values_are_interpolated():
    u = (np.arange(10_000) + 0.5) / 10_000
    weights = np.array([0.1, 0.6, 0.3])
    place = places(weights, u)
    assert np.all(np.diff(place) >= 0)
    assert np.bincount(np.round(place).astype(int), minlength=3) / 10_000 == pytest.approx(
        [0.225, 0.5, 0.275], abs=0.15
    )
    table = np.array([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0]])
    assert interpolated(table, np.array([0.5, 2.0])) == pytest.approx(
        np.array([[5.0, 6.0], [20.0, 21.0]])
    )
    twice = interpolated_twice(table, np.array([0.5, 1.25]), np.array([0.5, 0.0]))
    assert twice == pytest.approx([5.5, 12.5])
