"""The experiments of a plan against sums done by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flops_fit.errors import UserError
from flops_fit.plan.plan import make_plan
from hand_computed import FILE, dataset_meta, planned, small_study


def refusal(changes: dict, **meta) -> str:
    with pytest.raises(UserError) as caught:
        planned(changes, **meta)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_number_of_a_plan_by_hand():
    """C = 6 N D = 6e6, so D = 1e6 / N, in steps of 10."""
    plan = planned({"train.processes": 2}, units_train=5000)
    assert (plan.study, plan.unit, plan.dropped) == ("small", "token", ())
    found = [
        (r.budget, r.size, r.n_params, r.n_params_non_embedding, r.flops_per_unit, r.D, r.steps,
         r.C, r.units_per_param, r.epochs, r.seed, r.lr, r.batch, r.processes)
        for r in plan.experiments
    ]  # fmt: skip
    assert found == [
        (6e6, 50, 1050, 50, 300, 20_000, 2000, 6e6, 400, 4, 0, 0.01, 10, 2),
        (6e6, 100, 1100, 100, 600, 10_000, 1000, 6e6, 100, 2, 0, 0.01, 10, 2),
        (6e6, 200, 1200, 200, 1200, 5000, 500, 6e6, 25, 1, 0, 0.01, 10, 2),
        (6e6, 400, 1400, 400, 2400, 2500, 250, 6e6, 6.25, 0.5, 0, 0.01, 10, 2),
    ]
    for row in plan.experiments:
        assert (plan.specs[row.id].D, plan.specs[row.id].size) == (row.D, row.size)
        assert [type(n) for n in (row.D, row.steps, row.batch)] == [int, int, int]


def test_larger_models_may_have_more_processes():
    """By the total count, which is N + 1000 here; the ids do not know of it."""
    steps = [{"from_params": 0, "processes": 1}, {"from_params": 1200, "processes": 2}]
    plan = planned({"train.processes": steps})
    assert [(row.n_params, row.processes) for row in plan.experiments] == [
        (1050, 1), (1100, 1), (1200, 2), (1400, 2),
    ]  # fmt: skip
    assert [row.id for row in plan.experiments] == [row.id for row in planned().experiments]


def test_whole_steps_decide_what_is_spent():
    """N = 300: 1e6 / 300 / 10 = 333.3 steps; N = 70: 1428.6 steps."""
    rows = {row.size: row for row in planned({"model.sizes": [70, 150, 300]}).experiments}
    assert (rows[300].steps, rows[300].D, rows[300].C) == (333, 3330, 6 * 300 * 3330)
    assert (rows[70].steps, rows[70].D, rows[70].C) == (1429, 14_290, 6 * 70 * 14_290)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "250 steps"),
        (
            {"train.schedule": "wsd", "train.decay_fraction": 0.4},
            "150 steps before its decay (train.decay_fraction 0.4)",
        ),
    ],
)
def test_a_warm_up_in_steps_fits_into_the_shortest_experiment(changes, expected):
    """The 250 steps of size 400."""
    (most, *_) = expected.split()
    planned({**changes, "train.warmup_steps": int(most)})
    assert refusal({**changes, "train.warmup_steps": int(most) + 1}) == (
        f"{FILE}: train.warmup_steps: found {int(most) + 1}, but size 400 at the budget 6e+06 has "
        f"{expected}, expected at most as many"
    )


def test_budgets_learning_rates_and_seeds_multiply():
    changes = {
        "model.sizes": [100, 200, 400],
        "plan.budgets": [12e6, 6e6],
        "plan.seeds": [1, 0],
        "train.lr": {6e6: [0.2, 0.1], 12e6: 0.3},
        "train.batch": {6e6: 10, 12e6: 20},
    }
    rows = planned(changes).experiments
    assert [(r.budget, r.size, r.lr, r.seed, r.batch, r.steps) for r in rows] == [
        *((6e6, n, lr, seed, 10, 100_000 // n)
          for n in (100, 200, 400) for lr in (0.1, 0.2) for seed in (1, 0)),
        *((12e6, n, 0.3, seed, 20, 100_000 // n) for n in (100, 200, 400) for seed in (1, 0)),
    ]  # fmt: skip
    assert len({row.id for row in rows}) == len(rows) == 18


def test_sizes_beyond_the_wanted_number_are_dropped():
    changes = {"model.sizes": [50, 60, 100, 200, 380, 400], "plan.sizes_per_budget": 4}
    plan = planned(changes)
    assert [row.size for row in plan.experiments] == [50, 100, 200, 400]
    assert [(row.budget, row.size, row.reason) for row in plan.dropped] == [
        (6e6, 60, "more sizes than plan.sizes_per_budget (4)"),
        (6e6, 380, "more sizes than plan.sizes_per_budget (4)"),
    ]


def test_combinations_that_cannot_be_trained_are_dropped_with_the_reason():
    # D / N = 1e6 / N^2: 2500 at N = 20 and 0.25 at N = 2000, of which only 50 steps remain
    plan = planned({"model.sizes": [20, 50, 100, 200, 1000, 2000]})
    assert [row.size for row in plan.experiments] == [50, 100, 200]
    assert {row.size: row.reason for row in plan.dropped} == {
        20: "D/N = 2.5e+03 is outside of tokens_per_param [3, 450]",
        1000: "D/N = 1 is outside of tokens_per_param [3, 450]",
        2000: "50 steps of 10 units are fewer than min_steps 100",
    }


@pytest.mark.parametrize(
    ("key", "kept", "dropped"),
    [
        # 250 steps at N = 400
        ("plan.min_steps", 250, 251),
        # D / N from 6.25 to 400
        ("plan.tokens_per_param", [6.25, 400], [6.26, 400]),
        ("plan.tokens_per_param", [3, 400], [3, 399.9]),
    ],
)
def test_the_bounds_themselves_are_feasible(key, kept, dropped):
    assert len(planned({key: kept}).experiments) == 4
    assert len(planned({key: dropped}).experiments) == 3


def test_a_budget_missed_by_more_than_one_percent_is_dropped():
    """Steps of 200 units at N = 102: 49.02 of them, so 49 miss by 0.04%; at N = 97, 51.55: 0.87%.

    At N = 220, 22.73 steps become 23, which is 1.2% more.
    """
    changes = {"model.sizes": [97, 100, 102, 220], "train.batch": 200, "plan.min_steps": 1}
    plan = planned(changes)
    assert [row.size for row in plan.experiments] == [97, 100, 102]
    assert {row.size: row.reason for row in plan.dropped} == {
        220: "whole steps miss the budget by +1.2%, more than 1%"
    }
    assert max(abs(row.C / row.budget - 1) for row in plan.experiments) < 0.01


def test_measured_flops_and_6nd_plan_by_their_own_account():
    study = small_study({"model.sizes": [50, 100, 200]})
    measured = {
        size: SimpleNamespace(n_params=size, n_params_non_embedding=size, flops_per_unit=8.0 * size)
        for size in study.model.sizes
    }
    rows = make_plan(study, measured, dataset_meta()).experiments
    assert [(r.flops_per_unit, r.D, r.C) for r in rows] == [
        (400, 15_000, 6e6), (800, 7500, 6e6), (1600, 3750, 6e6),
    ]  # fmt: skip
    study = small_study({"model.sizes": [50, 100, 200], "plan.flops": "6ND"})
    rows = make_plan(study, measured, dataset_meta()).experiments
    assert [(r.flops_per_unit, r.D, r.C) for r in rows] == [
        (300, 20_000, 6e6), (600, 10_000, 6e6), (1200, 5000, 6e6),
    ]  # fmt: skip


def test_the_choice_of_n_for_the_fit_changes_no_plan():
    assert planned({"fit.params": "total"}).experiments == planned().experiments


@pytest.mark.parametrize(
    ("changes", "reasons", "remedies"),
    [
        (
            {"plan.min_steps": 1001},
            ["fewer than min_steps"],
            "lower plan.min_steps or train.batch",
        ),
        (
            {"plan.tokens_per_param": [3, 30]},
            ["outside of tokens_per_param"],
            "widen plan.tokens_per_param",
        ),
        (
            {"plan.min_steps": 1, "train.batch": 3500, "plan.tokens_per_param": [1, 1000]},
            ["miss the budget"],
            "lower train.batch",
        ),
        (
            {"plan.min_steps": 400, "plan.tokens_per_param": [3, 30]},
            ["fewer than min_steps", "outside of tokens_per_param"],
            "lower plan.min_steps or train.batch, widen plan.tokens_per_param",
        ),
    ],
)
def test_too_few_sizes_name_what_would_help(changes, reasons, remedies):
    message = refusal(changes)
    assert message.startswith(f"{FILE}: plan.budgets: the budget 6e+06 is left with ")
    assert "of the 4 sizes, expected at least 3; add model.sizes in between or around, " in message
    assert f"or around, {remedies}, or change the budget. Dropped: " in message
    for reason in reasons:
        assert reason in message


def test_a_size_parameter_that_changes_nothing_is_refused():
    """A model with **kwargs swallows a misspelt size parameter: every size is the same model."""
    study = small_study()
    same = SimpleNamespace(n_params=9, n_params_non_embedding=100, flops_per_unit=600.0)
    with pytest.raises(UserError) as caught:
        make_plan(study, dict.fromkeys(study.model.sizes, same), dataset_meta())
    assert str(caught.value) == (
        f"{FILE}: model.size_param: the 4 sizes of 'width' have 1 different parameter counts "
        "between them, expected at least 3; mine:Model seems to ignore 'width'"
    )


@pytest.mark.parametrize(("batch", "advice"), [(12, 10), (4, 5), (5001, 5000)])
def test_a_batch_of_broken_samples_is_refused(batch, advice):
    assert refusal({"train.batch": batch}) == (
        f"{FILE}: train.batch: found {batch} units at the budget 6e+06, expected a multiple of the "
        f"5 units of a sample, such as {advice}"
    )


def test_a_batch_with_less_than_a_sample_per_process_is_refused():
    assert len(planned({"train.processes": 2}).experiments) == 4
    steps = [{"from_params": 0, "processes": 1}, {"from_params": 1200, "processes": 3}]
    assert refusal({"train.processes": steps}) == (
        f"{FILE}: train.batch: 10 units are 2 samples, expected at least one for each of the 3 "
        "processes (train.processes) of a model of 1200 parameters"
    )


def test_budgets_so_close_that_they_are_one_are_refused():
    message = refusal({"plan.budgets": [6e6, 6.0001e6]})
    assert "plan.budgets: 6e+06 and 6.0001e+06 are so close that size 50 is the same" in message
