"""Numbers as YAML writes and misreads them, and what stays text."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import yaml
from flops_fit.study.values import as_number
from hand_computed import FULL, SMALL, changed, resolved


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
    return json.dumps(resolved(config), sort_keys=True)


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
    config = resolved(raw)
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
    kwargs = resolved(raw)["model"]["kwargs"]
    assert kwargs == read
    assert json.dumps(kwargs) == json.dumps(read)  # 1 == 1.0 == True, but not as arguments


@pytest.mark.parametrize(
    ("written", "read"), [("1", 1), (2, 2), ("1.10", "1.10"), ("1e3", "1e3"), ("v2", "v2")]
)
def test_a_version_is_a_whole_number_or_the_text_as_written(written, read):
    config = resolved(changed(SMALL, {"model.version": written}))
    assert config["model"]["version"] == read
    assert type(config["model"]["version"]) is type(read)


@pytest.mark.parametrize("written", ["no", False])
def test_precision_no_may_be_written_bare(written):
    config = resolved(changed(SMALL, {"train.precision": written}))
    assert config["train"]["precision"] == "no"
