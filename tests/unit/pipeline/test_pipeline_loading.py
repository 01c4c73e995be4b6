"""Configuration files and --config that no parser takes, or that cannot be merged."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from flops_fit.errors import UserError
from flops_fit.pipeline.loading import load_layers
from hand_computed import SMALL
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config


def load(*files, typed=()):
    return load_layers(files, typed, load_configfile, update_config)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_each_file_overlays_the_one_before_and_the_command_line_all(small):
    second = small.with_name("second.yaml")
    second.write_text("plan: {seeds: [1, 2], min_steps: 7}\n")
    study = load(small, second, typed=["plan={seeds: [3]}"])
    assert study.config_file == "small.yaml"
    assert study.plan.seeds == (3,)
    assert study.plan.min_steps == 7
    assert study.name == SMALL["study"]


DEEP = "[" * 3000 + "]" * 3000
HOSTILE = {
    "alias.yaml": ("more: &a [*a]\n", "more[0]", "nested more than 50 deep"),
    "aliases.yaml": ("more: &a {b: *a}\n", "more.b", "nested more than 50 deep"),
    "digits.yaml": ("more: " + "1" * 5000 + "\n", "cannot be read", "5000 digits"),
    "digits.json": ('{"more": ' + "1" * 5000 + "}", "cannot be read", "5000 digits"),
    "deep.yaml": (f"more: {DEEP}\n", "nested too deeply"),
    "deep.json": (f'{{"more": {DEEP}}}', "nested too deeply"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["first", "second"])
def test_what_no_parser_takes_is_one_sentence(small, name, place):
    text, *parts = HOSTILE[name]
    path = small.with_name(name)
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(*([path] if place == "first" else [small, path]))
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    assert len(sentence) < 400
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    "typed",
    [
        "model=&a {b: *a}",
        "model=&a [*a]",
        "model={kwargs: {a: &x [*x]}}",
        "plan={seeds: [" + "1" * 5000 + "]}",
        f"plan={{seeds: {DEEP}}}",
        "loss=" + "1" * 5000,
    ],
    ids=lambda typed: typed[:24],
)
def test_what_the_command_line_cannot_mean_is_one_sentence(small, typed):
    with pytest.raises(UserError) as caught:
        load(small, typed=[typed])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_no_file_is_not_opened(small):
    pipe = small.with_name("pipe.yaml")
    os.mkfifo(pipe)
    (small.parent / "folder.yaml").mkdir()
    for name, found in {"pipe.yaml": "a pipe", "folder.yaml": "a folder"}.items():
        with pytest.raises(UserError, match=f"{name}: found {found}, expected a file"):
            load(small.with_name(name))
    with pytest.raises(UserError, match="/dev/null: found a device"):
        load("/dev/null")


@pytest.mark.parametrize("kind", ["yaml", "jsonl"])
def test_a_file_that_a_study_names_must_be_a_file(small, kind):
    """Reading a pipe would wait for ever."""
    os.mkfifo(small.with_name(f"pipe.{kind}"))
    raw = {"study": "own", "runs_table": f"pipe.{kind}"}
    key = "runs_table.path"
    if kind == "yaml":
        raw = SMALL | {"train": SMALL["train"] | {"accelerate_config": "pipe.yaml"}}
        key = "train.accelerate_config"
    small.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=f"^small.yaml: {key}: found a pipe, pipe.{kind}, expected"):
        load(small)
