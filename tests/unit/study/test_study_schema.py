"""The schema that is made from the settings: closed, described, and true."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

import jsonschema
import pytest
from flops_fit.errors import UserError
from flops_fit.study.schema import study_schema, walk_keys
from flops_fit.study.study import Study
from hand_computed import DESIGNED, FILE, FULL, SMALL, at, changed, resolved, small_study, without

IMPORTED = {"study": "own", "runs_table": {"path": "runs.csv", "columns": {"N": "params"}}}

SCHEMA = study_schema()
KEYS = dict(walk_keys(SCHEMA))
LEAVES = {key: node for key, node in KEYS.items() if node["unit"] != "section"}
# Keys that exist in one spelling of a study only: `loss: path` has no `loss.version`.
# A study with a runs_table is another kind of study, with tests of its own.
TABLE_KEYS = tuple(key for key in KEYS if key.startswith("runs_table"))
RANGE_KEYS = tuple(key for key in KEYS if key.startswith("model.sizes."))
# A grid has budgets, a design a target: neither has a default that would do.
ALTERNATIVES = ("plan.budgets",)
LONG_FORMS = ("loss.", "train.optimizer.", "plan.truth.", "plan.hardware.")
LONG_FORM_KEYS = tuple(key for key in KEYS if key.startswith(LONG_FORMS))
RULE_KEYS = tuple(key for key in KEYS if key.startswith(("train.batch.", "train.lr.")))
UNWRITTEN = (*RANGE_KEYS, *LONG_FORM_KEYS, *RULE_KEYS, *TABLE_KEYS, *ALTERNATIVES)
RULES = changed(
    SMALL,
    {"train.batch": {"base": 9, "power_d": 0.5}, "train.lr": {"base": 1, "reference": {"n": 9}}},
)


def test_the_list_of_required_keys_is_complete():
    """Whatever is neither required nor has a default would be missing from a resolved study."""
    training = SCHEMA["oneOf"][0]["required"]
    optional = set(KEYS) - {"model.sizes", *UNWRITTEN}
    for key in optional:
        section = SCHEMA
        for name in key.split(".")[:-1]:
            section = section["properties"][name]
        required = key.split(".")[-1] in [*section.get("required", []), *training]
        assert required != ("default" in KEYS[key]), key


def test_defaults_are_filled_in():
    config = resolved(SMALL)
    for key, node in KEYS.items():
        if "default" in node and key not in UNWRITTEN:
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
    config = resolved(long)
    assert config["model"]["sizes"]["multiple_of"] == 1
    assert config["loss"]["version"] == 1
    assert config["train"]["optimizer"]["version"] == 1
    rules = resolved(RULES)["train"]
    assert rules["batch"] == {
        "base": 9,
        "power_n": 0,
        "power_d": 0.5,
        "reference": {"n": 1, "d": 1},
    }
    assert rules["lr"]["reference"] == {"n": 9, "d": 1}


def test_a_written_default_changes_nothing():
    """Not even the spelling of a number: study.json and ids are compared as text."""
    written = {
        key: node["default"]
        for key, node in LEAVES.items()
        if "default" in node and key not in UNWRITTEN
    }
    assert len(written) > 20
    assert Study.from_config(changed(SMALL, written), FILE).to_json() == small_study().to_json()


@pytest.mark.parametrize("config", [SMALL, FULL, RULES, DESIGNED])
def test_a_resolved_study_resolves_to_itself(config):
    study = Study.from_config(config, FILE)
    assert (
        Study.from_config(json.loads(study.to_json())["config"], FILE).to_json() == study.to_json()
    )


def test_the_raw_configuration_is_left_alone():
    raw = copy.deepcopy(FULL)
    config = resolved(raw)
    config["model"]["kwargs"]["heads"] = config["plan"]["budgets"] = None
    assert raw == FULL


def test_a_resolved_study_shares_nothing_with_the_schema():
    resolved(SMALL)["plan"]["seeds"].append(1)
    assert resolved(SMALL)["plan"]["seeds"] == [0]


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


@pytest.mark.parametrize("config", [SMALL, FULL, RULES, DESIGNED, IMPORTED])
def test_the_schema_holds_for_what_the_settings_accept(config):
    jsonschema.validate(resolved(config), SCHEMA)


@pytest.mark.parametrize(
    "config",
    [
        IMPORTED | {"model": SMALL["model"]},
        without(SMALL, "loss"),
        changed(SMALL, {"study": "data"}),
        changed(SMALL, {"plan.min_steps": 0}),
        changed(SMALL, {"plan.seeds": [1, 1]}),
        changed(SMALL, {"train.batch": {}}),
        changed(SMALL, {"train.lr": {6e6: [0.1, 0]}}),
        changed(SMALL, {"train.lr": {6e6: {"base": 1}}}),
        changed(SMALL, {"train.lr": "steplaw"}),
        changed(SMALL, {"train.batch": {"base": 0}}),
        changed(SMALL, {"train.batch": {"base": 1, "power": 2}}),
        changed(SMALL, {"train.optimizer": "sgd"}),
        changed(SMALL, {"train.processes": [{"from_params": 0}]}),
        changed(SMALL, {"fit.approaches": ["4"]}),
        changed(SMALL, {"loss": {"target": "mine:loss", "kwargs": {}}}),
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(config):
    with pytest.raises(UserError):
        resolved(config)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(json.dumps(config)))


def test_every_default_is_valid():
    for node in KEYS.values():
        if "default" in node:
            jsonschema.Draft202012Validator(node).validate(node["default"])


def test_the_full_studies_of_these_tests_write_every_key():
    written = {**dict(walk_written(FULL)), **dict(walk_written(DESIGNED))}
    # Instead of the written ones:
    others = {"plan.precision", "plan.hardware.gpu", "plan.hardware.mfu", "plan.experiments"}
    others |= {"plan.trunks"}  # of another schedule
    assert set(KEYS) - {*TABLE_KEYS, *RULE_KEYS} - others <= set(written)
    resolved(FULL)
    resolved(DESIGNED)


def walk_written(config: Mapping, prefix: str = ""):
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from walk_written(value, f"{prefix}{name}.")
