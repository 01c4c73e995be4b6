"""The checks of a design on losses whose form is exact, and on others."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.design.checks import (
    MISFIT_P,
    SURPRISE_P,
    is_flawed,
    misfit_of,
    surprise_limit,
    surprise_of,
)
from flops_fit.design.derivatives import log_loss
from flops_fit.design.history import Cell, Choice, Trained
from flops_fit.design.offer import offer_of, sizes_apart
from flops_fit.design.posterior import fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import Question, ladder
from flops_fit.design.rounds import next_round
from flops_fit.laws import Surface

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
OFFER = offer_of(sizes_apart(1e6, 1e13))
NOISE = 0.004


def cells_of(budgets, n=7):
    found = []
    for budget in budgets:
        centre = float(TRUTH.N_opt(budget, OFFER.flops))
        for N in centre * np.geomspace(1 / 6, 6, n):
            found.append(Cell(budget=budget, size_index=-1, N=N, D=budget / (6 * N), C=budget))
    return found


def trained(cells, rng, by=lambda cell: 0.0):
    L = [float(TRUTH.loss(c.N, c.D)) * np.exp(NOISE * rng.standard_normal() + by(c)) for c in cells]
    return [Trained(cell=cell, L=float(loss)) for cell, loss in zip(cells, L, strict=True)]


def fitted(runs):
    log_N, log_D = (np.log([getattr(run.cell, key) for run in runs]) for key in ("N", "D"))
    L = np.array([run.L for run in runs])
    return fit_posterior(log_N, log_D, L), (log_N, log_D, L)


def predicted(posterior, cells):
    log_N, log_D = (np.log([getattr(cell, key) for cell in cells]) for key in ("N", "D"))
    log_L, jacobian = log_loss(posterior.mean, log_N, log_D)
    std = np.sqrt(np.einsum("mi,ij,mj->m", jacobian, posterior.covariance, jacobian) + NOISE**2)
    return [
        Choice(cell=cell, why="", log_L=float(m), log_L_std=float(s))
        for cell, m, s in zip(cells, log_L, std, strict=True)
    ]


def test_p_values_of_an_exact_form_are_uniform():
    rng = np.random.default_rng(0)
    low, top = cells_of(1e18 * 10 ** (0.5 * np.arange(5))), cells_of([10**20.5], 4)
    budget = np.array([cell.budget for cell in low])
    misfits, surprises = [], []
    for _ in range(400):
        posterior, columns = fitted(trained(low, rng))
        misfits.append(misfit_of(posterior, *columns, budget))
        results = trained(top, rng)[::-1]
        surprises.append(surprise_of(posterior, predicted(posterior, top), results))
    for found in (misfits, surprises):
        # The binomial standard errors are 1.1, 2.5 and 2.2%; the noise is estimated, too
        for p, error in ((0.05, 0.03), (0.5, 0.08), (0.75, 0.08)):
            assert np.mean(np.array(found) < p) == pytest.approx(p, abs=error)


def test_a_form_that_bends_at_its_budgets_or_rises_beyond_is_found_out():
    rng = np.random.default_rng(1)
    low, top = cells_of(1e18 * 10 ** (0.5 * np.arange(5))), cells_of([10**20.5], 4)
    budget = np.array([cell.budget for cell in low])

    def edges(cell):
        return 0.03 * abs(np.log(cell.N / TRUTH.N_opt(cell.C, OFFER.flops)))

    posterior, columns = fitted(trained(low, rng, edges))
    assert misfit_of(posterior, *columns, budget) < MISFIT_P
    posterior, _ = fitted(trained(low, rng))
    higher = trained(top, rng, lambda cell: 0.05)
    assert surprise_of(posterior, predicted(posterior, top), higher) < SURPRISE_P


def test_failed_and_unpredicted_runs_are_no_surprise():
    rng = np.random.default_rng(2)
    low, top = cells_of([1e18, 1e19, 1e20]), cells_of([10**20.5], 4)
    posterior, _ = fitted(trained(low, rng))
    results = trained(top, rng)
    failed = [Trained(cell=run.cell, L=None) for run in results]
    assert surprise_of(posterior, predicted(posterior, top), failed) is None
    assert surprise_of(posterior, [Choice(cell=cell, why="pilot") for cell in top], results) is None
    partly = surprise_of(posterior, predicted(posterior, top), [*failed[:2], *results[2:]])
    assert partly == surprise_of(posterior, predicted(posterior, top), results[2:])


def test_nothing_to_explain_is_no_misfit():
    cells = cells_of([1e18, 1e19, 1e20, 1e21])
    budget = np.array([cell.budget for cell in cells])
    runs = [Trained(cell=cell, L=float(TRUTH.loss(cell.N, cell.D))) for cell in cells]
    posterior, columns = fitted(runs)
    assert misfit_of(posterior, *columns, budget) is None


def test_more_predictions_need_a_greater_surprise_each():
    assert surprise_limit([0.5, None]) == surprise_limit([0.5, 0.5]) == SURPRISE_P / 2
    assert surprise_limit([0.5] * 4) == SURPRISE_P / 4
    assert is_flawed(MISFIT_P / 2, [])
    assert is_flawed(None, [0.004, 0.5])
    assert not is_flawed(None, [0.004, 0.5, 0.5])
    assert not is_flawed(0.5, [None])


def test_few_designs_of_an_exact_form_are_called_inexact():
    prior = PriorLaw(mean=TRUTH.to_row(), covariance=np.eye(5) * 0.01, name="truth", source="here")
    question = Question(target=1e25, spend=1e22, budgets=ladder(1e22))
    flawed = 0
    for seed in range(50):
        rng, rounds = np.random.default_rng(seed), []
        while not rounds or rounds[-1][0].choices:
            chosen = next_round(question, OFFER, prior, rounds)
            rounds.append((chosen, trained([choice.cell for choice in chosen.choices], rng)))
        flawed += any(chosen.kind == "fill" for chosen, _ in rounds)
    # 4% are two of fifty; more than six come about in 1 of 200 sets
    assert flawed <= 6
