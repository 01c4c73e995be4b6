"""The JSON schema of a study, made from the models of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from flops_fit.study.settings import ImportedStudy, TrainedStudy

DESCRIPTION = (
    "One YAML file describes one study: a model family, a dataset, a loss, and the compute budgets "
    'of an IsoFLOP sweep. Numbers may be written as text ("1e12"), because YAML 1.1 reads 1e12 as '
    "text."
)

_BUDGET = "^[-+.0-9]"  # what keys of maps from budgets begin with, and names of keys do not


def study_schema() -> dict[str, Any]:
    """Return the schema of both kinds of study; ``required`` is that of a study that trains."""
    trained, imported = schema_of(TrainedStudy), schema_of(ImportedStudy)
    kinds = [[name for name in kind["required"] if name != "study"] for kind in (trained, imported)]
    study = {"study": trained["properties"].pop("study")}
    table = {"runs_table": imported["properties"]["runs_table"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flops-fit study",
        "description": DESCRIPTION,
        "type": "object",
        "additionalProperties": False,
        "required": ["study"],
        "oneOf": [
            {"required": own, "properties": dict.fromkeys(others, False)}
            for own, others in (kinds, kinds[::-1])
        ],
        "properties": study | table | trained["properties"],
    }


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of one model in one piece, a node per key."""
    made = model.model_json_schema()
    return _inlined(made, made.get("$defs", {}))


def walk_keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(dotted key, schema node)`` for every key that a study may have, in file order."""
    for name, node in schema.get("properties", {}).items():
        yield prefix + name, node
        yield from walk_keys(node, prefix + name + ".")


def node_at(schema: dict[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
    """Return the node of a key or an item."""
    for part in place:
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            budgets = schema.get("patternProperties", {}).values()
            maps = (schema.get("additionalProperties"), *budgets)
            others = next((node for node in maps if isinstance(node, dict)), {})
            schema = schema.get("properties", {}).get(part, others)
    return schema


def _inlined(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node with its references resolved and its alternatives merged.

    Each keyword applies to one type of value (`pattern` to text, `properties` to sections), so
    merging alternatives of different types changes nothing.
    """
    flat: dict[str, Any] = {}
    if "$ref" in node:
        flat = _inlined(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    for alternative in [*node.get("anyOf", []), *node.get("oneOf", [])]:
        merged = _inlined(alternative, definitions)
        kinds = flat.get("type", [])
        flat["type"] = [*kinds, *(name for name in _types(merged) if name not in kinds)]
        if "properties" in merged and "object" in kinds:
            merged = _beside_map(merged, flat["additionalProperties"])
        flat |= {name: value for name, value in merged.items() if name != "type"}
    for name, value in node.items():
        if name in ("$ref", "$defs", "anyOf", "oneOf", "title"):
            continue
        if name in ("items", "additionalProperties") and isinstance(value, dict):
            flat[name] = _inlined(value, definitions)
        elif name == "properties":
            flat[name] = {key: _inlined(child, definitions) for key, child in value.items()}
        else:
            flat[name] = value
    if "enum" in flat and "null" in _types(flat):  # an enum applies to null as well
        flat["enum"] = [*flat["enum"], None]
    return flat


def _beside_map(section: Mapping[str, Any], item: Any) -> dict[str, Any]:
    """Return a section that may as well be a map from budgets to items.

    One node cannot say that the section's own keys are required of one of the two alone.
    """
    rest = {name: value for name, value in section.items() if name != "required"}
    return rest | {"patternProperties": {_BUDGET: item}}


def _types(node: Mapping[str, Any]) -> list[str]:
    types = node.get("type", [])
    return [types] if isinstance(types, str) else list(types)
