"""Records read from JSON: the dataclass is the single definition of a record's fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

Record = TypeVar("Record")

_LATER = "later"
_MEANT = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def later(default: Any = None) -> Any:
    """Return a dataclass field that came later: at its default it is absent from the JSON object.

    So the text of a record that does not use it, and an id derived from it, stay what they were.
    """
    return dataclasses.field(default=default, metadata={_LATER: True})


class FieldError(ValueError):
    """A field that is missing, unknown or of the wrong type: ``<name>: <what is wrong>``."""


def check_fields(kind: type, plain: Any) -> None:
    """Raise a FieldError unless ``plain`` has every field of a dataclass, each of its type.

    Fields with a default may be missing.

    Parameters
    ----------
    kind
        A dataclass whose fields are numbers, text, truth values, None, ``dict``, ``list`` or
        ``tuple`` (both are lists in JSON), unions of these, or dataclasses, which are plain objects
        here and whose contents are not checked.
    plain
        What the JSON file holds.
    """
    if not isinstance(plain, Mapping):
        raise FieldError(f"found {type(plain).__name__}, expected an object")
    required = _required(kind)
    for name, (accepted, _) in _table(kind).items():
        if name not in plain:
            if name in required:
                raise FieldError(f"{name}: is missing")
            continue
        value = plain[name]
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            meant = " or ".join(dict.fromkeys(_MEANT[one] for one in accepted))
            raise FieldError(f"{name}: found {value!r:.80}, expected {meant}")


def from_plain(kind: type[Record], plain: Any, *, closed: bool = False) -> Record:
    """Return the dataclass that a plain JSON object represents, including nested dataclasses.

    Numbers keep their type: a float field keeps an int, since an id may be derived from its
    spelling.

    Parameters
    ----------
    closed
        Whether fields that the dataclass does not have, and fields that should be absent, are
        refused instead of ignored.

    Raises
    ------
    FieldError
        As in `check_fields`; a nested field is named by its path (``model.kwargs``).
    """
    check_fields(kind, plain)
    table = _table(kind)
    if closed and (unknown := sorted(set(plain) - set(table))):
        raise FieldError(f"{unknown[0]}: is unknown")
    if closed and (needless := [name for name, value in _later(kind).items()
                                if name in plain and plain[name] == value]):  # fmt: skip
        raise FieldError(f"{needless[0]}: found {plain[needless[0]]!r}, expected no such field")
    values = {}
    for name, (_, nested) in table.items():
        if name not in plain:
            continue
        values[name] = plain[name]
        if nested is not None:
            try:
                values[name] = from_plain(nested, plain[name], closed=closed)
            except FieldError as error:
                raise FieldError(f"{name}.{error}") from None
    return kind(**values)


def to_plain(record: Any) -> dict[str, Any]:
    """Return a dataclass as plain objects, in the order of its fields.

    Fields of `later` are left out at their defaults.
    """
    plain = dataclasses.asdict(record)
    _leave_out_later(record, plain)
    return plain


def _leave_out_later(record: Any, plain: dict[str, Any]) -> None:
    defaults = _later(type(record))
    for name in [field.name for field in dataclasses.fields(record)]:
        value = getattr(record, name)
        if name in defaults and value == defaults[name]:
            del plain[name]
        elif dataclasses.is_dataclass(value):
            _leave_out_later(value, plain[name])


@cache
def _table(kind: type) -> dict[str, tuple[tuple[type, ...], type | None]]:
    """Return for each field its accepted JSON types, and the dataclass it becomes, if any."""
    hints = typing.get_type_hints(kind)
    return {field.name: _accepted(hints[field.name]) for field in dataclasses.fields(kind)}


@cache
def _later(kind: type) -> dict[str, Any]:
    """Return the defaults of the fields made by `later`."""
    return {f.name: f.default for f in dataclasses.fields(kind) if _LATER in f.metadata}


@cache
def _required(kind: type) -> frozenset[str]:
    """Return the names of the fields without a default."""
    missing = dataclasses.MISSING
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    )


def _accepted(hint: Any) -> tuple[tuple[type, ...], type | None]:
    if dataclasses.is_dataclass(hint):
        return (dict,), hint
    if isinstance(hint, types.UnionType):
        return tuple(one for part in typing.get_args(hint) for one in _accepted(part)[0]), None
    if hint is float:
        return (float, int), None
    if typing.get_origin(hint) is tuple:
        return (list,), None
    return (typing.get_origin(hint) or hint,), None
