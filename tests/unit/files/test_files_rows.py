"""CSV files of typed rows: what is written comes back, and what is no such row is named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from flops_fit.errors import UserError
from flops_fit.files.rows import columns_of, csv_text, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    count: int
    weight: float
    size: int | float
    loss: float | None = None
    source: str | None = None


ROWS = [
    Row(name="1e5", count=10**18, weight=0.1 + 0.2, size=64),
    Row(name='a "b", c', count=0, weight=1e-300, size=70.5, loss=-1.5, source="0012"),
]


def test_what_is_written_comes_back_with_every_digit(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(csv_text(Row, ROWS), encoding="utf-8")
    assert columns_of(Row) == ("name", "count", "weight", "size", "loss", "source")
    assert file.read_text(encoding="utf-8") == (
        "name,count,weight,size,loss,source\n"
        "1e5,1000000000000000000,0.30000000000000004,64,,\n"
        '"a ""b"", c",0,1e-300,70.5,-1.5,0012\n'
    )
    for exact in (False, True):
        rows = read_rows(file, Row, exact=exact)
        assert rows == ROWS
        assert [type(row.size) for row in rows] == [int, float]


def test_further_columns_are_ignored(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("more,name,count,weight,size,loss,source\nx,a,1,2,3,4,b\n", encoding="utf-8")
    (row,) = read_rows(file, Row)
    assert row == Row(name="a", count=1, weight=2.0, size=3, loss=4.0, source="b")


@pytest.mark.parametrize(
    ("column", "text", "sentence"),
    [
        ("count", "1.0", "count: found '1.0', expected a whole number"),
        ("count", "-1", "count: found '-1', expected a whole number"),
        ("count", "", "count: found '', expected a whole number"),
        ("count", "9" * 5000, f"count: found '{'9' * 79}, expected a whole number"),
        ("count", "9" * 400, f"count: found '{'9' * 79}, expected a whole number"),
        ("size", "9" * 400, f"size: found '{'9' * 79}, expected a number"),
        ("weight", "", "weight: found '', expected a number"),
        ("weight", "x", "weight: found 'x', expected a number"),
        ("size", "nan", "size: found 'nan', expected a number"),
        ("loss", "1e999", "loss: found '1e999', expected a number"),
    ],
)
def test_what_is_no_number_is_named_and_makes_room(tmp_path, column, text, sentence):
    texts = {"name": "a", "count": "1", "weight": "2.5", "size": "3", "loss": "", "source": ""}
    file = tmp_path / "rows.csv"
    lines = [",".join(texts), ",".join((texts | {column: text}).values())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_rows(file, Row)
    assert str(caught.value) == (
        f"{file}: a: {sentence}; it is rows.csv.damaged now, and a rerun writes it again"
    )
    assert not file.exists()


@pytest.mark.parametrize(
    ("column", "text"), [("count", "01"), ("weight", "2.50"), ("weight", "1e1"), ("size", "3.00")]
)
def test_a_number_may_have_to_be_spelled_as_it_is_written(tmp_path, column, text):
    texts = {"name": "a", "count": "1", "weight": "2.5", "size": "3", "loss": "", "source": ""}
    file = tmp_path / "rows.csv"
    lines = [",".join(texts), ",".join((texts | {column: text}).values())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert len(read_rows(file, Row)) == 1
    with pytest.raises(UserError, match=f"a: {column}: found '{text}', expected "):
        read_rows(file, Row, exact=True)
