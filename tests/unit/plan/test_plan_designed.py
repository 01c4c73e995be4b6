"""What a design may choose from: whole steps, and only what the study allows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from flops_fit.design.question import DesignError
from flops_fit.design.rounds import next_round
from flops_fit.errors import UserError
from flops_fit.plan.decision import (
    Asked,
    ChosenExperiment,
    Decision,
    decided_rounds,
    decision_file,
    read_decision,
)
from flops_fit.plan.layouts.decided import cells_of, round_of
from flops_fit.plan.layouts.designed import Ground, summary_of_dropped
from flops_fit.plan.layouts.layout import Cause
from hand_computed import FILE, dataset_meta, measures, planned, small_study

DESIGN = {"plan.budgets": None, "plan.target": 1e10, "plan.spend": 1e8, "plan.min_steps": 10}


def ground(changes=None, sizes=None, **meta) -> Ground:
    study = small_study({**DESIGN, "model.sizes": sizes or list(range(10, 400, 10)), **changes})
    return Ground(study=study, sizes=measures(study), data=dataset_meta(**meta))


def test_cells_are_whole_steps_with_their_exact_cost():
    """At 6e6 FLOPs, N trains on 1e6 / N units: steps of 10."""
    cells = ground({}, [100, 210, 300], units_train=10**6).cells(6e6)
    assert cells.index.tolist() == [0, 1, 2]
    assert cells.D.tolist() == [10_000, 4760, 3330]  # 476.19 and 333.3 steps
    assert cells.C.tolist() == [6e6, 6 * 210 * 4760, 6 * 300 * 3330]


def test_what_is_not_allowed_is_left_out_with_its_cause():
    own = ground(
        {"plan.max_epochs": 2, "plan.min_steps": 400, "plan.tokens_per_param": [1, 500]},
        [30, 60, 100, 330],
        units_train=6000,
    )
    assert own.cells(6e6).index.tolist() == [2]
    causes = {one.size: one.cause for one in own.dropped([6e6])}
    assert causes == {
        30: Cause.UNITS_PER_PARAM,  # 1111 units each
        60: Cause.REPEATS_DATA,  # 16,670 units of 6000
        330: Cause.TOO_FEW_STEPS,  # 303
    }
    (line,) = [one for one in summary_of_dropped(own.dropped([6e6])) if "epochs" in one]
    assert line == (
        "budget 6e+06: size 60: 2.78 epochs of the training split are more than max_epochs 2"
    )


def test_sizes_of_one_N_are_offered_once():
    offer = ground({}, [10, 20, 20.5, 30, 40]).offer
    assert offer.N.tolist() == [10, 20, 30, 40]
    assert offer.flops_per_unit.tolist() == [60, 120, 180, 240]


def test_a_design_has_a_ladder_of_round_budgets_that_stay_when_the_spend_grows():
    own = ground({}, units_train=10**9)
    budgets = own.sweep(1e8).question.budgets
    assert budgets[-1] == pytest.approx(0.12e8 * 1, rel=1)
    assert all(float(f"{budget:.4g}") == budget for budget in budgets)
    ratios = np.diff(np.log10(budgets))
    np.testing.assert_allclose(ratios, 0.5, atol=1e-3)
    lowest = budgets[:3]
    assert own.sweep(1e8, kept=lowest).question.budgets == budgets
    larger = own.sweep(4e8, kept=budgets).question.budgets
    assert larger[: len(budgets)] == budgets
    assert len(larger) == len(budgets) + 1
    stated = ground({"plan.budgets": [1e5, 3e5, 1e6, 3e6, 1e7]})
    assert stated.sweep(1e8).question.budgets == (1e5, 3e5, 1e6, 3e6, 1e7)


def test_the_largest_run_is_a_quarter_of_the_spend_at_most():
    own = ground({"plan.budgets": [1e5, 1e6, 1e7, 2e7, 1e8]})
    with pytest.raises(DesignError):
        own.sweep(1e8)
    with (
        pytest.raises(UserError, match=f"^{FILE}: plan.budgets: a run of 1e.08 FLOPs is more than"),
        own.named_errors("plan.budgets"),
    ):
        own.sweep(1e8)


def test_a_ladder_of_few_budgets_is_refused():
    with (
        pytest.raises(UserError, match=f"^{FILE}: plan.budgets: found 2 beside plan.target, exp"),
        (own := ground({"plan.budgets": [1e6, 1e7]})).named_errors("plan.budgets"),
    ):
        own.sweep(1e8)


def test_a_spend_that_was_lowered_below_what_a_design_needs_says_which_one_does():
    own = ground({}, units_train=10**9)
    lowest = own.sweep(1e8).question.budgets[:3]
    said = r"^1\.3e\+06 leaves 3 budgets .* spend \S+ or more$"
    with pytest.raises(DesignError, match=said) as error:
        own.sweep(1.3e6, kept=lowest)
    enough = float(str(error.value).split(" spend ")[1].split()[0])
    assert len(own.sweep(enough, kept=lowest).question.budgets) == 5


def test_a_prior_that_nobody_knows_is_named():
    with pytest.raises(UserError, match=f"^{FILE}: plan.prior: found 'nobody'"):
        ground({"plan.prior": "nobody"}).prior(1e6)


def chosen(**changes) -> list[ChosenExperiment]:
    rows = planned(changes).experiments
    return [
        ChosenExperiment(
            **{name: getattr(row, name) for name in row.__dataclass_fields__},
            why="here",
            predicted_loss=2.5,
            predicted_std=0.05,
        )
        for row in rows
    ]


def decision(rows, number=0) -> Decision:
    return Decision(
        round=number,
        kind="inform",
        why="because",
        checks={"chi2_p": 0.5, "lack_of_fit_p": None},
        asked=Asked(target=1e10, spend=1e8, precision=None, budgets=[6e6]),
        chosen=tuple(rows[1:]),
        along=tuple(rows[:1]),
    )


def test_a_decision_is_read_as_it_was_written(tmp_path):
    made = decision(chosen(), 3)
    made.write(tmp_path)
    assert read_decision(tmp_path, 3) == made
    assert read_decision(tmp_path, 4) is None
    assert decided_rounds(tmp_path) == [3]
    decision_file(tmp_path, 3).rename(decision_file(tmp_path, 4))
    with pytest.raises(UserError, match=r"round: found 3, expected 4; it is 4.json.damaged now"):
        read_decision(tmp_path, 4)
    assert read_decision(tmp_path, 4) is None


def test_rows_are_cells_of_the_design_again():
    rows = chosen(**{"plan.seeds": [0, 5]})
    own = ground({}, [50, 100, 400])
    cells = cells_of(rows, own.offer)
    index = {50: 0, 100: 1, 400: 2, 200: -1}  # 200 is not offered any more
    assert [cell.size_index for cell in cells] == [index[row.size] for row in rows]
    assert [cell.seed for cell in cells] == [0, 1] * 4
    assert [cell.seed for cell in cells_of(rows[:1], own.offer, before=rows[:2])] == [2]
    made = decision(rows)
    choice = round_of(made, cells[1:]).choices[0]
    assert choice.cell == cells[1]
    assert np.exp(choice.log_L) == pytest.approx(2.5)
    assert choice.log_L_std == pytest.approx(0.02)


def test_the_row_of_the_plan_is_that_of_the_round():
    row = chosen()[0]
    assert row.planned == planned().experiments[0]
    assert dataclasses.fields(row.planned) != dataclasses.fields(row)


@pytest.mark.parametrize(
    ("changes", "sizes", "words"),
    [
        (
            {"plan.spend": 1e5},
            None,
            r"plan: 0 of 7 budgets \(12 to 1.2e\+04 FLOPs\) have 4 sizes or more .* a spend of "
            r".* would do; lower plan.min_steps or train.batch$",
        ),
        ({}, [10, 12, 14, 16, 18, 20, 22, 24], "plan: the prior puts N_opt at .* beyond the sizes"),
        ({}, [100, 200, 300], "plan: . of 7 budgets .* offer more sizes"),
    ],
)
def test_a_design_that_cannot_be_is_one_sentence_with_what_would_help(changes, sizes, words):
    more = {"plan.target": 1e12, "plan.spend": 1e9}
    own = ground({**more, **changes}, sizes or list(range(10, 20_000, 10)), units_train=10**6)
    sweep = own.sweep(own.study.plan.spend)
    with (
        pytest.raises(UserError, match=f"^{FILE}: {words}"),
        own.named_errors("plan", sweep.question.budgets),
    ):
        next_round(sweep.question, sweep.offer, sweep.prior, [], [])


def test_a_prior_that_is_far_off_is_no_error():
    """The pilot corrects it."""
    far = {"plan.target": 1e12, "plan.spend": 1e9, "plan.prior": 20 * 30**2}
    own = ground(far, list(range(10, 20_000, 10)), units_train=10**6)
    sweep = own.sweep(1e9)
    assert next_round(sweep.question, sweep.offer, sweep.prior, [], []).kind == "pilot"
