"""Files of another step: what is damaged is refused in a sentence and makes room for another."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.files.reading import read_csv_rows, read_json_object


def refusal(path, read) -> str:
    """Return why a file is refused, which has to be renamed for it."""
    content = path.read_bytes()
    with pytest.raises(UserError) as caught:
        read()
    assert not path.exists()
    aside = path.with_name(f"{path.name}.damaged")
    assert aside.read_bytes() == content
    before, reason, after = str(caught.value).partition(": ")[0], *str(caught.value).split("; ")
    assert before == str(path)
    assert after == f"it is {aside.name} now, and a rerun writes it again"
    return reason.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON file (Expecting value"),
        (b'{"a": 1', "is no JSON file (Expecting ',' delimiter"),
        (b"\xff", "is no JSON file ('utf-8' codec can't decode"),
        (b"[" * 100_000, "is no JSON file (nested too deeply)"),
        (b"[1]", "found list, expected an object"),
        (b'{"b": 1}', "a: is missing"),
    ],
)
def test_json(tmp_path, content, reason):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert refusal(path, lambda: read_json_object(path, ("a",))).startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "column a: is missing"),
        (b"a\n1\n", "column b: is missing"),
        (b"a,b\n1,2\n3", "row 2 has 1 fields, expected the 2 columns"),
        (b"a,b\n1,2,3\n", "row 1 has 3 fields, expected the 2 columns"),
        (b'a,b\n1,"2', "is no CSV file (unexpected end of data"),
        (b"a,b\n\xff,1\n", "is no CSV file ('utf-8' codec can't decode"),
    ],
)
def test_csv(tmp_path, content, reason):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert refusal(path, lambda: read_csv_rows(path, ("a", "b"))).startswith(reason)


def test_what_is_whole_is_read(tmp_path):
    (tmp_path / "file.json").write_text('{"a": [1]}')
    assert read_json_object(tmp_path / "file.json", ("a",)) == {"a": [1]}
    (tmp_path / "file.csv").write_text('a,b\n1,"2,5"\n')
    assert read_csv_rows(tmp_path / "file.csv", ("b",)) == [{"a": "1", "b": "2,5"}]
