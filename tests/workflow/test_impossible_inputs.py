"""Inputs that no parser takes or that never end: one sentence, before anything is started."""

from __future__ import annotations

import os

import pytest
from checkout import jobs_of

OWN = "config/studies/own.yaml"


@pytest.fixture
def own(checkout):
    """A checkout with a study that brings its own runs, in a table that the test writes."""
    path = checkout.path / OWN
    path.write_text("study: own\nruns_table: theirs.csv\n")
    return checkout


def sentences(output: str, start: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(start)]


def test_a_number_of_thousands_of_digits_in_the_demo_is_a_sentence(checkout):
    """The file of --configfile is read by Snakemake itself, before the workflow is."""
    path = checkout.path / "config" / "config.yaml"
    path.write_text(path.read_text() + "\nmore: " + "1" * 5000 + "\n")
    output = checkout.refuse("--cores", "1", config=None)
    (said,) = sentences(output, "config/config.yaml: ")
    assert "cannot be read (Exceeds the limit (4300 digits)" in said
    assert not (checkout.path / "results" / "demo").exists()


def test_a_section_within_itself_on_the_command_line_is_a_sentence(checkout):
    output = checkout.refuse("--cores", "1", "--config", "model=&a {b: *a}")
    (said,) = sentences(output, "--config: ")
    assert said.endswith("found values nested more than 50 deep, expected less")
    assert "RecursionError" not in output


def test_a_table_that_is_a_pipe_is_not_waited_for(own):
    os.mkfifo(own.path / "config" / "studies" / "theirs.csv")
    output = own.refuse("--cores", "1", config=OWN)
    assert sentences(output, OWN) == [
        f"{OWN}: runs_table.path: found a pipe, config/studies/theirs.csv, expected a file"
    ]
    assert not (own.path / "results" / "own").exists()


def test_a_row_that_is_nested_too_deeply_is_a_sentence(own):
    (own.path / OWN).write_text("study: own\nruns_table: theirs.jsonl\n")
    table = own.path / "config" / "studies" / "theirs.jsonl"
    table.write_text('{"N": ' + "[" * 10**5 + "]" * 10**5 + "}\n")
    output = own.refuse("--cores", "1", config=OWN)
    said = "error: config/studies/theirs.jsonl: cannot be read as a table of runs (line 1 is not"
    assert set(sentences(output, "error: ")) == set(sentences(output, said)) != set()


@pytest.mark.parametrize("target", ["plan", "calibrate", "runs", "partial"])
def test_a_table_has_nothing_to_plan_or_train(own, target):
    (own.path / "config" / "studies" / "theirs.csv").write_text("N,D,loss\n1,2,3\n")
    output = own.refuse(target, "--cores", "1", config=OWN)
    assert output.count("a study that brings its own runs has nothing to plan or train") == 1
    assert f"{OWN}: runs_table: " in output
    assert "its targets are fit and report" in output
    assert jobs_of(output, target) == jobs_of(output, "collect") == 0
