"""What a learning-rate pilot decided reaches the plan of its own recipe, and of no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.pipeline.lr_pilot import (
    FOLDER,
    in_pilot,
    is_decided,
    plan_pilot_again_if_lost,
    with_tuned_rates,
)
from flops_fit.plan.lr_pilot import pilot_key, tuned_note
from flops_fit.plan.plan import make_plan
from hand_computed import FILE, dataset_meta, measures, small_study

PILOT = {"plan.lr_pilot": True}
RULE = {"base": 2.0, "power_n": -0.5, "power_d": 0.0, "n": 100.0, "d": 1e4}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A study's folder with the decision of the small study's pilot."""
    (tmp_path / FOLDER).mkdir()
    key = pilot_key(small_study(PILOT), dataset_meta())
    content = {"key": key, "waves": [[], []], "decision": {"rule": RULE}}
    (tmp_path / FOLDER / "decision.json").write_text(json.dumps(content))
    meta = {name: getattr(dataset_meta(), name) for name in dataset_meta().__dataclass_fields__}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def test_the_rates_of_a_plan_are_those_of_its_pilot(folder):
    """0.01 * 2 * (N / 100)^-0.5, whatever the order of reading."""
    study = with_tuned_rates(small_study(PILOT), dataset_meta(), folder)
    rows = make_plan(study, measures(study), dataset_meta()).experiments
    assert [(row.size, row.lr) for row in rows] == [
        (50, 0.0282843), (100, 0.02), (200, 0.0141421), (400, 0.01),
    ]  # fmt: skip
    assert study.to_json() == small_study(PILOT).to_json()
    assert tuned_note(study) == (
        "\nLearning rates by the pilot (lr_pilot/decision.md): train.lr * 2 * (N / 100)^-0.5\n"
    )


def test_a_study_without_a_pilot_is_left_alone(folder):
    study = small_study()
    assert with_tuned_rates(study, dataset_meta(), folder) is study
    assert tuned_note(study) == ""


@pytest.mark.parametrize("changes", [{"train.lr": 0.02}, {"model.version": 2}])
def test_the_decision_of_another_recipe_is_not_used(folder, changes):
    study = small_study({**PILOT, **changes})
    with pytest.raises(UserError) as caught:
        with_tuned_rates(study, dataset_meta(), folder)
    assert str(caught.value) == (
        f"{folder / FOLDER / 'decision.json'}: holds no decision for the present recipe of {FILE}, "
        "expected that of a finished learning-rate pilot (plan.lr_pilot); run snakemake again"
    )
    assert not is_decided(study, folder, folder / "meta.json")


def test_whether_a_pilot_has_decided(folder):
    study, meta = small_study(PILOT), folder / "meta.json"
    assert is_decided(study, folder, meta)
    assert not is_decided(study, folder, folder / "none.json")
    file = folder / FOLDER / "decision.json"
    file.write_text(file.read_text().replace('{"rule"', '[{"rule"'))
    assert not is_decided(study, folder, meta)
    file.unlink()
    assert not is_decided(study, folder, meta)


def test_a_study_is_in_its_pilot_until_that_decides(tmp_path):
    assert not in_pilot(tmp_path)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "plan.csv").touch()
    assert in_pilot(tmp_path)
    (tmp_path / FOLDER / "decision.md").touch()
    assert not in_pilot(tmp_path)


@pytest.mark.parametrize("lost", ["decision.json", "plan.csv", "specs.json"])
def test_a_pilot_is_planned_again_where_a_file_of_it_is_gone(folder, lost):
    (folder / FOLDER / "waves").mkdir()
    tables = [folder / FOLDER / "waves" / f"{number}.csv" for number in range(2)]
    for file in (*tables, folder / FOLDER / "plan.csv", folder / FOLDER / "specs.json"):
        file.touch()
    plan_pilot_again_if_lost(folder)
    assert all(table.exists() for table in tables)
    (folder / FOLDER / lost).unlink()
    plan_pilot_again_if_lost(folder)
    assert not any(table.exists() for table in tables)


def test_a_pilot_of_single_experiments_is_refused():
    changes = {"plan.experiments": [{"size": 100, "D": 1000}], "plan.budgets": None}
    with pytest.raises(UserError) as caught:
        small_study({**PILOT, **changes})
    assert "plan.lr_pilot: found beside plan.experiments, expected a grid or a design" in str(
        caught.value
    )
