"""A sentence for every mistake: file, key, what was found, what is expected."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping

import pytest
from flops_fit.errors import UserError
from flops_fit.study.configuration import check_configuration
from hand_computed import SMALL, changed, without

BUDGETS_WANTED = "a list of positive numbers"
PATH_WANTED = "an import path 'package.module:name'"
DECAY_WANTED = "a number at least 0 (1 / learning rate)"
RULE_WANTED = "a rule: {base:, power_n:, power_d:, reference:}, step_law or deepseek"
BATCH_WANTED = f"a whole number of units, a map budget -> number, or {RULE_WANTED}"
LR_WANTED = (
    f"a positive number, a list of them (a grid), a map budget -> number or list, or {RULE_WANTED}"
)


def refusal(config: Mapping) -> str:
    with pytest.raises(UserError) as caught:
        check_configuration(config, "my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "found", "expected"),
    [
        # wrong type
        ("plan.min_steps", "abc", "'abc'", "a whole number at least 1 (optimizer steps)"),
        ("plan.min_steps", 10.5, "10.5", "a whole number at least 1 (optimizer steps)"),
        ("plan.min_steps", [10], "[10]", "a whole number at least 1 (optimizer steps)"),
        ("plan.min_steps", None, "None", "a whole number at least 1 (optimizer steps)"),
        ("plan.budgets", 1e12, "1000000000000.0", BUDGETS_WANTED),
        ("plan", 3, "3", "a section of keys"),
        ("model.kwargs", None, "None", "a section of keys (keyword arguments)"),
        ("model.target", 3, "3", PATH_WANTED),
        ("model.target", "module.name", "'module.name'", PATH_WANTED),
        ("model.target", "my module:name", "'my module:name'", PATH_WANTED),
        ("model.target", "module:name\n", r"'module:name\n'", PATH_WANTED),
        ("loss", 3, "3", "an import path 'package.module:name', or {target:, version:}"),
        ("model.version", [1], "[1]", "a whole number or text (version)"),
        # true and false are no numbers, though Python counts with them
        ("plan.min_steps", True, "True", "a whole number at least 1 (optimizer steps)"),
        ("train.weight_decay", True, "True", DECAY_WANTED),
        ("train.batch", True, "True", BATCH_WANTED),
        ("train.lr", False, "False", LR_WANTED),
        ("model.version", True, "True", "a whole number or text (version)"),
        # numbers are no choices
        ("fit.allow_mixed_code", 1, "1", "true or false"),
        ("fit.allow_mixed_code", "maybe", "'maybe'", "true or false"),
        ("plan.flops", "guessed", "'guessed'", "one of measured, 6ND"),
        ("train.precision", True, "True", "one of no, bf16, fp16, float64"),
        # out of range
        ("plan.min_steps", 0, "0", "a whole number at least 1 (optimizer steps)"),
        ("plan.sizes_per_budget", 2, "2", "a whole number at least 3 (sizes)"),
        ("plan.tokens_per_param", [3], "[3]", "a pair [smallest, largest] of positive numbers"),
        ("plan.budgets", [], "[]", BUDGETS_WANTED),
        ("plan.seeds", [1, 1], "[1, 1]", "a list of different whole numbers"),
        ("train.lr", 0, "0.0", LR_WANTED),
        ("train.lr", -0.1, "-0.1", LR_WANTED),
        ("train.lr", [], "[]", LR_WANTED),
        ("train.lr", {}, "{}", LR_WANTED),
        ("train.batch", 0, "0", BATCH_WANTED),
        ("train.batch", 512.5, "512.5", BATCH_WANTED),
        ("train.grad_clip", 0, "0.0", "a number above 0, or null (gradient norm)"),
        ("train.warmup_fraction", 1, "1.0", "a number at least 0 and below 1 (share of the steps)"),
        (
            "train.final_lr_fraction",
            1.5,
            "1.5",
            "a number at least 0 and at most 1 (share of lr)",
        ),
        ("train.warmup_steps", 0, "0", "a whole number at least 1, or null (optimizer steps)"),
        # no numbers, though float() reads them
        ("train.lr", "nan", "'nan'", LR_WANTED),
        ("train.lr", "inf", "'inf'", LR_WANTED),
        ("train.lr", "1e999", "'1e999'", LR_WANTED),
        ("train.weight_decay", "-Infinity", "'-Infinity'", DECAY_WANTED),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_sentence(key, value, found, expected):
    message = refusal(changed(SMALL, {key: value}))
    assert message == f"my.yaml: {key}: found {found}, expected {expected}"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("plan.budgets", [1e9, "abc"], "plan.budgets[1]: found 'abc', expected a number above 0"),
        ("plan.seeds", [0, -1], "plan.seeds[1]: found -1, expected a whole number at least 0"),
        (
            "plan.seeds",
            [2**31],  # the generators of numpy and torch take no more than 32 bits
            "plan.seeds[0]: found 2147483648, expected a whole number at least 0 and at most 21",
        ),
        ("plan.seeds", [0.5], "plan.seeds[0]: found 0.5, expected a whole number at least 0"),
        (
            "train.batch",
            {6e6: "abc"},
            "train.batch.6000000.0: found 'abc', expected a whole number at least 1",
        ),
    ],
)
def test_a_wrong_item_is_named_by_its_place(key, value, sentence):
    message = refusal(changed(SMALL, {key: value}))
    assert message.startswith(f"my.yaml: {sentence}")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a b", "a\n", "a\nb", "é", "data", "-a", 7])
def test_a_study_name_that_is_no_folder_name_is_refused(name):
    message = refusal(changed(SMALL, {"study": name}))
    assert message.startswith(f"my.yaml: study: found {name!r}, expected a name of letters")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["a", "7", "A.b-c_d", "data2"])
def test_a_study_name_that_is_a_folder_name_is_accepted(name):
    assert check_configuration(changed(SMALL, {"study": name}), "my.yaml").study == name


@pytest.mark.parametrize(
    "key",
    ["study", "model", "dataset", "loss", "plan", "train", "model.target", "model.size_param",
     "model.sizes", "dataset.target", "plan.budgets", "train.batch", "train.lr"],
)  # fmt: skip
def test_a_missing_key_is_named_with_what_it_should_hold(key):
    message = refusal(without(SMALL, key))
    assert message.startswith(f"my.yaml: {key}: is missing, expected ")
    assert not message.endswith("expected ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "message"),
    [
        # a slip of the pen
        ("model.size", "model.size: unknown key; did you mean 'sizes'?"),
        ("train.batchs", "train.batchs: unknown key; did you mean 'batch'?"),
        ("plan.min_step", "plan.min_step: unknown key; did you mean 'min_steps'?"),
        ("trian", "trian: unknown key; did you mean 'train'?"),
        # the right name in the wrong place
        ("lr", "lr: unknown key here; did you mean 'train.lr'?"),
        (
            "precision",
            "precision: unknown key here; did you mean 'plan.precision' or 'train.precision'?",
        ),
        ("plan.sizes", "plan.sizes: unknown key here; did you mean 'model.sizes'?"),
        ("plan.processes", "plan.processes: unknown key here; did you mean 'train.processes'?"),
        ("train.seeds", "train.seeds: unknown key here; did you mean 'plan.seeds'?"),
        ("model.power", "model.power: unknown key here; did you mean 'train.lr_scaling.power'?"),
        # both
        ("weight_decays", "weight_decays: unknown key; did you mean 'train.weight_decay'?"),
        # nothing near
        (
            "xyz",
            "xyz: unknown key; known keys here are study, runs_table, model, dataset, loss, plan, "
            "train, simulate, fit, predict",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(key, message):
    assert refusal(changed(SMALL, {key: 1})) == f"my.yaml: {message}"


def test_every_mistake_has_its_own_line():
    message = refusal(changed(without(SMALL, "loss"), {"plan.min_steps": 0, "train.batchs": 1}))
    assert sorted(line.split(": ")[1] for line in message.splitlines()) == [
        "loss",
        "plan.min_steps",
        "train.batchs",
    ]


@pytest.mark.parametrize("config", [None, [], "text", 3])
def test_a_file_that_holds_no_keys_is_refused(config):
    assert refusal(config) == f"my.yaml: found {config!r}, expected the keys of a study"


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("plan.budgets", [1e9, math.inf], "plan.budgets[1]: found inf"),
        ("plan.budgets", [math.nan], "plan.budgets[0]: found nan"),
        ("train.lr", math.nan, "train.lr: found nan"),
        ("train.lr", {6e6: [0.1, math.inf]}, "train.lr.6000000.0[1]: found inf"),
        ("train.warmup_fraction", math.nan, "train.warmup_fraction: found nan"),
        ("train.lr_scaling.power", -math.inf, "train.lr_scaling.power: found -inf"),
        ("model.kwargs", {"dropout": math.nan}, "model.kwargs.dropout: found nan"),
        ("dataset.kwargs", {"a": [{"b": math.inf}]}, "dataset.kwargs.a[0].b: found inf"),
        # YAML reads whole numbers of any length; a float cannot hold these
        pytest.param("train.weight_decay", 10**400, "train.weight_decay: found 1000", id="float"),
        pytest.param("train.batch", 10**400, "train.batch: found 1000", id="whole"),
        pytest.param("predict.budgets", [10**400], "predict.budgets[0]: found 1000", id="item"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(key, value, place):
    """YAML writes .nan and .inf; every comparison with nan is false, so no range catches it."""
    message = refusal(changed(SMALL, {key: value}))
    assert message.startswith(f"my.yaml: {place}")
    assert ", expected a" in message
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize("value", [datetime.date(2024, 1, 2), b"\x00", {1, 2}])
def test_a_keyword_argument_that_no_id_can_hold_is_refused(value):
    """YAML has dates, sets and bytes; JSON, which ids are derived from, has not."""
    message = refusal(changed(SMALL, {"dataset.kwargs": {"since": value}}))
    assert message == (
        f"my.yaml: dataset.kwargs.since: found {value!r}, "
        "expected text, a number, true or false, null, a list or a section of keys"
    )


def test_two_spellings_of_one_budget_are_refused():
    message = refusal(changed(SMALL, {"train.batch": {6e6: 10, "6000000": 20}}))
    assert message == (
        "my.yaml: train.batch: found one budget twice, as 6000000.0 and '6000000', expected each "
        "budget once"
    )
