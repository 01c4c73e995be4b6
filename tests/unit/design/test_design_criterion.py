"""What a cell would tell, against information matrices that are inverted anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flops_fit.design.criterion import DRAWS, EXPONENTS, Criterion, choose, posterior_draws
from flops_fit.design.derivatives import log_loss, optimum_at
from flops_fit.design.posterior import fit_posterior
from flops_fit.laws import FlopsPerUnit, Surface

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
SIX = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)
TARGET = 1e23


def cells(budgets, n):
    centres = np.log(TRUTH.N_opt(np.array(budgets), SIX))
    log_N = (centres[:, np.newaxis] + np.linspace(-1.7, 1.7, n)).ravel()
    log_C = np.repeat(np.log(budgets), n)
    return log_N, log_C - np.log(6) - log_N, np.exp(log_C)


@pytest.fixture(scope="module")
def pilot():
    log_N, log_D, _ = cells([1e18, 3e18, 1e19], 7)
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(log_N.size))
    L = TRUTH.loss(np.exp(log_N), np.exp(log_D)) * noise
    return log_N, log_D, fit_posterior(log_N, log_D, L)


def criterion_of(pilot):
    log_N, log_D, posterior = pilot
    rows = posterior_draws(posterior)
    return Criterion.of(rows, posterior, log_N, log_D, TARGET, SIX)


def written_out(posterior, rows, log_N, log_D):
    """Return the mean over draws of the logs of both variances, from matrices inverted anew."""
    found = []
    for row in rows:
        jacobian = log_loss(row, log_N, log_D)[1]
        inverse = np.linalg.inv(jacobian.T @ jacobian / posterior.noise**2 + posterior.prior)
        at = optimum_at(row[np.newaxis], [np.log(TARGET)], SIX)
        found += [np.log(slope[0, 0] @ inverse @ slope[0, 0]) for slope in (at.of_N, at.of_L)]
    return np.mean(found)


def test_values_before_and_after_each_cell_are_those_of_matrices_inverted_anew(pilot):
    log_N, log_D, posterior = pilot
    criterion = criterion_of(pilot)
    assert criterion.value() == pytest.approx(
        written_out(posterior, criterion.rows, log_N, log_D), abs=1e-8
    )
    new_N, new_D, _ = cells([1e19, 1e20], 5)
    after = criterion.after(criterion.directions(new_N, new_D))
    for i, value in enumerate(after):
        both = np.append(log_N, new_N[i]), np.append(log_D, new_D[i])
        assert value == pytest.approx(written_out(posterior, criterion.rows, *both), abs=1e-7)


def test_many_updates_of_rank_one_stay_with_the_matrix_inverted_anew(pilot):
    log_N, log_D, posterior = pilot
    criterion = criterion_of(pilot)
    new_N, new_D, _ = cells([1e18, 3e18, 1e19, 3e19, 1e20], 9)
    directions = criterion.directions(new_N, new_D)
    for i in range(new_N.size):
        criterion.add(directions[:, i])
    both = np.append(log_N, new_N), np.append(log_D, new_D)
    expected = written_out(posterior, criterion.rows, *both)
    assert criterion.value() == pytest.approx(expected, abs=1e-6)


def test_the_choice_takes_the_largest_drop_per_flop_within_spend_and_runs(pilot):
    new_N, new_D, costs = cells([1e19, 3e19, 1e20], 5)
    criterion = criterion_of(pilot)
    directions = criterion.directions(new_N, new_D)
    drop = criterion.value() - criterion.after(directions)
    left, spend = np.full(costs.size, 2), 1.2e21
    chosen = choose(criterion_of(pilot), directions, costs, left, spend)
    assert chosen[0] == np.argmax(drop / costs)
    assert costs[chosen].sum() <= spend
    assert np.bincount(chosen).max() <= 2
    # Nothing that is still allowed is affordable
    exhausted = np.bincount(chosen, minlength=costs.size) >= 2
    assert costs[~exhausted].min(initial=np.inf) > spend - costs[chosen].sum()
    assert left.tolist() == [2] * costs.size


def test_draws_are_the_same_every_time_and_have_sane_exponents(pilot):
    posterior = pilot[2]
    wide = replace(posterior, covariance=posterior.covariance * 1e3)
    for one in (posterior, wide):
        rows = posterior_draws(one)
        np.testing.assert_array_equal(rows, posterior_draws(one))
        np.testing.assert_array_equal(rows[0], one.mean)
        assert len(rows) <= DRAWS
        assert np.all((rows[1:, 3:] > EXPONENTS[0]) & (rows[1:, 3:] < EXPONENTS[1]))
    assert len(posterior_draws(posterior)) == DRAWS
