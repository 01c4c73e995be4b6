"""A raw configuration checked against the schema: coerced, defaults filled in, errors in sentences.

The schema file is the only list of keys, defaults, units and descriptions.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from flops_fit.errors import UserError
from flops_fit.files.plain_values import unfit_value

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schemas" / "study.schema.yaml"

# What YAML 1.1 reads as text although its author meant a number: an exponent without "." and sign.
_EXPONENT_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WHOLE_NUMBER = re.compile(r"[-+]?\d+")
_TYPE_NAMES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
    "null": "null",
}


@cache
def load_schema() -> dict[str, Any]:
    """Return the schema of a study as a dictionary; treat it as read-only."""
    return yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))


def check_configuration(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return ``raw`` coerced, validated and with every default filled in.

    Parameters
    ----------
    raw
        The configuration as a YAML or JSON parser left it.
    source
        The file that the errors name.

    Raises
    ------
    UserError
        One line per mistake: file, key, what was found, what is expected.
    """
    if not isinstance(raw, Mapping):
        raise UserError(f"{source}: found {_shown(raw)}, expected the keys of a study")
    if unfit := unfit_value(raw):
        key, problem = unfit
        raise UserError(f"{source}: {_printable(key or 'the file')}: {problem}")
    schema = load_schema()
    if "runs_table" in raw:
        schema = _schema_of_imports(raw, source)
    config = _fill_defaults(_coerce(copy.deepcopy(dict(raw)), schema), schema)
    errors = sorted(
        _Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.path))
    )
    sentences = [sentence for error in errors for sentence in _sentences(error, schema)]
    sentences += [*_doubled_budgets(raw), *_unfit_kwargs(config)]
    if sentences:
        lines = (f"{source}: {_printable(sentence)}" for sentence in dict.fromkeys(sentences))
        raise UserError("\n".join(lines))
    return config


def _printable(sentence: str) -> str:
    """A key may hold line breaks and control characters, which must not reach a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)


def _schema_of_imports(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the schema of a study that brings its own runs: without the keys of training."""
    schema = copy.deepcopy(load_schema())
    training = [name for name in schema["required"] if name != "study"]
    for name in training:
        if name in raw:
            raise UserError(
                f"{source}: {name}: found beside runs_table, expected one of them: a study that "
                "brings its own runs trains nothing"
            )
        del schema["properties"][name]
    return schema | {"required": ["study", "runs_table"]}


def walk_keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(dotted key, schema node)`` for every key that a study may have, in file order."""
    for name, node in schema.get("properties", {}).items():
        yield prefix + name, node
        yield from walk_keys(node, prefix + name + ".")


def as_number(value: Any) -> Any:
    """Return text that spells a finite number as that number, anything else unchanged."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return value
    return int(value) if _WHOLE_NUMBER.fullmatch(value.strip()) else number


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold: no truth value, no nan, no infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


_TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    # A range does not catch nan, with which every comparison is false.
    type_checker=_TYPES.redefine("number", lambda _, value: _is_number(value)).redefine(
        "integer", lambda _, value: _is_number(value) and _TYPES.is_type(value, "integer")
    ),
)


def _types(node: Mapping[str, Any]) -> list[str]:
    types = node.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _coerce(value: Any, node: Mapping[str, Any]) -> Any:
    """Turn text into numbers and words into choices wherever the schema asks for them."""
    types = _types(node)
    if "enum" in node:
        if value is False and "no" in node["enum"]:  # YAML 1.1 reads a bare no as false
            return "no"
        return str(value) if str(value) in node["enum"] else value
    if isinstance(value, Mapping):
        if "object" not in types:
            return value
        properties, others = node.get("properties", {}), node.get("additionalProperties")
        if not properties and others is None:
            return _coerce_free(value)
        return {
            _text_key(key): _coerce(
                item, properties.get(key, others if isinstance(others, dict) else {})
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_coerce(item, node.get("items", {})) for item in value]
    if "number" in types or "integer" in types:
        if "string" in types and isinstance(value, str) and not _WHOLE_NUMBER.fullmatch(value):
            return value  # a version such as "1.10" is text
        value = as_number(value)
        if isinstance(value, float) and value.is_integer() and "integer" in types:
            return int(value)
        if "integer" not in types and _is_number(value):
            return float(value)
    return value


def _coerce_free(value: Any) -> Any:
    """Keyword arguments: only what YAML 1.1 misread, an unquoted number with an exponent."""
    if isinstance(value, Mapping):
        return {str(key): _coerce_free(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_coerce_free(item) for item in value]
    if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value):
        return as_number(value)
    return value


def _text_key(key: Any) -> str:
    """Keys are text; a numeric key (a budget) is spelled in one way only."""
    number = as_number(key)
    if isinstance(number, int | float) and not isinstance(number, bool):
        return repr(float(number))
    return str(key)


def _fill_defaults(value: Any, node: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    for name, child in node.get("properties", {}).items():
        if name not in value and "default" in child:
            # Coerced as well: a default that is written out must resolve to the same text.
            value[name] = _coerce(child["default"], child)
        if name in value:
            value[name] = _fill_defaults(value[name], child)
    return value


def _doubled_budgets(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every budget that a map names in two spellings."""
    train = raw.get("train")
    for name in ("batch", "lr"):
        value = train.get(name) if isinstance(train, Mapping) else None
        spellings: dict[str, Any] = {}
        for key in value if isinstance(value, Mapping) else ():
            if (text := _text_key(key)) in spellings:
                yield (
                    f"train.{name}: found one budget twice, as {spellings[text]!r} and {key!r}, "
                    "expected each budget once"
                )
            spellings[text] = key


def _unfit_kwargs(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every keyword argument that JSON, and so an id, cannot hold."""
    for section in ("model", "dataset"):
        if isinstance(config.get(section), Mapping):
            yield from _unfit(config[section].get("kwargs"), f"{section}.kwargs")


def _unfit(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _unfit(item, f"{key}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unfit(item, f"{key}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}: found {value!r}, expected a finite number"
    elif not (value is None or isinstance(value, str | bool | int | float)):
        yield (
            f"{key}: found {_shown(value)}, expected text, a number, true or false, null, a list "
            "or a section of keys"
        )


def _sentences(error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> Iterator[str]:
    key = _dotted(error.path)
    if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
        known = list(error.schema.get("properties", {}))
        for name in sorted(set(error.instance) - set(known), key=str):
            yield _unknown_key(f"{key}.{name}" if key else name, name, known, schema)
        return
    if error.validator == "required":
        for name in error.schema["required"]:
            if name not in error.instance:
                child = error.schema.get("properties", {}).get(name, {})
                missing = f"{key}.{name}" if key else name
                yield f"{missing}: is missing, expected {_expected(child)}"
        return
    yield f"{key or 'the file'}: found {_shown(error.instance)}, expected {_expected(error.schema)}"


def _unknown_key(path: str, name: str, known: list[str], schema: Mapping[str, Any]) -> str:
    if spelling := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
        return f"{path}: unknown key; did you mean {spelling[0]!r}?"
    elsewhere = [full for full, _ in walk_keys(schema) if full.rsplit(".", 1)[-1] == name]
    if elsewhere:
        return f"{path}: unknown key here; did you mean {elsewhere[0]!r}?"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"{path}: unknown key; did you mean {near[0]!r}?"
    all_keys = [full.rsplit(".", 1)[-1] for full, _ in walk_keys(schema)]
    if near := difflib.get_close_matches(name, all_keys, n=1):
        full = next(full for full, _ in walk_keys(schema) if full.rsplit(".", 1)[-1] == near[0])
        return f"{path}: unknown key; did you mean {full!r}?"
    return f"{path}: unknown key; known keys here are {', '.join(known)}"


def _expected(node: Mapping[str, Any]) -> str:
    if "expected" in node:
        return node["expected"]
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    words = " or ".join(_TYPE_NAMES[name] for name in _types(node)) or "another value"
    for keyword, phrase in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
        ("minItems", "with at least this many items:"),
    ):
        if keyword in node:
            words += f" {phrase} {node[keyword]}"
    unit = node.get("unit")
    return f"{words} ({unit})" if unit and unit not in ("section", "name", "choice") else words


def _dotted(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
