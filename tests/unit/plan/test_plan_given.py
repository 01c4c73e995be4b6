"""Experiments that are named one by one: exact D, ordinary ids, and a sentence for each mistake."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from hand_computed import SMALL, changed, dataset_meta, measures, planned, without


def study_of(*experiments: dict, **changes: object) -> Study:
    config = without(changed(SMALL, changes), "plan.budgets")
    return Study.from_config(changed(config, {"plan.experiments": list(experiments)}), "one.yaml")


def planned_of(*experiments: dict, **changes: object):
    study = study_of(*experiments, **changes)
    return make_plan(study, measures(study), dataset_meta()).experiments


def test_an_experiment_of_a_grid_has_its_id_however_it_is_named():
    """At 6e6 FLOPs the size 200 takes 500 steps of 10 units: D = 5000."""
    grid = {row.size: row for row in planned().experiments}
    for entry in ({"C": 6e6}, {"D": 5000}, {"D": "5e3", "seed": 0, "lr": 0.01, "batch": 10}):
        (row,) = planned_of({"size": 200, **entry})
        assert row == grid[200]
    (other,) = planned_of({"size": 200, "D": 5000, "seed": 1})
    assert (other.id != grid[200].id, other.seed) == (True, 1)


def test_d_is_whole_steps_and_c_is_what_they_take():
    (row,) = planned_of({"size": 300, "D": 5004}, **{"plan.min_steps": 9999})
    assert (row.steps, row.D, row.C, row.budget) == (500, 5000, 9e6, 9e6)
    (row,) = planned_of({"size": 300, "D": 5004, "batch": 25})
    assert (row.steps, row.D, row.batch) == (200, 5000, 25)
    (row,) = planned_of({"size": 70.5, "C": 1e7})
    assert row.size == 70.5
    assert abs(row.C / 1e7 - 1) < 0.01


def test_settings_by_budget_grids_of_rates_and_seeds_are_those_of_a_sweep():
    rows = planned_of(
        {"size": 200, "C": 6e6},
        {"size": 100, "C": 3e6, "lr": 0.5, "seed": 7},
        **{"train.lr": {6e6: [0.2, 0.1]}, "train.batch": {3e6: 20, 6e6: 10}, "plan.seeds": [3, 4]},
    )
    found = [(row.budget, row.size, row.lr, row.seed, row.batch) for row in rows]
    assert found == [
        (3e6, 100, 0.5, 7, 20),
        (6e6, 200, 0.1, 3, 10), (6e6, 200, 0.1, 4, 10),
        (6e6, 200, 0.2, 3, 10), (6e6, 200, 0.2, 4, 10),
    ]  # fmt: skip


def test_rules_of_n_and_d_hold_for_named_experiments():
    """lr = 0.1 (N / 200)^-0.5 (D / 5000)^0.5, batch = 50 (D / 5000), in whole samples of 5."""
    rule = {"base": 0.1, "power_n": -0.5, "power_d": 0.5, "reference": {"n": 200, "d": 5000}}
    batch = {"base": 50, "power_d": 1, "reference": {"d": 5000}}
    rules = {"train.lr": rule, "train.batch": batch}
    (row,) = planned_of({"size": 200, "D": 10_000}, **rules)
    assert (row.batch, row.D, row.lr) == (100, 10_000, pytest.approx(0.1 * 2**0.5, rel=1e-5))
    (row,) = planned_of({"size": 200, "D": 10_000, "lr": 0.3, "batch": 40}, **rules)
    assert (row.batch, row.D, row.lr) == (40, 10_000, 0.3)


@pytest.mark.parametrize(
    ("experiment", "changes", "said"),
    [
        ({"size": 200}, {}, r"plan.experiments\[0\].D: found neither D nor C, expected one"),
        ({"size": 200, "D": 10, "C": 1e6}, {}, r"\[0\].D: found D 10 and C 1e\+06, expected one"),
        ({"size": 200, "D": 5.5}, {}, r"\[0\].D: found 5.5, expected a whole number"),
        ({"D": 5000}, {}, r"plan.experiments\[0\].size: is missing"),
        ({"size": 200, "D": 5, "batch": 10}, {}, r"found 5, expected at least the 10 units"),
        ({"size": 200, "D": 4}, {}, r"experiments\[0\]: found less than half a step of 10 units"),
        ({"size": 200, "D": 4000, "batch": 12}, {}, r"batch: found 12 units, expected a multiple"),
        ({"size": 200, "C": 5e4}, {}, r"C: found 50000, which whole steps of 10 units miss by -4"),
        (
            {"size": 200, "D": 5000},
            {"plan.target": 1e9, "plan.spend": 1e8},
            r"plan.target: found beside plan.experiments, expected one of them",
        ),
        ({"size": 200, "D": 5000}, {"plan.budgets": [1e6]}, "plan.budgets: found beside"),
        (
            {"size": 200, "D": 5000},
            {"train.lr": {6e6: 0.1}},
            r"train.lr: found a map from budgets, which an experiment with D has none of",
        ),
        (
            {"size": 200, "C": 5e6},
            {"train.batch": {6e6: 10}},
            r"train.batch: has no entry for the C 5e\+06 of plan.experiments",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(experiment, changes, said):
    config = changed(without(SMALL, "plan.budgets"), changes)
    config = changed(config, {"plan.experiments": [experiment]})
    with pytest.raises(UserError, match=said):
        make_plan(*planning(Study.from_config(config, "one.yaml")))


def planning(study: Study) -> tuple:
    return study, measures(study), dataset_meta()


def test_the_same_experiment_twice_is_refused():
    twice = [{"size": 200, "C": 6e6}, {"size": 200, "D": 5000}]
    with pytest.raises(UserError, match=r"size 200 with C 6e\+06 is there twice"):
        make_plan(*planning(study_of(*twice)))
