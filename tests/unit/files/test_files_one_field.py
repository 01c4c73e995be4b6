"""One field of a big JSON file is read as all of them would be."""

from __future__ import annotations

import json

import pytest
from flops_fit.files.reading import DamagedFileError, fields_of, names_of_fields
from flops_fit.files.writing import write_json

CONTENT = {
    "a": {"b": {"c": 1}, 'text with "quotes"\n "c": 7': "d"},
    "b": [1, 2, {"a": None}],
    "c": '\n "a": 5',
    "d\u00e9": 1.5,
    "e": None,
}


def test_fields_are_those_of_the_whole_object_however_it_is_written(tmp_path):
    path = tmp_path / "content.json"
    write_json(path, CONTENT)
    for name, value in CONTENT.items():
        assert fields_of(path, name) == [value]
    assert fields_of(path, "e", "a") == [None, CONTENT["a"]]
    for indent in (None, 1, 2):
        path.write_text(json.dumps(CONTENT, indent=indent))
        assert fields_of(path, *CONTENT) == list(CONTENT.values())
        assert names_of_fields(path) == list(CONTENT)


def test_a_field_that_is_damaged_or_missing_is_named(tmp_path):
    path = tmp_path / "content.json"
    write_json(path, CONTENT)
    text = path.read_text()
    with pytest.raises(DamagedFileError, match="x: is missing"):
        fields_of(path, "a", "x")
    path.write_text(text.replace('"c": 1', '"c": '))
    with pytest.raises(DamagedFileError, match="is no JSON file"):
        fields_of(path, "a")
    path.write_text("[1]")
    with pytest.raises(DamagedFileError, match="a: is missing"):
        fields_of(path, "a")
    with pytest.raises(DamagedFileError, match="found list"):
        names_of_fields(path)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(DamagedFileError, match="is no JSON file"):
        names_of_fields(path)
    (tmp_path / "empty.json").write_text("{}\n")
    assert names_of_fields(tmp_path / "empty.json") == []


def test_the_last_of_two_fields_with_one_name_counts(tmp_path):
    path = tmp_path / "content.json"
    path.write_text('{\n "a": 1,\n "a": 2\n}\n')
    assert fields_of(path, "a") == [2] == [json.loads(path.read_text())["a"]]
