"""Turns a raw configuration into checked settings, or a sentence for each of its mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flops_fit.errors import UserError
from flops_fit.files.plain_values import unfit_value
from flops_fit.study.schema import node_at, schema_of, study_schema, walk_keys
from flops_fit.study.section import SPELLINGS
from flops_fit.study.settings import ImportedStudy, TrainedStudy
from flops_fit.study.values import SENTENCE, shown

_TYPE_NAMES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
    "null": "null",
}
_LIMITS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
    ("minItems", "with at least this many items:"),
)

_SHARED_NAMES = ("precision",)
"""Names of keys that mean different things in different sections."""


def check_configuration(raw: Mapping[str, Any], source: str) -> TrainedStudy | ImportedStudy:
    """Return the settings of a configuration, with every default filled in.

    Parameters
    ----------
    raw
        The configuration as a YAML or JSON parser returned it.
    source
        The file to name in errors.

    Raises
    ------
    UserError
        One line per mistake: file, key, what was found, what is expected.
    """
    if not isinstance(raw, Mapping):
        raise UserError(f"{source}: found {shown(raw)}, expected the keys of a study")
    if unfit := unfit_value(raw):
        key, problem = unfit
        raise UserError(f"{source}: {printable(key or 'the file')}: {problem}")
    kind = ImportedStudy if "runs_table" in raw else TrainedStudy
    try:
        return kind.model_validate(dict(raw))
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    schema = schema_of(ImportedStudy) if kind is ImportedStudy else study_schema()
    sentences = [_sentence(mistake, schema) for mistake in mistakes if not _echo(mistake, mistakes)]
    raise UserError("\n".join(f"{source}: {printable(sentence)}" for sentence in sentences))


def _echo(mistake: Mapping[str, Any], mistakes: list[Any]) -> bool:
    """Whether a list is called too short only because some of its items are wrong."""
    place = mistake["loc"]
    return mistake["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in mistakes
    )


def printable(sentence: str) -> str:
    """Escape line breaks and control characters of a key, which must not reach a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)


def _sentence(mistake: Mapping[str, Any], schema: dict[str, Any]) -> str:
    """Return the sentence for one of pydantic's errors."""
    place = tuple(part for part in mistake["loc"] if part not in SPELLINGS)
    key = _dotted(place)
    if mistake["type"] in ("extra_forbidden", "invalid_key"):
        return _unknown_key(place, str(mistake["loc"][-1]), schema)
    node = node_at(schema, place)
    if mistake["type"] == "missing":
        return f"{key}: is missing, expected {_expected(node)}"
    if mistake["type"] == SENTENCE:
        return f"{key}: {mistake['msg']}"
    return f"{key}: found {shown(mistake['input'])}, expected {_expected(node)}"


def _unknown_key(place: tuple[str | int, ...], name: str, schema: dict[str, Any]) -> str:
    key = _dotted((*place[:-1], name))
    known = list(node_at(schema, place[:-1])["properties"])
    if len(place) == 1 and name in TrainedStudy.model_fields:
        return (
            f"{key}: found beside runs_table, expected one of them: a study that brings its own "
            "runs trains nothing"
        )
    if spelling := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
        return f"{key}: unknown key; did you mean {spelling[0]!r}?"
    names = [full for full, _ in walk_keys(schema)]
    elsewhere = {full.rsplit(".", 1)[-1]: full for full in reversed(names)}  # the first stays
    if same := [full for full in names if full.rsplit(".", 1)[-1] == name]:
        meant = " or ".join(map(repr, same if name in _SHARED_NAMES else same[:1]))
        return f"{key}: unknown key here; did you mean {meant}?"
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"{key}: unknown key; did you mean {near[0]!r}?"
    if near := difflib.get_close_matches(name, list(elsewhere), n=1):
        return f"{key}: unknown key; did you mean {elsewhere[near[0]]!r}?"
    return f"{key}: unknown key; known keys here are {', '.join(known)}"


def _expected(node: Mapping[str, Any]) -> str:
    if "expected" in node:
        return node["expected"]
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    types = node.get("type", [])
    names = [types] if isinstance(types, str) else types
    limits = [f"{phrase} {node[key]}" for key, phrase in _LIMITS if key in node]
    # A limit is about numbers: null comes after it
    last = ["null"] if limits and "null" in names and len(names) > 1 else []
    words = " or ".join(_TYPE_NAMES[name] for name in names if name not in last) or "another value"
    words = " ".join([words, " and ".join(limits)] if limits else [words])
    words += ", or null" if last else ""
    unit = node.get("unit")
    return f"{words} ({unit})" if unit and unit not in ("section", "name", "choice") else words


def _dotted(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        text += (
            f"[{part}]" if isinstance(part, int) else f".{part:.200}" if text else f"{part:.200}"
        )
    return text
