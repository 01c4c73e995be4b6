"""The closed schema: numbers as text, defaults, and a sentence for every mistake."""

from __future__ import annotations

import copy
import datetime
import json
import math
from collections.abc import Mapping

import jsonschema
import pytest
import yaml
from flops_fit.errors import UserError
from flops_fit.study.configuration import as_number, check_configuration, load_schema, walk_keys
from hand_computed import FULL, SMALL, at, changed, without

SCHEMA = load_schema()
KEYS = dict(walk_keys(SCHEMA))
LEAVES = {key: node for key, node in KEYS.items() if node["unit"] != "section"}
# Keys that exist in one spelling of a study only: `loss: path` has no `loss.version`.
# A study with a runs_table is another kind of study, with tests of its own.
TABLE_KEYS = tuple(key for key in KEYS if key.startswith("runs_table"))
RANGE_KEYS = tuple(key for key in KEYS if key.startswith("model.sizes."))
LONG_FORM_KEYS = tuple(key for key in KEYS if key.startswith(("loss.", "train.optimizer.")))

BUDGETS_WANTED = "a list of positive numbers"
PATH_WANTED = "an import path 'package.module:name'"
DECAY_WANTED = "a number at least 0 (1 / learning rate)"
BATCH_WANTED = "a whole number of units, or a map budget -> number"
LR_WANTED = "a positive number, a list of them (a grid), or a map budget -> number or list"


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
        ("plan.tokens_per_param", [3], "[3.0]", "a pair [smallest, largest] of positive numbers"),
        ("plan.budgets", [], "[]", BUDGETS_WANTED),
        ("plan.seeds", [1, 1], "[1, 1]", "a list of different whole numbers"),
        ("train.lr", 0, "0.0", LR_WANTED),
        ("train.lr", -0.1, "-0.1", LR_WANTED),
        ("train.lr", [], "[]", LR_WANTED),
        ("train.lr", {}, "{}", LR_WANTED),
        ("train.batch", 0, "0", BATCH_WANTED),
        ("train.batch", 512.5, "512.5", BATCH_WANTED),
        ("train.grad_clip", 0, "0.0", "a number or null above 0 (gradient norm)"),
        ("train.warmup_fraction", 1, "1.0", "a number at least 0 below 1 (share of the steps)"),
        (
            "train.final_lr_fraction",
            1.5,
            "1.5",
            "a number at least 0 at most 1 (share of lr)",
        ),
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
            "plan.seeds[0]: found 2147483648, expected a whole number at least 0 at most 2147483",
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
    assert check_configuration(changed(SMALL, {"study": name}), "my.yaml")["study"] == name


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


def test_the_list_of_required_keys_is_complete():
    """Whatever is neither required nor has a default would be missing from a resolved study."""
    optional = set(KEYS) - {"model.sizes", *RANGE_KEYS, *LONG_FORM_KEYS, *TABLE_KEYS}
    for key in optional:
        section = SCHEMA
        for name in key.split(".")[:-1]:
            section = section["properties"][name]
        required = key.split(".")[-1] in section.get("required", [])
        assert required != ("default" in KEYS[key]), key


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
        ("precision", "precision: unknown key here; did you mean 'train.precision'?"),
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
            "train, fit, predict",
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


# Numbers as text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e12", 1e12),
        ("1.5e-3", 0.0015),
        ("12", 12),
        (" 7 ", 7),
        ("-3", -3),
        ("+4", 4),
        (".5", 0.5),
    ],
)
def test_text_that_spells_a_number_is_that_number(text, number):
    read = as_number(text)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "abc", "", "1e999", "0x10", True, None, 3])
def test_anything_else_stays_as_it_is(value):
    assert as_number(value) is value


def as_text(value: object) -> object:
    """Every number inside as text, the keys of maps as well."""
    if isinstance(value, Mapping):
        return {as_text(key): as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:e}" if isinstance(value, float) else str(value)
    return value


def resolved_text(config: Mapping) -> str:
    return json.dumps(check_configuration(config, "my.yaml"), sort_keys=True)


@pytest.mark.parametrize("config", [SMALL, FULL], ids=["small", "full"])
def test_a_study_with_all_numbers_as_text_is_the_same_study(config):
    kwargs = {f"{key}.kwargs": config[key].get("kwargs", {}) for key in ("model", "dataset")}
    text = changed(as_text(config), kwargs)  # a keyword argument may well be the text "2"
    assert text != config
    assert resolved_text(text) == resolved_text(config)


YAML = """
study: small
model: {target: "mine:Model", size_param: width, sizes: [50, 1e2, "2e2", 4.e+2], kwargs: KWARGS}
dataset: {target: "mine:Data"}
loss: mine:loss
plan: {budgets: [6e6, "7e6", 8000000, 9.0e+6], min_steps: 1e2}
train:
  batch: {6e6: 1e1, "7e6": 20, 8000000: "30", 9.0e+6: 40}
  lr: {6e6: 1e-2, "7e6": [1e-3, "2e-3"], 8000000: .5, 9.0e+6: 1}
  precision: no
  grad_clip: null
fit: {approaches: [2]}
predict: {budgets: [1e18]}
"""


def test_numbers_as_yaml_writes_and_misreads_them():
    raw = yaml.safe_load(YAML.replace("KWARGS", "{}"))
    assert raw["plan"]["budgets"][0] == "6e6"  # else this test would show nothing
    config = check_configuration(raw, "my.yaml")
    assert config["model"]["sizes"] == [50.0, 100.0, 200.0, 400.0]
    assert config["plan"]["budgets"] == [6e6, 7e6, 8e6, 9e6]
    assert config["plan"]["min_steps"] == 100
    assert type(config["plan"]["min_steps"]) is int
    batch, lr = config["train"]["batch"], config["train"]["lr"]
    assert {float(budget): value for budget, value in batch.items()} == {
        6e6: 10, 7e6: 20, 8e6: 30, 9e6: 40,
    }  # fmt: skip
    assert {float(budget): value for budget, value in lr.items()} == {
        6e6: 0.01, 7e6: [0.001, 0.002], 8e6: 0.5, 9e6: 1.0,
    }  # fmt: skip
    assert config["train"]["precision"] == "no"
    assert config["train"]["grad_clip"] is None
    assert config["fit"]["approaches"] == ["2"]
    assert config["predict"]["budgets"] == [1e18]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{rate: 1e-3}", {"rate": 0.001}),
        ("{rates: [1E5, {deep: 2e0}]}", {"rates": [1e5, {"deep": 2.0}]}),
        ("{name: v1, digits: '12', hash: 1e5f, yes: true}",
         {"name": "v1", "digits": "12", "hash": "1e5f", "True": True}),
        ("{classes: {0: cat, '07': dog, '1.5': cow}}",
         {"classes": {"0": "cat", "07": "dog", "1.5": "cow"}}),
    ],
)  # fmt: skip
def test_keyword_arguments_change_only_where_yaml_misread_an_exponent(written, read):
    raw = yaml.safe_load(YAML.replace("KWARGS", written))
    kwargs = check_configuration(raw, "my.yaml")["model"]["kwargs"]
    assert kwargs == read
    assert json.dumps(kwargs) == json.dumps(read)  # 1 == 1.0 == True, but not as arguments


@pytest.mark.parametrize(
    ("written", "read"), [("1", 1), (2, 2), ("1.10", "1.10"), ("1e3", "1e3"), ("v2", "v2")]
)
def test_a_version_is_a_whole_number_or_the_text_as_written(written, read):
    config = check_configuration(changed(SMALL, {"model.version": written}), "my.yaml")
    assert config["model"]["version"] == read
    assert type(config["model"]["version"]) is type(read)


@pytest.mark.parametrize("written", ["no", False])
def test_precision_no_may_be_written_bare(written):
    config = check_configuration(changed(SMALL, {"train.precision": written}), "my.yaml")
    assert config["train"]["precision"] == "no"


# Defaults ----------------------------------------------------------------------------------------


def test_defaults_are_filled_in():
    config = check_configuration(SMALL, "my.yaml")
    for key, node in KEYS.items():
        if "default" in node and key not in (*RANGE_KEYS, *LONG_FORM_KEYS, *TABLE_KEYS):
            expected = node["default"]
            found = at(config, key)
            if node["unit"] == "section":
                assert set(found) == set(node["properties"]), key
            else:
                assert found == expected, key


def test_defaults_of_the_long_forms_are_filled_in():
    long = changed(
        SMALL,
        {
            "model.sizes": {"min": 1, "max": 9, "count": 3},
            "loss": {"target": "mine:loss"},
            "train.optimizer": {"target": "mine:optimizer"},
        },
    )
    config = check_configuration(long, "my.yaml")
    assert config["model"]["sizes"]["multiple_of"] == 1
    assert config["loss"]["version"] == 1
    assert config["train"]["optimizer"]["version"] == 1


def test_a_written_default_changes_nothing():
    """Not even the spelling of a number: study.json and ids are compared as text."""
    resolved = check_configuration(SMALL, "my.yaml")
    written = {
        key: node["default"]
        for key, node in LEAVES.items()
        if "default" in node and key not in (*RANGE_KEYS, *LONG_FORM_KEYS, *TABLE_KEYS)
    }
    assert len(written) > 20
    assert resolved_text(changed(SMALL, written)) == json.dumps(resolved, sort_keys=True)


@pytest.mark.parametrize("config", [SMALL, FULL], ids=["small", "full"])
def test_a_resolved_study_resolves_to_itself(config):
    resolved = check_configuration(config, "my.yaml")
    stored = json.loads(json.dumps(resolved))
    assert json.dumps(check_configuration(stored, "my.yaml")) == json.dumps(resolved)


def test_the_raw_configuration_is_left_alone():
    raw = copy.deepcopy(FULL)
    resolved = check_configuration(raw, "my.yaml")
    resolved["model"]["kwargs"]["heads"] = resolved["plan"]["budgets"] = None
    assert raw == FULL


def test_a_resolved_study_shares_nothing_with_the_schema():
    check_configuration(SMALL, "my.yaml")["plan"]["seeds"].append(1)
    assert check_configuration(SMALL, "my.yaml")["plan"]["seeds"] == [0]


# The schema --------------------------------------------------------------------------------------


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_described_with_a_unit():
    for key, node in KEYS.items():
        assert node.get("description", "").endswith("."), key
        assert node.get("unit"), key


def test_every_section_is_closed():
    for key, node in {"": SCHEMA, **KEYS}.items():
        if "properties" in node:
            assert node["additionalProperties"] is False, key


def test_every_default_is_valid():
    for node in KEYS.values():
        if "default" in node:
            jsonschema.Draft202012Validator(node).validate(node["default"])


def test_the_full_study_of_these_tests_writes_every_key():
    written = dict(walk_written(FULL))
    assert set(KEYS) - set(TABLE_KEYS) <= set(written)
    check_configuration(FULL, "my.yaml")


def walk_written(config: Mapping, prefix: str = ""):
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from walk_written(value, f"{prefix}{name}.")
