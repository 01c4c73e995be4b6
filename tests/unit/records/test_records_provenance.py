"""What other code reads of a record's provenance, which nothing else checks."""

from __future__ import annotations

import json

import pytest
from flops_fit.pipeline.collecting import comparable_sources
from flops_fit.plan.other_code import other_code, trained_code
from flops_fit.records.run_record import Provenance, read_provenance

PRESENT = {"model": "2-a", "dataset": "2-b", "loss": "2-c"}
ODD = [None, [], ["a", 1], {"model": ["a"]}, "text", 3]


def written(folder, **provenance):
    (folder / "runs").mkdir()
    path = folder / "runs" / "a.json"
    path.write_text(json.dumps({"status": "completed", "provenance": provenance}))
    return path


@pytest.mark.parametrize("name", ["file_source", "imported", "packages"])
@pytest.mark.parametrize("odd", ODD)
def test_information_of_an_odd_type_is_taken_for_missing(tmp_path, name, odd):
    path = written(tmp_path, source=PRESENT, **{name: odd})
    found = read_provenance(path)
    assert found.source == PRESENT
    assert not getattr(found, name)
    assert other_code(trained_code(tmp_path, ["a"]), lambda imported: PRESENT) is None
    old = read_provenance(written_old(tmp_path))
    assert comparable_sources([found, old])[1] == {"model": "1"}


def written_old(folder):
    path = folder / "runs" / "b.json"
    path.write_text(json.dumps({"status": "completed", "provenance": {"source": {"model": "1"}}}))
    return path


@pytest.mark.parametrize("odd", ODD)
def test_a_source_of_an_odd_type_is_left_to_the_merging_of_records(tmp_path, odd):
    """Which names the damaged record and what to do about it."""
    written(tmp_path, source=odd)
    assert trained_code(tmp_path, ["a"]) == {}


def run(source: str, **imported: str) -> Provenance:
    """A run whose model, "m" by itself, imported modules by computed names."""
    alone = {f"module {name}": version for name, version in imported.items()}
    alone = {"model": "2-m"} | alone if imported else {}
    return Provenance(source={"model": source}, imported=[*imported], alone=alone)


def test_runs_that_imported_different_modules_are_of_one_code_unless_it_was_edited():
    """A model may import another module for each size."""
    plain, small, large = run("2-m"), run("2-ms", small="1"), run("2-ml", large="1")
    assert comparable_sources([plain, small, large]) == [{"model": "2-m"}] * 3
    edited = run("2-me", small="2")
    sources = [one["model"] for one in comparable_sources([plain, small, large, edited])]
    assert len(set(sources)) == 3
    assert sources[0] == sources[2]
    assert comparable_sources([small, small]) == [{"model": "2-ms"}] * 2
