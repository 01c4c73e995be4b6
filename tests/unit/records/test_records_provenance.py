"""What other code reads of a record's provenance, which nothing else checks."""

from __future__ import annotations

import json

import pytest
from flops_fit.pipeline.collecting import comparable_sources
from flops_fit.plan.other_code import other_code, trained_code
from flops_fit.records.run_record import read_provenance

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
