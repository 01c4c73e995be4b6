"""An id means one experiment for ever: what changes the outcome changes it, and nothing else."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.plan import plan as plan_module
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from hand_computed import (
    FILE,
    SMALL,
    SPEC_OF_400,
    changed,
    dataset_meta,
    measures,
    planned,
)

LATER = ("warmup_steps", "decay_fraction", "decay_shape")
"""Fields of a spec that are absent where they are not used."""

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent


def ids(changes: dict | None = None, **meta) -> set[str]:
    return {row.id for row in planned(changes, **meta).experiments}


def test_an_id_is_the_hash_of_all_that_changes_the_outcome():
    """Whoever adds a field here has every experiment of every study trained anew: mean it."""
    plan = planned()
    row = plan.experiments[-1]
    assert plan.specs[row.id].to_json() == SPEC_OF_400
    text = json.dumps(SPEC_OF_400, sort_keys=True, separators=(",", ":"))
    assert row.id == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert re.fullmatch("[0-9a-f]{12}", row.id)  # what the workflow's wildcard matches


@pytest.mark.parametrize(
    "changes",
    [
        {"model.target": "mine:Other"},
        {"model.size_param": "depth"},
        {"model.kwargs": {"heads": 2}},
        {"model.version": 2},
        {"dataset.target": "mine:Other"},
        {"dataset.kwargs": {"length": 3}},
        {"dataset.version": 2},
        {"loss": "mine:other"},
        {"loss": {"target": "mine:loss", "version": 2}},
        {"plan.budgets": [6.3e6]},
        {"plan.seeds": [1]},
        {"train.batch": 20},
        {"train.lr": 0.02},
        {"train.lr_scaling.power": -1},
        {"train.lr_scaling": {"power": -1, "reference_size": 32}},
        {"train.lr_scaling": {"power": -1, "apply": "all"}},
        {"train.optimizer": "mine:optimizer"},
        {"train.optimizer": {"target": "mine:optimizer", "version": 2}},
        {"train.weight_decay": 0.2},
        {"train.warmup_fraction": 0.2},
        {"train.grad_clip": 2},
        {"train.grad_clip": None},
        {"train.warmup_steps": 5},
        {"train.schedule": "constant"},
        {"train.schedule": "wsd"},
        {"train.final_lr_fraction": 0.2},
        {"train.precision": "bf16"},
        {"train.eval_units": 100},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_whatever_changes_the_outcome_changes_every_id(changes):
    changes = {"plan.min_steps": 1, **changes}
    assert len(ids(changes)) == 4
    assert ids(changes).isdisjoint(ids({"plan.min_steps": 1}))


def test_an_optimizer_of_another_version_is_another_optimizer():
    one, two = ({"target": "mine:optimizer", "version": version} for version in (1, 2))
    assert ids({"train.optimizer": one}).isdisjoint(ids({"train.optimizer": two}))
    assert ids({"train.optimizer": one}) == ids({"train.optimizer": "mine:optimizer"})


@pytest.mark.parametrize("meta", [{"content_fingerprint": "f" * 12}, {"units_per_sample": 10}])
def test_other_data_give_other_ids(meta):
    assert ids(**meta).isdisjoint(ids())


def test_another_recipe_gives_other_ids(monkeypatch):
    before = ids()
    monkeypatch.setattr(plan_module, "RECIPE_VERSION", plan_module.RECIPE_VERSION + 1)
    assert ids().isdisjoint(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "renamed"},
        {"plan.budgets": ["6.0e+6"]},
        {"plan.budgets": [6.00001e6]},  # the same whole number of steps
        {"plan.sizes_per_budget": 9},
        {"plan.min_steps": 1},
        {"plan.tokens_per_param": [1, 1000]},
        {"plan.flops": "6ND"},  # here the same number
        {"model.sizes": ["4e2", 200.0, 100, "50"]},
        {"model.version": "1"},
        {"dataset.kwargs": {}},
        {"loss": {"target": "mine:loss"}},
        {"train.batch": {"6e6": "10"}},
        {"train.lr": {6e6: ["1e-2"]}},
        {"train.lr_scaling": {"power": 0, "reference_size": "1", "apply": "matrices"}},
        {"train.precision": False},
        {"train.warmup_steps": None},
        {"train.decay_fraction": 0.5, "train.decay_shape": "1-sqrt"},  # of another schedule
        {"train.processes": 2},
        {"train.compile": True},
        {"train.accelerate_config": str(ACCELERATE_CONFIG)},
        {"train.checkpoint_minutes": 1e-3},
        {"train.find_unused_parameters": True},
        {"train.checkpoint_minutes": None},
        {"train.keep_checkpoint": True},
        {"fit.params": "total", "fit.exclude": ["x"], "predict.budgets": [1e12]},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_whatever_changes_nothing_keeps_every_id(changes):
    assert ids(changes) == ids()


def test_what_prepare_counted_keeps_every_id():
    assert ids(unit="image", units_train=7) == ids()


@pytest.mark.parametrize(
    "changes",
    [
        {"train.eval_units": 1_000},
        {"train.eval_units": 1_000_000},
        {"train.lr_scaling": {"power": 0, "reference_size": 7, "apply": "all"}},
        {"train.lr_scaling": {"power": -1, "reference_size": 7, "apply": "none"}},
    ],
)  # fmt: skip
def test_what_cannot_change_the_outcome_keeps_every_id(changes):
    """The validation split holds 1000 units; a scaling with power 0, or of nothing, is none."""
    assert ids(changes) == ids()


def test_a_constant_schedule_has_no_final_learning_rate():
    constant = {"train.schedule": "constant"}
    assert ids({**constant, "train.final_lr_fraction": 0.3}) == ids(constant) != ids()


def test_a_decay_is_part_of_the_ids_where_there_is_one():
    wsd = {"train.schedule": "wsd", "train.warmup_fraction": 0.0}
    others = ({"train.decay_fraction": 0.3}, {"train.decay_shape": "1-sqrt"},
              {"train.final_lr_fraction": 0.0}, {"train.warmup_steps": 5})  # fmt: skip
    for changes in others:
        assert ids({**wsd, **changes}).isdisjoint(ids(wsd))
    # A warm-up in steps leaves its fraction no effect
    steps = {**wsd, "train.warmup_steps": 5}
    assert ids({**steps, "train.warmup_fraction": 0.7}) == ids(steps)


def test_fields_of_other_schedules_are_absent():
    plan = planned({"train.schedule": "wsd", "train.warmup_steps": 5})
    wsd = plan.specs[plan.experiments[-1].id].to_json()
    added = {"warmup_steps": 5, "decay_fraction": 0.2, "decay_shape": "linear"}
    assert wsd == {**SPEC_OF_400, "schedule": "wsd", "warmup_fraction": 0.0, **added}
    assert set(added) == set(LATER)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan.budgets": [3e6, 6e6, 12e6]},
        {"plan.seeds": [5, 0]},
        {"train.lr": [0.001, 0.01, 0.1]},
    ],
)  # fmt: skip
def test_more_experiments_rename_none(changes):
    """An extension of a sweep trains what is new and nothing else."""
    assert ids() < ids(changes)


def test_ids_do_not_depend_on_the_process_or_on_the_order_of_keys():
    code = """
import json, sys
from hand_computed import dataset_meta, measures
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study

study = Study.from_config(json.loads(sys.argv[1]), "elsewhere/other.yaml")
print(" ".join(row.id for row in make_plan(study, measures(study), dataset_meta()).experiments))
"""
    config = changed(SMALL, {"model.kwargs": {"a": 1, "b": {"c": 2, "d": 3}}})
    study = Study.from_config(config, FILE)
    plan = make_plan(study, measures(study), dataset_meta())
    expected = [row.id for row in plan.experiments]

    def backwards(node):
        if isinstance(node, dict):
            return {key: backwards(value) for key, value in reversed(node.items())}
        return node

    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(backwards(config))],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": f"{WORKFLOW}{os.pathsep}{Path(__file__).parents[2]}",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == expected


def test_the_trainer_reads_every_field_of_a_spec():
    """A field that is hashed and then ignored would retrain for nothing.

    All but the recipe, which is the trainer itself, and the versions, which exist to be changed.
    """
    read = set()
    for room in ("user_code", "train"):
        for file in (WORKFLOW / "flops_fit" / room).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and re.search(
                    r"\bspec\.\w+$", ast.unparse(node)
                ):
                    read.add(node.attr)
    assert "steps" in read  # D in steps of the batch
    assert read - {"to_json", "steps", "warmup", "decay_start", "trunk"} | {"D"} == {
        *SPEC_OF_400,
        *LATER,
    } - {"recipe"}
