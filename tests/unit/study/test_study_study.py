"""The typed study: every key of the schema ends up in it, and its folder belongs to one file."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from pathlib import Path

import flops_fit
import pytest
from flops_fit.errors import UserError
from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.schema import study_schema, walk_keys
from flops_fit.study.settings import FitSettings
from flops_fit.study.simulate_settings import SimulateSettings
from flops_fit.study.study import ModelFamily, Study, Target
from flops_fit.study.train_settings import LrScaling, TrainSettings
from hand_computed import FILE, FULL, SMALL, changed, small_study

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent
RANGE = {"model.sizes": {"min": 8, "max": 128, "count": 5, "multiple_of": 8}}
IMPORTED = {"study": "own", "runs_table": "runs.csv", "predict": {"budgets": ["1e24", 5]}}
LOSS = {"loss": {"target": "mine:loss"}}
RULE = {"base": 0.5, "power_n": -0.5, "power_d": 0.25, "reference": {"n": 100, "d": 1e4}}
RULES = {"train.batch": RULE, "train.lr": RULE}
OPTIMIZER = {"train.optimizer": {"target": "mine:optimizer"}}

DESIGN = {"plan.target": 1e10, "plan.spend": 1e8}
LAW = {**DESIGN, "plan.truth": {"E": 1, "A": 2, "B": 3, "alpha": 0.3, "beta": 0.4}}
ON_A_GPU = {"plan.hardware": {"gpu": "h100", "mfu": 0.4}, "train.precision": "bf16"}

# For every leaf of the schema: what else the study holds, and two values that must differ in it.
OTHER_VALUES = {
    "study": ({}, "small", "other"),
    "model.target": ({}, "mine:Model", "mine:Other"),
    "model.size_param": ({}, "width", "depth"),
    "model.sizes": ({}, [50, 100, 200], [50, 100, 201]),
    "model.sizes.min": (RANGE, 8, 16),
    "model.sizes.max": (RANGE, 128, 256),
    "model.sizes.count": (RANGE, 5, 4),
    "model.sizes.multiple_of": (RANGE, 8, 5),
    "model.kwargs": ({}, {"heads": 1}, {"heads": 2}),
    "model.version": ({}, 1, 2),
    "dataset.target": ({}, "mine:Data", "mine:Other"),
    "dataset.kwargs": ({}, {}, {"length": 2}),
    "dataset.version": ({}, 1, "2b"),
    "loss": ({}, "mine:loss", "mine:other"),
    "loss.target": (LOSS, "mine:loss", "mine:other"),
    "loss.version": (LOSS, 1, 2),
    "plan.budgets": ({}, [6e6], [6e6, 7e6]),
    "plan.target": (DESIGN, 1e10, 2e10),
    "plan.spend": (DESIGN, 1e8, 2e8),
    "plan.precision": ({"plan.target": 1e10}, 1.2, 1.1),
    "plan.experiments": (
        {"plan.budgets": None},
        [{"size": 200, "D": 5000}],
        [{"size": 200, "D": 5000, "seed": 1}],
    ),
    "plan.prior": (DESIGN, 20, "chinchilla"),
    "plan.truth": (DESIGN, None, "chinchilla"),
    "plan.truth.E": (LAW, 1, 1.5),
    "plan.truth.A": (LAW, 2, 3),
    "plan.truth.B": (LAW, 3, 4),
    "plan.truth.alpha": (LAW, 0.3, 0.4),
    "plan.truth.beta": (LAW, 0.3, 0.4),
    "plan.truth.noise": (LAW, 0.01, 0.02),
    "plan.max_epochs": ({}, 4, 1),
    "simulate.studies": ({}, 200, 20),
    "simulate.seed": ({}, 0, 1),
    "simulate.spends": (DESIGN, [], [1e7, 1e8]),
    "plan.trunks": ({"train.schedule": "wsd", "train.warmup_steps": 9}, False, True),
    "plan.sizes_per_budget": ({}, 5, 4),
    "plan.tokens_per_param": ({}, [3, 450], [3, 451]),
    "plan.min_steps": ({}, 100, 99),
    "plan.lr_pilot": ({}, False, True),
    "plan.flops": ({}, "measured", "6ND"),
    "plan.seeds": ({}, [0], [0, 1]),
    "plan.hardware": ({}, None, {"flops_per_second": 1e12}),
    "plan.hardware.flops_per_second": ({}, 1e12, 2e12),
    "plan.hardware.gpu": (ON_A_GPU, "h100", "a100"),
    "plan.hardware.mfu": (ON_A_GPU, 0.4, 0.5),
    "plan.price_per_gpu_hour": ({}, None, 2.5),
    "train.batch": ({}, 10, 20),
    "train.lr": ({}, 0.01, [0.01, 0.02]),
    **{
        f"train.{name}.{key}": (RULES, one, other)
        for name in ("batch", "lr")
        for key, one, other in (
            ("base", 1, 2),
            ("power_n", 0, -1),
            ("power_d", 0, 1),
            ("reference.n", 1, 2),
            ("reference.d", 1, 2),
        )
    },
    "train.lr_scaling.power": ({}, 0, -1),
    "train.lr_scaling.reference_size": ({}, 1, 32),
    "train.lr_scaling.apply": ({}, "matrices", "all"),
    "train.optimizer": ({}, "adamw", "mine:optimizer"),
    "train.optimizer.target": (OPTIMIZER, "mine:optimizer", "mine:other"),
    "train.optimizer.version": (OPTIMIZER, 1, 2),
    "train.weight_decay": ({}, 0.1, 0),
    "train.warmup_fraction": ({}, 0.1, 0),
    "train.grad_clip": ({}, 1.0, None),
    "train.warmup_steps": ({}, None, 10),
    "train.schedule": ({}, "cosine", "constant"),
    "train.decay_fraction": ({"train.schedule": "wsd"}, 0.2, 0.3),
    "train.decay_shape": ({"train.schedule": "wsd"}, "linear", "1-sqrt"),
    "train.final_lr_fraction": ({}, 0.1, 0.2),
    "train.precision": ({}, "no", "float64"),
    "train.processes": ({}, 1, 2),
    "train.compile": ({}, False, True),
    "train.find_unused_parameters": ({}, False, True),
    "train.accelerate_config": ({}, None, str(ACCELERATE_CONFIG)),
    "train.checkpoint_minutes": ({}, 10, None),
    "train.keep_checkpoint": ({}, False, True),
    "train.eval_units": ({}, 200_000, 100),
    "fit.params": ({}, "non_embedding", "total"),
    "fit.approaches": ({}, ["2"], ["2", "3"]),
    "fit.bootstrap": ({}, 1000, 200),
    "fit.ci": ({}, 0.95, 0.9),
    "fit.seed": ({}, 0, 1),
    "fit.stratify": ({}, True, False),
    "fit.holdout_budgets": ({}, 1, 2),
    "fit.tie_exponents": ({}, False, True),
    "fit.E": ({}, None, 1.5),
    "fit.noise": ({}, "constant", "by_compute"),
    "fit.exclude": ({}, [], ["0123456789ab"]),
    "fit.allow_mixed_code": ({}, False, True),
    "predict.budgets": ({}, [], [1e12]),
}


def typed(study: Study) -> dict:
    """All of a study but its plain form."""
    values = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    return {name: value for name, value in values.items() if name != "config"}


def refusal(changes: dict) -> str:
    with pytest.raises(UserError) as caught:
        small_study(changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_above_covers_every_key():
    keys = {key for key, node in walk_keys(study_schema()) if node["unit"] != "section"}
    # A study with a runs_table is another kind of study, with tests of its own.
    assert {key for key in keys if not key.startswith("runs_table")} == set(OTHER_VALUES)


@pytest.mark.parametrize("key", sorted(OTHER_VALUES))
def test_every_key_of_a_study_changes_what_is_read(key):
    rest, one, other = OTHER_VALUES[key]
    first, again, second = (
        typed(small_study({**rest, key: value})) for value in (one, one, other)
    )  # fmt: skip
    assert first == again
    assert first != second


def test_the_approaches_are_read():
    known = next(node for key, node in walk_keys(study_schema()) if key == "fit.approaches")
    for approach in known["items"]["enum"]:
        assert small_study({"fit.approaches": [approach]}).fit.approaches == (approach,)


@pytest.mark.parametrize(
    "settings",
    [ModelFamily, PlanSettings, TrainSettings, LrScaling, SimulateSettings, FitSettings, Target],
)
def test_every_setting_is_used_outside_of_this_module(settings):
    """A key that is read into a study and then forgotten would be a promise that nobody keeps."""
    used = set()
    for file in WORKFLOW.rglob("*.py"):
        if file.parent.name != "study" or (file.name == "study.py" and settings is TrainSettings):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = getattr(settings, "model_fields", None) or settings.__dataclass_fields__
    assert set(names) - used <= {"price_per_gpu_hour"}


def test_what_a_full_study_says():
    study = Study.from_config(FULL, "my.yaml")
    assert study.model == ModelFamily(
        target=Target(path="mine:OtherModel", kwargs={"heads": 2}, version=7),
        size_param="depth",
        sizes=(10, 30, 90),
    )
    assert study.dataset == Target(path="mine:OtherData", kwargs={"length": 9}, version="second")
    assert study.loss == Target(path="mine:other_loss", kwargs={}, version=3)
    assert study.plan == PlanSettings(
        budgets=(1e7, 2e7), sizes_per_budget=4, tokens_per_param=(1, 100), min_steps=10,
        flops="6ND", seeds=(3, 4),
    )  # fmt: skip
    assert [study.train.batch.at(budget, 1, 1) for budget in study.plan.budgets] == [20, 40]
    assert [study.train.lr.at(budget, 1, 1) for budget in study.plan.budgets] == [
        (0.1, 0.2),
        (0.3,),
    ]
    assert study.optimizer == Target(path="mine:optimizer", kwargs={}, version=5)
    assert [study.processes_for(n_params) for n_params in (1, 1049, 1050)] == [1, 1, 2]
    assert study.accelerate_config == str(ACCELERATE_CONFIG)
    assert not study.sharded
    assert study.train.lr_scaling == LrScaling(power=-1, reference_size=32, apply="all")
    scalars = {key: value for key, value in FULL["train"].items() if not hasattr(value, "__len__")}
    assert len(scalars) == 11
    assert {key: getattr(study.train, key) for key in scalars} == scalars
    assert (study.train.schedule, study.train.precision) == ("constant", "bf16")
    assert study.fit == FitSettings(
        params="total",
        approaches=("2",),
        bootstrap=200,
        ci=0.9,
        seed=5,
        stratify=False,
        holdout_budgets=2,
        tie_exponents=True,
        E=1.5,
        noise="by_compute",
        exclude=("abc",),
        allow_mixed_code=True,
    )
    assert study.predict_budgets == (1e9,)
    assert study.folder == Path()


def test_one_number_holds_for_every_budget():
    study = small_study({"plan.budgets": [2e6, 1e6], "train.lr": [0.2, 0.1]})
    assert study.plan.budgets == (1e6, 2e6)
    for budget in (1e6, 2e6):
        assert study.train.batch.at(budget, 1, 1) == 10
        assert study.train.lr.at(budget, 1, 1) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (3, {1: 3, 10**12: 3}),
        ([{"from_params": 0, "processes": 2}], {1: 2, 10**12: 2}),
        (
            [{"from_params": 0, "processes": 1}, {"from_params": "1e3", "processes": "4"},
             {"from_params": 1e6, "processes": 2}],
            {1: 1, 999: 1, 1000: 4, 999_999: 4, 10**6: 2, 10**12: 2},
        ),
    ],
)  # fmt: skip
def test_processes_follow_the_number_of_parameters(processes, expected):
    study = small_study({"train.processes": processes})
    assert {n: study.processes_for(n) for n in expected} == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([200, 50, 100.0, 12.5], (12.5, 50, 100, 200)),
        # ratios of 2, all multiples of 8
        (RANGE["model.sizes"], (8, 16, 32, 64, 128)),
        # 10, 31.6, 100, 316.2, 1000 in tens
        ({"min": 10, "max": 1000, "count": 5, "multiple_of": 10}, (10, 30, 100, 320, 1000)),
        # 1, 1.41, 2, 2.83, 4 as whole numbers: 1 stands twice
        ({"min": 1, "max": 4, "count": 5}, (1, 2, 3, 4)),
        ({"min": 1, "max": 4, "count": 3, "multiple_of": 0.5}, (1, 2, 4)),
    ],
)
def test_sizes_of_lists_and_ranges(sizes, expected):
    found = small_study({"model.sizes": sizes}).model.sizes
    assert found == expected
    # A model that takes a width of 64 takes no 64.0.
    assert [type(size) for size in found] == [type(size) for size in expected]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"plan.budgets": [6e6, "6e6"]}, "plan.budgets: found 6e+06 twice, expected different"),
        ({"model.sizes": [1, 2, 2.0]}, "model.sizes: found 2 twice, expected different"),
        ({"train.lr": [0.1, 0.1]}, "train.lr: found 0.1 twice, expected different"),
        ({"train.lr": {6e6: [1, 1]}}, "train.lr.6000000.0: found 1 twice, expected different"),
        ({"predict.budgets": [1e9, 1e9]}, "predict.budgets: found 1e+09 twice"),
        (
            {"plan.tokens_per_param": [450, 3]},
            "plan.tokens_per_param: found [450, 3], expected the smaller number first",
        ),
        ({"plan.tokens_per_param": [3, 3]}, "plan.tokens_per_param: found [3, 3], expected"),
        (
            {"train.batch": {5e6: 10}},
            "train.batch: has no entry for the budget 6e+06, expected one number for all",
        ),
        (
            {"train.processes": [{"from_params": 5, "processes": 1}]},
            "train.processes: found from_params [5.0], expected 0 first and then ascending",
        ),
        (
            {"train.processes": [{"from_params": n, "processes": 1} for n in (0, 9, 9)]},
            "train.processes: found from_params [0.0, 9.0, 9.0], expected 0 first and then",
        ),
        (
            {"train.processes": [{"processes": 1}]},
            "train.processes[0].from_params: is missing, expected a number at least 0",
        ),
        ({"train.lr": {"six": 0.1}}, "train.lr: found the key 'six', expected a budget in FLOPs"),
        (
            {"model.sizes": {"min": 9, "max": 3, "count": 3}},
            "model.sizes: found min 9 and max 3, expected min below max",
        ),
        (
            {"model.sizes": {"min": 1, "max": 2, "count": 9}},
            "model.sizes: the range gives the sizes [1.0, 2.0] only, expected at least 3; widen",
        ),
        (
            {"train.optimizer": "mine:optimizer", "train.lr_scaling": {"power": -1}},
            "train.lr_scaling.apply: found matrices with the optimizer 'mine:optimizer', expected "
            "all or none",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, sentence):
    assert refusal(changes).startswith(f"{FILE}: {sentence}")


def test_a_study_survives_its_file(tmp_path):
    study = Study.from_config(FULL, "my.yaml")
    file = tmp_path / "study.json"
    file.write_text(study.to_json(), encoding="utf-8")
    assert Study.load(file) == study
    assert Study.load(file).to_json() == study.to_json()


@pytest.mark.parametrize(
    ("config", "digest"),
    [(SMALL, "7bd10cd4d0e8"), (FULL, "46fe4797b1a5"), (IMPORTED, "93c401495315")],
)
def test_the_text_of_a_study_is_the_one_that_lies_in_results(config, digest):
    """What is written once must never be spelled otherwise: the plan is made again where it is."""
    if "train" in config:
        config = changed(
            config,
            {
                "train.accelerate_config": None,
                "train.warmup_steps": None,
                "train.decay_fraction": 0.2,
                "train.decay_shape": "linear",
                "fit.E": None,
                "fit.noise": "constant",
            },
        )
    text = Study.from_config(config, FILE).to_json()
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == digest


def test_the_text_of_a_study_knows_no_order():
    backwards = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(FULL.items())
    }
    assert list(backwards) != list(FULL)
    assert Study.from_config(backwards, FILE).to_json() == Study.from_config(FULL, FILE).to_json()


def test_the_prepared_data_depend_on_nothing_but_the_dataset():
    first = small_study().data_fingerprint
    others = {"study": "x", "plan.budgets": [1e9], "model.version": 9, "train.eval_units": 7}
    assert small_study(others).data_fingerprint == first
    for key in ("dataset.target", "dataset.kwargs", "dataset.version"):
        assert small_study({key: OTHER_VALUES[key][2]}).data_fingerprint != first


def test_the_small_study_of_these_tests_is_valid():
    assert json.loads(Study.from_config(changed(SMALL, {}), FILE).to_json())["config_file"] == FILE
