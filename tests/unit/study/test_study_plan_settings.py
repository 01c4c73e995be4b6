"""The keys of a plan: a grid or a design, and what leaves earlier studies as they are."""

from __future__ import annotations

import itertools
import json

import pytest
from flops_fit.errors import UserError
from flops_fit.study.study import LATER_DEFAULTS, Study
from hand_computed import DESIGNED, FILE, SMALL, small_study

DESIGN = {"plan.target": 1e10, "plan.spend": 1e8}


def test_keys_that_came_later_leave_the_text_of_earlier_studies_as_it_was():
    """Another text would plan every study again."""
    at_defaults = {f"{section}.{key}": default for section, key, default in LATER_DEFAULTS}
    text = small_study(at_defaults).to_json()
    assert text == small_study().to_json()
    stored = json.loads(text)["config"]
    for section, key, _ in LATER_DEFAULTS:
        assert key not in stored[section]
    assert Study.from_config(stored, FILE).config == small_study().config


@pytest.mark.parametrize(
    ("plan", "key", "words"),
    [
        ({}, "budgets", "is missing, expected a list of positive numbers (a grid), plan"),
        ({"spend": 1e9}, "spend", "found without plan.target"),
        ({"budgets": [1e9], "precision": 1.2}, "precision", "found without plan.target"),
        ({"target": 1e12}, "target", "found 1e+12 alone, expected plan.spend or plan.precision"),
        ({"target": 1e12, "spend": 1e9, "precision": 2}, "precision", "found beside plan.spend"),
        ({"target": 1e9, "spend": 1e9}, "target", "found 1e+09, not above plan.spend 1e+09"),
        (
            {"target": 1e9, "spend": 1e8, "budgets": [1e5, 1e6, 1e7, 1e8, 1e9]},
            "target",
            "found 1e+09, not above the largest of plan.budgets 1e+09",
        ),
        ({"target": 1e9, "precision": 1}, "precision", "found 1.0, expected a number"),
        ({"target": 1e9, "spend": 1e8, "prior": 0}, "prior", "found 0, expected a number of"),
        ({"target": 1e9, "spend": 1e8, "prior": True}, "prior", "found True, expected a number"),
    ],
)
def test_a_plan_is_a_grid_or_a_design(plan, key, words):
    with pytest.raises(UserError) as caught:
        Study.from_config({**SMALL, "plan": plan}, FILE)
    assert str(caught.value).startswith(f"{FILE}: plan.{key}: {words}")


def test_the_target_of_a_design_is_predicted_beside_what_is_asked_for():
    assert small_study(DESIGN | {"predict.budgets": [1e12]}).predict_budgets == (1e10, 1e12)
    assert small_study(DESIGN | {"predict.budgets": [1e10]}).predict_budgets == (1e10,)


def test_a_design_has_a_ratio_of_data_and_parameters_only_if_it_is_stated():
    assert small_study().plan.tokens_per_param == (3, 450)
    assert small_study(DESIGN).plan.tokens_per_param is None
    assert small_study({**DESIGN, "plan.tokens_per_param": [5, 100]}).plan.tokens_per_param == (
        5,
        100,
    )
    again = json.loads(small_study(DESIGN).to_json())["config"]
    assert Study.from_config(again, FILE).plan.tokens_per_param is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.lr": [0.1, 0.2]}, "train.lr: found a grid of several values, expected one"),
        ({"train.batch": {6e6: 10}, "plan.budgets": None}, "train.batch: found a map from budgets"),
        ({"train.lr": {5e6: 0.1}}, "train.lr: has no entry for the budget 6e+06"),
    ],
)
def test_a_design_trains_each_size_at_one_rate_and_batch(changes, words):
    with pytest.raises(UserError) as caught:
        small_study({**DESIGN, **changes})
    assert words in str(caught.value)


def test_a_range_without_a_count_is_dense_in_the_size():
    sizes = Study.from_config(DESIGNED, FILE).model.sizes
    assert sizes == tuple(range(10, 91, 5))
    dense = small_study({"model.sizes": {"min": 100, "max": 5000, "multiple_of": 1}}).model.sizes
    ratios = [b / a for a, b in itertools.pairwise(dense)]
    assert max(ratios) < 1.04
    assert small_study({"model.sizes": {"min": 1, "max": 1e9}}).model.sizes[-1] == 1e9
