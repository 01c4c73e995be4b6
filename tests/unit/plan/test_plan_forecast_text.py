"""What a plan says that it would tell."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.design.forecast import forecast
from flops_fit.design.offer import offer_of, sizes_apart
from flops_fit.design.prior import prior_of
from flops_fit.design.question import DesignError, Question, ladder
from flops_fit.design.simulation import Designed
from flops_fit.design.truth import Truth
from flops_fit.errors import UserError
from flops_fit.laws import Surface
from flops_fit.pipeline.foreseeing import foresee_design, foresee_grid
from flops_fit.plan.plan import make_plan
from flops_fit.plan.tried_out import expected_of_grid, laid_grid, truth_of_study
from hand_computed import dataset_meta, measures, small_study

OFFER = offer_of(sizes_apart(1e5, 1e13))
TARGET = 1e24


def designed(spend, rounds=()):
    question = Question(target=TARGET, spend=spend, budgets=ladder(spend))
    prior = prior_of("chinchilla", OFFER.flops, question.budgets[-1])
    return Designed(question=question, offer=OFFER, prior=prior, rounds=rounds)


def planned(study):
    return make_plan(study, measures(study), dataset_meta()).experiments


def row_of(text, start):
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line[46:].split()


def test_a_design_says_what_its_forecast_says():
    sweep = designed(1e22)
    text, foreseen = foresee_design(1e22, designed), forecast(sweep)
    assert "under the law of chinchilla (plan.prior)" in text
    known = [f"{np.exp(one.N.half):.2f}" for one in (foreseen.exact, foreseen.misfit)]
    assert row_of(text, "N_opt, to within a factor of") == known
    known = [f"{np.expm1(one.L.half):.1%}" for one in (foreseen.exact, foreseen.misfit)]
    assert row_of(text, "L_opt, to within") == known
    half = [
        f"{np.exp(one.N.half):.2f}"
        for one in (lambda f: (f.exact, f.misfit))(forecast(designed(5e21)))
    ]
    assert row_of(text, "for 5e+21 FLOPs: N_opt") == half
    for item in foreseen.rounds:
        assert row_of_round(text, item.kind) == (item.experiments, f"{item.spent:.3g}")
    assert row_of_round(text, "in all") == (foreseen.experiments, f"{foreseen.spent:.3g}")


def row_of_round(text, kind):
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {kind} ")]
    words = line[len(kind) + 2 :].split()
    return int(words[0]), words[2]


def test_between_rounds_only_those_to_come_are_foreseen():
    truth = Truth(
        surface=Surface(E=1.8, A=480, B=2100, alpha=0.35, beta=0.37),
        noise=0.003,
        name="",
        source="",
    )
    rounds = designed(1e22).play(truth, np.random.default_rng(0)).rounds

    def with_spend(spend):
        return designed(spend, rounds[:1])

    text = foresee_design(1e22, with_spend)
    assert "  pilot" not in text
    assert "  inform" in text
    assert "the surface through the runs so far with a noise" in text
    whole = foresee_design(1e22, lambda spend: designed(spend, rounds))
    assert "Rounds to come" not in whole


def test_a_spend_without_a_design_is_said_in_its_row():
    def with_spend(spend):
        if spend > 1e22:
            raise DesignError("no size is large enough")
        return designed(spend)

    assert "for 2e+22 FLOPs: no size is large enough" in foresee_design(1e22, with_spend)


def test_a_design_that_is_none_says_why():
    question = Question(target=TARGET, spend=1e22, budgets=ladder(1e22))
    few = Designed(question=question, offer=offer_of(OFFER.N[:3]), prior=designed(1e22).prior)
    text = foresee_design(1e22, lambda spend: few)
    assert text.startswith("What this design would tell is not foreseen: ")


def test_a_grid_says_what_its_cells_say_once_and_twice():
    study = small_study({"predict": {"budgets": [1e9]}, "plan.budgets": [2e6, 6e6, 2e7]})
    text = foresee_grid(study, planned(study))
    sweep = laid_grid(study, planned(study))
    foreseen = forecast(sweep, expected_of_grid(study, sweep))
    assert "at 1e+09 FLOPs" in text
    assert "the law of 20 units per parameter (plan.prior)" in text
    known = [f"{np.exp(one.N.half):.2f}" for one in (foreseen.exact, foreseen.misfit)]
    assert row_of(text, "N_opt, to within a factor of") == known
    for column in (0, 1):
        once, twice = (float(row_of(text, start)[column]) for start in ("N_opt, to", "for "))
        assert twice < once


def test_a_grid_counts_a_cell_once_for_all_learning_rates_and_again_for_each_seed():
    study = small_study({"train.lr": [0.01, 0.02, 0.04], "plan.seeds": [0, 1]})
    rows = planned(study)
    sweep = laid_grid(study, rows)
    assert len(rows) == 3 * len(sweep.cells)
    assert sorted({cell.seed for cell in sweep.cells}) == [0, 1]
    for cell in sweep.cells:
        assert cell.C == pytest.approx(float(sweep.flops.flops_per_unit(cell.N)) * cell.D)


def test_a_grid_without_an_answer_says_so():
    study = small_study()  # of a single budget
    assert "give no answer there" in foresee_grid(study, planned(study))


def test_the_truth_is_the_prior_or_what_is_stated():
    study = small_study({"plan.prior": 35})
    sweep = laid_grid(study, planned(study))
    assert truth_of_study(study, sweep).name == "35 units per parameter"
    stated = {"E": 1, "A": 2, "B": 3, "alpha": 0.3, "beta": 0.4, "noise": 0.02}
    truth = truth_of_study(small_study({"plan.truth": stated}), sweep)
    assert (truth.surface.beta, truth.noise) == (0.4, 0.02)
    assert truth_of_study(small_study({"plan.truth": 50}), sweep).name == "50 units per parameter"
    with pytest.raises(UserError, match=r"plan\.truth: found 'gopher'"):
        truth_of_study(small_study({"plan.truth": "gopher"}), sweep)
