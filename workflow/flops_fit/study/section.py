"""Declares a key of a study in one place, with its type, default, unit and description."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

ONE, LIST, KEYS, NAME, RULE = SPELLINGS = ("<one>", "<list>", "<keys>", "<name>", "<rule>")
"""The spelling a setting uses: a single value, a list, a section or map, or, beside a number and a
map, the name of a rule and the keys of one."""


def _spelling(value: Any) -> str:
    if isinstance(value, Mapping | BaseModel):
        return KEYS
    return LIST if isinstance(value, list | tuple) else ONE


def spelled(*, names: Collection[str] = (), **spellings: Any) -> Any:
    """Return the type of a setting with several spellings.

    Parameters
    ----------
    names
        The texts that ``name=`` is for.
    spellings
        ``one=``, ``list=``, ``keys=``, ``name=``, and ``rule=``, a section that is told from a map
        by its keys.
    """
    tags = {"one": ONE, "list": LIST, "keys": KEYS, "name": NAME, "rule": RULE}
    rule_keys = spellings["rule"].model_fields if "rule" in spellings else ()

    def discriminate(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return NAME
        is_map = isinstance(value, Mapping)
        if rule_keys and (isinstance(value, BaseModel) or (is_map and set(rule_keys) & set(value))):
            return RULE
        return _spelling(value)

    union = None
    for name, spelling in spellings.items():
        tagged = Annotated[spelling, Tag(tags[name])]
        union = tagged if union is None else union | tagged
    return Annotated[union, Discriminator(discriminate)]


def key(description: str, unit: str, *, expected: str | None = None, **default: Any) -> Any:
    """Return a setting with its meaning, its unit, and the text for "expected" in errors.

    Without ``default`` or ``default_factory`` it is required.
    """
    extra = {"unit": unit} | ({"expected": expected} if expected else {})
    return Field(**default, description=description, json_schema_extra=extra)


def section(description: str, **default: Any) -> Any:
    """Return a setting that is a section of keys; ``default={}`` makes it optional."""
    return key(description, "section", **default)


class Section(BaseModel):
    """Keys with values; defaults are checked and coerced like values from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
