"""What only simulations read, and the laws that a study names."""

from __future__ import annotations

import pytest
from flops_fit.design.law_names import LAW_NAMES
from flops_fit.design.published import PUBLISHED
from flops_fit.errors import UserError
from flops_fit.study.expected_laws import check_laws
from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.study import Study
from hand_computed import SMALL, changed, small_study

DESIGN = {"plan.target": 1e10, "plan.spend": 1e8}


@pytest.mark.parametrize(
    "change",
    [
        {"simulate": {"studies": 7, "spends": [1e8]}},
        {"plan.truth": {"E": 1, "A": 2, "B": 3, "alpha": 0.3, "beta": 0.4}},
        {"plan.truth": "chinchilla"},
    ],
)
def test_what_only_simulations_read_makes_no_other_plan(change):
    assert small_study(DESIGN).to_json() == small_study({**DESIGN, **change}).to_json()


def test_all_published_laws_are_named_where_a_prior_is_described():
    assert tuple(PUBLISHED) == LAW_NAMES
    for name in LAW_NAMES:
        assert name in PlanSettings.model_fields["prior"].description


@pytest.mark.parametrize("key", ["plan.prior", "plan.truth"])
def test_a_law_that_nobody_knows_is_refused_with_those_that_are_known(key, tmp_path):
    study = Study.from_config(changed(SMALL, {**DESIGN, key: "gopher"}), tmp_path / "my.yaml")
    with pytest.raises(UserError) as caught:
        check_laws(study)
    message = str(caught.value)
    assert f"my.yaml: {key}: found 'gopher'" in message
    assert all(name in message for name in LAW_NAMES)


def test_an_earlier_fit_is_looked_for_beside_the_configuration(tmp_path):
    changes = {**DESIGN, "plan.prior": "../earlier"}
    (tmp_path / "config").mkdir()
    study = Study.from_config(changed(SMALL, changes), tmp_path / "config" / "my.yaml")
    with pytest.raises(UserError, match="there is no file"):
        check_laws(study)
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "fit.json").touch()
    assert check_laws(study) is study


def test_a_number_or_a_name_needs_no_file():
    for value in (35, "chinchilla"):
        assert check_laws(small_study({**DESIGN, "plan.prior": value})).plan.prior == value
