"""Budgets of two sizes in the answer: their curvature is that of the others."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface, fit_answer, read_runs
from flops_fit.laws.answer.priors import ValleyPriors
from flops_fit.laws.answer.valleys import find_optima

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
BUDGETS = 1e18 * 10 ** (0.5 * np.arange(6))
SIX = FlopsPerUnit(log_N=np.zeros(1), log_flops=np.log([6.0]), k=6.0)


def runs_with(n_last, n_others=7, noise=0.0, seed=0):
    """Return runs of which the largest budget has fewer sizes, spread within 3.8 times N_opt."""
    rng = np.random.default_rng(seed)
    C, N = [], []
    for budget in BUDGETS:
        last = budget == BUDGETS[-1]
        n = n_last if last else n_others
        around = np.linspace(-1, 1, n) * (1.34 if last else 1.79)
        C += [budget] * n
        N += (TRUTH.N_opt(budget, SIX) * np.exp(around)).tolist()
    C, N = np.array(C), np.array(N)
    D = C / (6 * N)
    L = TRUTH.loss(N, D) * np.exp(noise * rng.standard_normal(C.size))
    return {"N": N, "D": D, "C": C, "budget": C, "loss": L}


def answer(runs):
    table, _ = read_runs(runs)
    return fit_answer(table, SIX)


def test_two_sizes_have_an_optimum_where_others_lend_their_curvature():
    found = answer(runs_with(2, noise=0.001))
    assert found.method == "path"
    assert [optimum.n for optimum in found.optima] == [7] * 5 + [2]
    last = found.optima[-1]
    assert abs(last.log_N - np.log(TRUTH.N_opt(BUDGETS[-1], SIX))) < 2 * last.log_N_std_err
    assert last.log_N_std_err > found.optima[-2].log_N_std_err


@pytest.mark.parametrize("n_others", [4, 7])
def test_the_error_of_two_sizes_is_as_stated(n_others):
    found, stated = [], []
    for seed in range(80):
        optima = answer(runs_with(2, n_others=n_others, noise=0.003, seed=seed)).optima
        found.append(optima[-1].log_N - np.log(TRUTH.N_opt(BUDGETS[-1], SIX)))
        stated.append(optima[-1].log_N_std_err)
    z = np.array(found) / np.array(stated)
    # Stated for noise and an unknown curvature, of which the truth here has the expected one
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.3


def test_with_one_lender_or_none_they_do_not_count():
    runs = runs_with(2)
    first = runs["C"] <= BUDGETS[0]
    last = runs["C"] == BUDGETS[-1]
    few = {name: values[first | last] for name, values in runs.items()}
    assert answer(few).method != "path"


def test_the_curvature_that_is_lent_follows_its_trend():
    trend, x = -0.12, np.linspace(-1.5, 1.5, 7)

    def valley(log_C, x):
        return (log_C, 20 + x, 3.0 * (1 + 0.03 * np.exp(trend * log_C) * (x - 0.4) ** 2))

    budgets = [valley(float(k), x) for k in range(5)]
    pair = valley(6.0, np.array([-1.0, 1.2]))
    priors = ValleyPriors(
        skew_std=1e-9, curvature_spread=0.3, curvature_trend=(trend, 1e-6), noise=1e-5
    )
    optima, _ = find_optima([*budgets, pair], priors, positive=True)
    assert optima[-1].log_N == pytest.approx(20.4, abs=0.08)
    flat = ValleyPriors(
        skew_std=1e-9, curvature_spread=0.3, curvature_trend=(0.0, 1e-6), noise=1e-5
    )
    without, _ = find_optima([*budgets, pair], flat, positive=True)
    # Too much curvature moves the optimum less than it should
    assert without[-1].log_N < optima[-1].log_N
    for own, other in zip(optima[:-1], without[:-1], strict=True):
        assert own.log_N == pytest.approx(other.log_N, abs=1e-3)
