"""Whatever bytes lie in a file that is read: a result, or a sentence that names the file."""

from __future__ import annotations

import copy
import json
from contextlib import suppress

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError
from flops_fit.records.imported_table import import_runs
from flops_fit.records.run_record import RunRecord, read_record
from flops_fit.study.study import RunsTable
from hand_computed import planned, record_of, spec_of
from hypothesis import given
from hypothesis import strategies as st

ROW = planned().experiments[0]
RECORD = json.dumps(record_of(ROW), indent=1).encode()
TABLE = (
    b"N,D,C,loss,seed\n1e6,1e8,6e14,3.1,0\n2e6,5e7,6e14,3.0,0\n4e6,3e7,7e14,3.2,1\n"
    b"1e7,1e9,6e16,2.1,0\n2e7,5e8,6e16,2.0,0\n4e7,3e8,7e16,2.2,1\n"
)
LINES = b"".join(
    json.dumps({"N": n, "C": 6e14, "loss": 3.0}).encode() + b"\n" for n in (1e6, 2e6, 4e6)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """The bytes of a file after a cut, an insertion, or some bytes that became others."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    kind = draw(st.sampled_from(["cut", "lose", "insert", "flip"]))
    if kind == "cut":
        return whole[:start]
    if kind == "lose":
        return whole[:start] + whole[end:]
    if kind == "insert":
        return whole[:start] + draw(st.binary(max_size=20)) + whole[start:]
    content = bytearray(whole)
    for i in draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        content[i] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


def refused_or(result, path):
    """Return what a reader returns, or None where it refuses with a sentence about the file."""
    try:
        return result()
    except UserError as error:
        sentence = str(error)
    assert str(path) in sentence
    return None


@given(content=damaged(RECORD))
def test_a_damaged_record_is_refused_or_still_one_of_the_same_experiment(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("record") / f"{ROW.id}.json"
    path.write_bytes(content)
    record = refused_or(lambda: read_record(path), path)
    if record is not None:
        assert record.id == ROW.id
        assert record.spec == spec_of(ROW)
        assert np.isfinite(record.loss)
        assert record.D == ROW.D


@given(name=st.sampled_from(sorted(record_of(ROW))), value=VALUES)
def test_a_field_of_any_kind_is_refused_or_valid(name, value):
    record = copy.deepcopy(record_of(ROW)) | {name: value}
    with suppress(FieldError):
        read = RunRecord.from_json(record, ROW.id)
        assert read.to_json().keys() == {*record, "checksum"}


@given(kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]), data=st.data())
def test_a_damaged_table_of_runs_is_refused_or_read(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("table")
    path = folder / f"runs.{kind}"
    whole = {"csv": TABLE, "tsv": TABLE.replace(b",", b"\t"), "jsonl": LINES}
    if kind == "parquet":
        content = data.draw(st.binary(max_size=200).map(lambda b: b"PAR1" + b + b"PAR1"))
    else:
        content = data.draw(damaged(whole[kind]))
    path.write_bytes(content)
    table = RunsTable(path=path, columns={}, unit="token")
    runs = refused_or(lambda: import_runs(table), path)
    if runs is not None:
        assert len(runs) >= 1
        assert all(runs[column].dtype == float for column in ("N", "D", "C", "loss"))


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"[]", b"null", b"\xff\xfe", b"\0" * 100])
def test_what_is_no_record_at_all_is_named(tmp_path, content):
    path = tmp_path / f"{ROW.id}.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path}: ")
