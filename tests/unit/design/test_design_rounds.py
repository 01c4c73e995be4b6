"""The rounds of a design, against a known law and the guard rails."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from flops_fit.design.history import Cell, Trained
from flops_fit.design.offer import Cells, Offer, offer_of, sizes_apart
from flops_fit.design.placing import NEAR
from flops_fit.design.posterior import fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import MAX_SHARE, TOP_SHARE, DesignError, Question, ladder
from flops_fit.design.rounds import next_round
from flops_fit.laws import Surface

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
PRIOR = PriorLaw(mean=TRUTH.to_row(), covariance=np.eye(5) * 0.01, name="the truth", source="here")
FINE = offer_of(sizes_apart(1e6, 1e13))
SPEND = 1e22


def question_of(spend=SPEND, kept=(), target=1e25):
    return Question(target=target, spend=spend, budgets=ladder(spend, kept))


def lab(truth=TRUTH, noise=0.0, fails=lambda cell, number: False, seed=0):
    """Return what trains a cell: its loss with noise, or None where it fails."""
    rng, numbers = np.random.default_rng(seed), itertools.count()

    def trained(cell):
        if fails(cell, next(numbers)):
            return Trained(cell=cell, L=None)
        L = float(truth.loss(cell.N, cell.D)) * np.exp(noise * rng.standard_normal())
        return Trained(cell=cell, L=float(L))

    return trained


def played(question=None, offer=FINE, prior=PRIOR, train=None, rounds=(), also=()):
    """Return all rounds with their outcomes; the last one is "done"."""
    rounds, train = list(rounds), train or lab()
    question = question or question_of()
    while True:
        chosen = next_round(question, offer, prior, rounds, also)
        assert chosen == next_round(question, offer, prior, rounds, also)
        rounds.append((chosen, [train(choice.cell) for choice in chosen.choices]))
        assert (chosen.kind == "done") == (not chosen.choices)
        if chosen.kind == "done":
            return rounds
        assert len(rounds) < 40


def runs_of(rounds):
    return [run for _, results in rounds for run in results]


def kinds(rounds):
    return [chosen.kind for chosen, _ in rounds]


def assert_keeps_the_rails(question, offer, rounds, also=()):
    """Hold what a design never does."""
    runs = runs_of(rounds)
    cells = [run.cell for run in runs]
    assert sum(cell.C for cell in cells) <= question.spend
    assert max(cell.C for cell in cells) <= MAX_SHARE * question.spend
    assert len(set(cells)) == len(cells)
    seeds = Counter((cell.budget, cell.size_index) for cell in cells)
    assert max(seeds.values()) <= 2
    for cell in cells:
        at = offer.at(cell.budget)
        (i,) = np.flatnonzero(at.index == cell.size_index)
        assert (cell.D, cell.C, cell.N) == (at.D[i], at.C[i], offer.N[cell.size_index])
    # A size that failed at a budget is not tried there again
    failed: set = set()
    for _, results in rounds:
        assert not failed & {(run.cell.budget, run.cell.size_index) for run in results}
        failed |= {(run.cell.budget, run.cell.size_index) for run in results if run.L is None}
    for budget in {cell.budget for cell in cells}:
        done = {r.cell.size_index for r in runs if r.L is not None and r.cell.budget == budget}
        tried = {cell.size_index for cell in cells if cell.budget == budget}
        untried = set(offer.at(budget).index.tolist()) - tried
        assert len(done) != 3 or not untried


def test_a_design_without_noise_recovers_the_optimum_at_the_target():
    question = question_of()
    rounds = played(question)
    assert kinds(rounds) == ["pilot", "inform", "next budget", "top budget", "done"]
    assert_keeps_the_rails(question, FINE, rounds)
    runs = [run.cell for run in runs_of(rounds)]
    columns = np.array([(cell.N, cell.D) for cell in runs])
    log_L = [run.L for run in runs_of(rounds)]
    found = Surface.from_row(fit_posterior(*np.log(columns).T, np.array(log_L)).mean)
    assert found.N_opt(1e25, FINE.flops) == pytest.approx(TRUTH.N_opt(1e25, FINE.flops), rel=0.05)
    # At each budget four sizes and more around the optimum, but two at the largest
    for budget in question.budgets:
        centre = np.log(TRUTH.N_opt(budget, FINE.flops))
        sizes = {cell.N for cell in runs if cell.budget == budget}
        assert np.all(np.abs(np.log(list(sizes)) - centre) <= NEAR)
        assert len(sizes) == 2 if budget == question.budgets[-1] else len(sizes) >= 4


def test_what_the_form_does_not_need_is_not_spent():
    rounds = played(train=lab(noise=0.003))
    spent = sum(run.cell.C for run in runs_of(rounds))
    assert 0.55 * SPEND < spent < 0.62 * SPEND
    assert rounds[-1][0].checks["left"] == pytest.approx(SPEND - spent)


def test_each_run_after_the_pilot_is_predicted():
    for chosen, results in played(train=lab(noise=0.003))[1:]:
        for choice, run in zip(chosen.choices, results, strict=True):
            assert abs(np.log(run.L) - choice.log_L) < 5 * choice.log_L_std


def bent(cell):
    """A loss whose valleys are narrower by half than those of any surface through their bottoms."""
    best = float(TRUTH.N_opt(cell.C, FINE.flops))
    lowest = float(TRUTH.loss(best, cell.C / 6 / best))
    away = float(TRUTH.loss(cell.N, cell.D)) - lowest
    return Trained(cell=cell, L=lowest + away * (1 + 0.5 * np.cos(3 * np.log(cell.N / best))))


def test_a_form_that_does_not_fit_fills_the_two_largest_budgets_to_five_sizes():
    question = question_of()
    rounds = played(question, train=bent)
    assert kinds(rounds)[-2:] == ["fill", "done"]
    assert "lack of fit p" in rounds[-2][0].why
    assert_keeps_the_rails(question, FINE, rounds)
    for budget in question.budgets[-2:]:
        near = {run.cell.N for run in runs_of(rounds) if run.cell.budget == budget}
        assert len(near) == 5


def stepped(N, flops_per_unit, batch=512, ratio=(1, 50_000), min_steps=100):
    """Return an offer as a study has it: whole steps, bounded units per parameter."""

    def cells(budget):
        steps = np.round(budget / flops_per_unit / batch)
        D, C = steps * batch, steps * batch * flops_per_unit
        right = (steps >= min_steps) & (np.abs(C / budget - 1) <= 0.01)
        right &= (D / N >= ratio[0]) & (D / N <= ratio[1])
        return Cells(index=np.flatnonzero(right), D=D[right], C=C[right])

    return Offer(N=N, flops_per_unit=flops_per_unit, cells=cells)


WIDTHS = np.array([8, 12, 16, 24, 32, 48, 64, 96, 128])
COARSE = stepped(24.0 * WIDTHS**2 + 256 * WIDTHS, 6 * (24.0 * WIDTHS**2 + 512 * WIDTHS))
SMALL = Surface(E=0.55, A=29.2, B=62.7, alpha=0.43, beta=0.38)
SMALL_PRIOR = replace(PRIOR, mean=SMALL.to_row())


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_keep_the_rails(seed):
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, 0.1, 0.4])
    truth = replace(
        TRUTH, alpha=rng.uniform(0.3, 0.42), beta=rng.uniform(0.3, 0.42), E=rng.uniform(1, 2)
    )
    prior = replace(PRIOR, mean=PRIOR.mean + np.append(rng.normal(0, 0.5, 3), [0, 0]))
    offer = stepped(FINE.N, FINE.flops_per_unit * (1 + 3e5 / FINE.N), batch=2**17)
    train = lab(truth, noise=0.01, fails=lambda cell, number: rng.random() < share, seed=seed)
    question = question_of()
    rounds = played(question, offer, prior, train)
    assert_keeps_the_rails(question, offer, rounds)


@pytest.mark.parametrize("seed", range(6))
def test_few_and_coarse_sizes_keep_the_rails(seed):
    rng = np.random.default_rng(seed)
    question = question_of(2e13 * 10 ** rng.uniform(-0.2, 0.2), target=1e16)
    train = lab(SMALL, noise=0.005, fails=lambda cell, number: number % 9 == seed, seed=seed)
    rounds = played(question, COARSE, SMALL_PRIOR, train)
    assert_keeps_the_rails(question, COARSE, rounds)
    assert any(run.cell.budget == question.budgets[-1] for run in runs_of(rounds))


def test_failed_runs_are_replaced_by_other_sizes():
    question = question_of()
    top = question.budgets[-1]
    first: list[Cell] = []

    def fails(cell, number):
        if cell.budget == top and len(first) < 2:
            first.append(cell)
            return True
        return False

    rounds = played(question, train=lab(noise=0.003, fails=fails))
    assert kinds(rounds)[-3:] == ["top budget", "replace", "done"]
    assert_keeps_the_rails(question, FINE, rounds)
    assert sum(run.cell.budget == top and run.L is not None for run in runs_of(rounds)) == 2


def test_a_pilot_that_fails_again_and_again_costs_no_more_than_the_spend():
    # Three sizes of each pilot budget have a loss: one more is wanted, and no other one trains
    stated = tuple(0.028 * SPEND * 1.05**i for i in range(5))
    question = Question(target=1e25, spend=SPEND, budgets=stated)
    trained = Counter()

    def fails(cell, number):
        trained[cell.budget] += 1
        return trained[cell.budget] > 3

    rounds = played(question, train=lab(fails=fails))
    assert kinds(rounds)[:2] == ["pilot", "replace"]
    assert sum(run.cell.C for run in runs_of(rounds)) <= question.spend


def test_other_budgets_that_what_is_left_does_not_pay_for_end_the_design():
    first = played(train=lab(noise=0.003))[:-1]
    stated = tuple(0.06 * SPEND * 1.05**i for i in range(5))
    question = Question(target=1e25, spend=SPEND, budgets=stated)
    ended = played(question, rounds=first, train=lab(noise=0.003))
    assert sum(run.cell.C for run in runs_of(ended)) <= question.spend


@pytest.mark.parametrize("lost", [1, 5, 6])
def test_a_budget_of_which_all_runs_fail_is_left_out_with_a_sentence(lost):
    question = question_of()
    budget = question.budgets[lost]
    train = lab(noise=0.003, fails=lambda cell, number: cell.budget == budget)
    rounds = played(question, train=train)
    assert_keeps_the_rails(question, FINE, rounds)
    assert f"All runs at {budget:.3g} FLOPs failed" in rounds[-1][0].why
    others = {run.cell.budget for run in runs_of(rounds) if run.L is not None}
    assert others == set(question.budgets) - {budget}


@pytest.mark.parametrize("times", [1 / 30, 30])
def test_a_prior_that_is_far_off_is_found_out_and_costs_little(times):
    off = PRIOR.mean.copy()
    off[0] += (TRUTH.alpha + TRUTH.beta) * np.log(times)
    question = question_of()
    rounds = played(question, prior=replace(PRIOR, mean=off), train=lab(noise=0.003))
    assert "pilot is repeated" in rounds[1][0].why
    assert_keeps_the_rails(question, FINE, rounds)
    for budget in question.budgets[3:]:
        centre = np.log(TRUTH.N_opt(budget, FINE.flops))
        sizes = np.log([run.cell.N for run in runs_of(rounds) if run.cell.budget == budget])
        assert sizes.min() < centre - np.log(2)
        assert sizes.max() > centre + np.log(2)


@pytest.mark.parametrize("n_rounds", [2, 5])
@pytest.mark.parametrize("times", [2, 10])
def test_a_larger_spend_goes_on_from_the_runs_there_are(times, n_rounds):
    train = lab(noise=0.003)
    first = played(train=train)[:n_rounds]
    top = first[0][0].checks["top"]
    larger = question_of(times * SPEND, kept=question_of().budgets)
    assert larger.budgets[: len(question_of().budgets)] == question_of().budgets
    assert larger.budgets[-1] == pytest.approx(times * top)
    rounds = played(larger, rounds=first, train=train)
    assert rounds[: len(first)] == first
    assert_keeps_the_rails(larger, FINE, rounds)
    sizes = Counter(budget for budget, _ in {(r.cell.budget, r.cell.N) for r in runs_of(rounds)})
    assert sizes[larger.budgets[-1]] == 2
    assert min(sizes[budget] for budget in larger.budgets[:-1]) >= 4


def test_a_smaller_spend_ends_the_design_without_a_further_run():
    first = played(train=lab(noise=0.003))[:2]
    spent = sum(run.cell.C for run in runs_of(first))
    least = Question(target=1e25, spend=4.0 * question_of().budgets[-1], budgets=ladder(SPEND))
    assert spent < least.spend
    ended = played(least, rounds=first, train=lab(noise=0.003))
    assert sum(run.cell.C for run in runs_of(ended)) <= least.spend


def test_runs_that_the_user_brings_along_count():
    question = question_of()
    own = []
    for budget in question.budgets[:3]:
        centre = float(TRUTH.N_opt(budget, FINE.flops))
        for N in centre * np.geomspace(0.2, 5, 6):
            cell = Cell(budget=budget, size_index=-1, N=N, D=budget / (6 * N), C=budget)
            own.append(lab()(cell))
    rounds = played(question, also=own, train=lab(noise=0.003))
    assert kinds(rounds)[0] == "inform"
    assert_keeps_the_rails(question, FINE, rounds)


def test_three_runs_of_the_user_at_the_largest_budget_become_four():
    top = question_of().budgets[-1]
    own = []
    for N in float(TRUTH.N_opt(top, FINE.flops)) * np.array([0.4, 1.0, 2.5]):
        own.append(lab()(Cell(budget=top, size_index=-1, N=N, D=top / (6 * N), C=top)))
    rounds = played(also=own, train=lab(noise=0.003))
    assert sum(run.cell.budget == top for run in runs_of(rounds)) == 1


def test_a_budget_in_between_is_taken_in():
    train = lab(noise=0.003)
    first = played(train=train)
    budgets = tuple(sorted([*question_of().budgets, question_of().budgets[4] * 1.7]))
    more = Question(target=1e25, spend=SPEND, budgets=budgets)
    rounds = played(more, rounds=first, train=train)
    new = {run.cell.N for run in runs_of(rounds) if run.cell.budget == budgets[5]}
    assert len(new) >= 4
    assert_keeps_the_rails(more, FINE, rounds)


def test_what_allows_no_design_is_said_in_a_sentence():
    with pytest.raises(DesignError, match=r"target of 1e.21 FLOPs is not above"):
        question_of(target=1e21)
    with pytest.raises(DesignError, match="more than a quarter of the spend"):
        Question(target=1e25, spend=1e22, budgets=ladder(1e24))
    with pytest.raises(DesignError, match=r"beyond the sizes that can be trained there.*offer siz"):
        next_round(question_of(), offer_of(sizes_apart(1e6, 1e7)), PRIOR, [])
    steep = Question(target=1e25, spend=4.001e20, budgets=(*np.geomspace(9e19, 9.9e19, 6), 1e20))
    with pytest.raises(DesignError, match=r"take 3.31e\+21 FLOPs at least, more than the spend"):
        next_round(steep, FINE, PRIOR, [])


def test_a_spend_whose_lowest_budgets_train_nothing_names_one_that_does():
    many_steps = stepped(FINE.N, FINE.flops_per_unit, batch=2**17, min_steps=200_000)
    with pytest.raises(DesignError, match=r"a spend of (\S+)") as found:
        next_round(question_of(SPEND / 100, target=1e24), many_steps, PRIOR, [])
    spend = float(str(found.value).split("a spend of ")[1].split()[0].rstrip(",;."))
    assert spend > SPEND / 100
    assert next_round(question_of(spend, target=1e26), many_steps, PRIOR, []).kind == "pilot"


def test_budgets_are_half_decades_below_a_share_of_the_spend():
    budgets = ladder(SPEND)
    assert budgets[-1] == pytest.approx(TOP_SHARE * SPEND)
    np.testing.assert_allclose(np.diff(np.log10(budgets)), 0.5)
    assert ladder(SPEND, budgets) == budgets
    assert ladder(SPEND / 10, budgets) == budgets
    assert len(ladder(3.2 * SPEND, budgets)) == len(budgets) + 1
    assert ladder(1.3 * SPEND, budgets) == budgets
    assert ladder(2 * SPEND, budgets) == (*budgets, pytest.approx(2 * budgets[-1]))
