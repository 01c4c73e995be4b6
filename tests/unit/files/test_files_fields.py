"""A dataclass is the one table of a record's fields: what it takes, refuses and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flops_fit.files.fields import FieldError, check_fields, from_plain, later, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner
    count: int
    rate: float
    clip: float | None
    flag: bool
    version: int | str


PLAIN = {
    "inner": {"name": "n", "kwargs": {"a": [1, 2.5]}}, "count": 3, "rate": 2, "clip": None,
    "flag": True, "version": "b",
}  # fmt: skip


def test_a_record_is_read_and_written_as_it_is_spelled():
    record = from_plain(Outer, PLAIN, closed=True)
    assert record.inner == Inner(name="n", kwargs={"a": [1, 2.5]})
    assert type(record.rate) is int  # an id is derived from how it is spelled
    written = to_plain(record)
    assert written == PLAIN
    assert list(written) == list(PLAIN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 3.0}, "count: found 3.0, expected a whole number"),
        ({"count": True}, "count: found True, expected a whole number"),
        ({"rate": "2"}, "rate: found '2', expected a number or a whole number"),
        ({"clip": False}, "clip: found False, expected a number or a whole number or null"),
        ({"flag": 1}, "flag: found 1, expected true or false"),
        ({"version": None}, "version: found None, expected a whole number or text"),
        ({"inner": []}, "inner: found [], expected an object"),
        ({"inner": {"name": "n"}}, "inner.kwargs: is missing"),
        ({"inner": {"name": 7, "kwargs": {}}}, "inner.name: found 7, expected text"),
        ({"inner": {"name": "n", "kwargs": {}, "x": 1}}, "inner.x: is unknown"),
        ({"more": 1}, "more: is unknown"),
    ],
)
def test_what_does_not_fit_is_named(changes, said):
    with pytest.raises(FieldError) as caught:
        from_plain(Outer, PLAIN | changes, closed=True)
    assert str(caught.value) == said


def test_an_open_record_leaves_out_what_it_does_not_know():
    assert from_plain(Outer, PLAIN | {"more": 1}) == from_plain(Outer, PLAIN)


def test_a_field_that_is_missing_is_named():
    for name in PLAIN:
        rest = {key: value for key, value in PLAIN.items() if key != name}
        with pytest.raises(FieldError, match=f"^{name}: is missing$"):
            check_fields(Outer, rest)
    with pytest.raises(FieldError, match=r"^found list, expected an object$"):
        check_fields(Outer, [])


@dataclass(frozen=True, kw_only=True)
class Grown:
    name: str
    added: int | None = later()


@dataclass(frozen=True, kw_only=True)
class Holder:
    grown: Grown


def test_a_field_that_came_later_is_absent_at_its_default():
    assert to_plain(Holder(grown=Grown(name="a"))) == {"grown": {"name": "a"}}
    assert to_plain(Holder(grown=Grown(name="a", added=0))) == {"grown": {"name": "a", "added": 0}}
    assert from_plain(Grown, {"name": "a"}, closed=True) == Grown(name="a")
    assert from_plain(Grown, {"name": "a", "added": 0}, closed=True) == Grown(name="a", added=0)
    with pytest.raises(FieldError, match=r"^added: found None, expected no such field$"):
        from_plain(Grown, {"name": "a", "added": None}, closed=True)
