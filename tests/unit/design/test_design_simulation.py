"""Simulated studies: the real planner and the real fit, and nothing that depends on processes."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.design.forecast import forecast
from flops_fit.design.history import Cell, Trained
from flops_fit.design.offer import Cells, Offer, offer_of, sizes_apart
from flops_fit.design.outcome import Interval, answered, if_exact
from flops_fit.design.prior import prior_of
from flops_fit.design.question import DesignError, Question, ladder
from flops_fit.design.score import Errors, score
from flops_fit.design.simulation import Designed, Laid, simulate, simulate_one, train
from flops_fit.design.trial import Trial
from flops_fit.design.truth import Truth
from flops_fit.laws import Surface, fit_runs

OFFER = offer_of(sizes_apart(1e5, 1e13))
TARGET, SPEND = 1e24, 1e22
SURFACE = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
TRUTH = Truth(surface=SURFACE, noise=0.003, name="a law", source="here")


def designed(ratio=20.0, offer=OFFER):
    question = Question(target=TARGET, spend=SPEND, budgets=ladder(SPEND))
    prior = prior_of(ratio, offer.flops, question.budgets[-1])
    return Designed(question=question, offer=offer, prior=prior)


def grid(noise=0.0):
    cells = []
    for budget in 10.0 ** np.arange(18, 21.1, 0.5):
        for N in float(SURFACE.N_opt(budget, OFFER.flops)) * np.geomspace(1 / 6, 6, 7):
            cells.append(Cell(budget=budget, size_index=-1, N=N, D=budget / (6 * N), C=budget))
    return Laid(cells=tuple(cells), target=TARGET, flops=OFFER.flops)


def test_the_numbers_are_the_same_on_any_number_of_processes():
    for sweep in (designed(), grid()):
        alone, shared = (simulate(sweep, TRUTH, 4, seed=7, workers=n) for n in (1, 2))
        assert alone == shared
        assert simulate_one(sweep, TRUTH, 7, 2) == alone[2]
        assert simulate(sweep, TRUTH, 2, seed=8) != alone[:2]


def test_the_cells_of_a_study_go_to_other_processes():
    offer = Offer(N=OFFER.N, flops_per_unit=OFFER.flops_per_unit, cells=lambda C: OFFER.at(C))
    assert simulate(designed(offer=offer), TRUTH, 2, workers=2) == simulate(designed(), TRUTH, 2)


def test_progress_counts_every_study():
    seen = []
    simulate(grid(), TRUTH, 3, workers=2, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_answer_to_simulated_runs_is_the_one_that_a_fit_gives():
    runs = train(grid().cells, TRUTH, np.random.default_rng(3))
    columns = {
        "budget": [run.cell.budget for run in runs],
        "N": [run.cell.N for run in runs],
        "D": [run.cell.D for run in runs],
        "C": [run.cell.C for run in runs],
        "flops_per_unit": [run.cell.C / run.cell.D for run in runs],
        "loss": [run.L for run in runs],
    }
    fit = fit_runs(
        columns,
        study="x",
        params="non_embedding",
        predict_budgets=[TARGET],
        approaches=("2",),
        bootstrap=0,
    )
    (said,) = [row for row in fit["answer"]["predictions"] if row["C"] == TARGET]
    found = answered(runs, TARGET)
    assert np.exp(found.N.middle) == pytest.approx(said["N_opt"], rel=1e-9)
    assert np.exp([found.N.low, found.N.high]) == pytest.approx(said["N_opt_ci"], rel=1e-9)
    assert np.exp([found.L.low, found.L.high]) == pytest.approx(said["L_opt_ci"], rel=1e-9)


def test_without_noise_the_surface_finds_the_optimum():
    runs = train(grid().cells, TRUTH, None)
    found = if_exact(runs, TARGET, OFFER.flops)
    true = float(np.log(SURFACE.N_opt(TARGET, OFFER.flops)))
    assert found.N.middle == pytest.approx(true, abs=0.02)
    assert found.N.holds(true)


def test_runs_without_a_loss_count_for_nothing():
    runs = train(grid().cells, TRUTH, np.random.default_rng(0))
    failed = [Trained(cell=run.cell, L=None) for run in runs[:4]]
    assert answered([*failed, *runs], TARGET) == answered(runs, TARGET)
    assert if_exact([*failed, *runs], TARGET, OFFER.flops) == if_exact(runs, TARGET, OFFER.flops)


@pytest.mark.parametrize("times", [30.0, 1 / 30])
def test_a_prior_that_is_far_off_is_said_and_put_right(times):
    # N_opt of a law of r units per parameter goes as r^(-1/2)
    off = designed(ratio=20.0 / times**2)
    rounds = off.play(TRUTH, np.random.default_rng(0)).rounds
    again = [chosen for chosen, _ in rounds if chosen.kind == "pilot"][1:]
    assert again
    assert "edge" in again[0].why
    found = score(simulate(off, TRUTH, 12), off, TRUTH)
    centred = score(simulate(designed(), TRUTH, 12), designed(), TRUTH)
    # 12 studies have their errors to 20%
    assert found.exact[0].rms < 2 * centred.exact[0].rms


def test_a_study_that_may_not_go_on_counts_as_far_as_it_came():
    # The sizes hold the pilot of this law, but not the optimum of another one
    N = OFFER.N[OFFER.N < 6 * float(SURFACE.N_opt(1e19, OFFER.flops))]
    offer = offer_of(N)
    found = simulate_one(designed(ratio=20, offer=offer), TRUTH, 0, 0)
    assert found.rounds >= 1
    assert "sizes" in found.refusal
    assert found.exact.N.half > simulate_one(designed(), TRUTH, 0, 0).exact.N.half
    with pytest.raises(DesignError, match=r"with the losses that are expected, .*sizes"):
        forecast(designed(ratio=20, offer=offer), TRUTH)
    with pytest.raises(DesignError):
        simulate(designed(offer=offer_of(OFFER.N[:3])), TRUTH, 2)


def test_a_surface_that_its_runs_do_not_tell_is_none_and_spoils_no_score():
    # A/N^alpha is less than the noise everywhere, so that some studies find A = 0
    flat = Surface(E=1.8, A=1.0, B=2100.0, alpha=0.35, beta=0.37)
    hidden = Truth(surface=flat, noise=0.03, name="a law below its noise", source="here")
    found = simulate(grid(), hidden, 12)
    told = [one.exact for one in found if one.exact is not None]
    assert 0 < len(told) < 12
    for errors in score(found, grid(), hidden).exact:
        assert errors.n == len(told)
        assert np.isfinite([errors.rms, errors.bias, errors.half]).all()


def test_errors_are_those_of_the_intervals():
    intervals = [
        Interval(low=-1.0, middle=0.0, high=1.0),
        Interval(low=1.0, middle=3.0, high=4.0),
        Interval(low=1.5, middle=2.0, high=7.5),
    ]
    errors = Errors.of(intervals, 1.0)
    assert errors.n == 3
    assert errors.rms == pytest.approx(np.sqrt((1 + 4 + 1) / 3))
    assert errors.bias == pytest.approx((-1 + 2 + 1) / 3)
    assert errors.half == pytest.approx(1.5)
    assert errors.covered == pytest.approx(2 / 3)
    assert Errors.of([], 1.0) is None


def test_intervals_hold_the_truth_as_often_as_they_say():
    trial = Trial.of(grid(), TRUTH, 100)
    # 95% +- three standard errors of 100 draws; the answer's hold the misfit as well
    assert trial.score.exact[0].covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)
    assert trial.score.answer[0].covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)
    assert trial.score.studies == len(trial.studies) == 100


def test_a_design_that_is_refused_at_once_says_what_would_do():
    def cells(budget):
        every, n = OFFER.at(budget), None if budget > 1e20 else 0
        return Cells(index=every.index[:n], D=every.D[:n], C=every.C[:n])

    sweep = designed(offer=Offer(N=OFFER.N, flops_per_unit=OFFER.flops_per_unit, cells=cells))
    with pytest.raises(DesignError, match=r"a spend of \S+ would do"):
        simulate(sweep, TRUTH, 2)
