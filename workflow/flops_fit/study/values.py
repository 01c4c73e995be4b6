"""The types of single settings: how text becomes a number, and what is refused.

Each type is a pydantic annotation that reads what YAML 1.1 makes of a value (``5e10`` is text, a
bare ``no`` is false) and is strict otherwise: true is not a number, and 7 is not text.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, StringConstraints
from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    ValidationError,
)

from flops_fit.laws.approaches.registry import approach_names, default_names

# YAML 1.1 reads a number with an exponent but without "." and sign as text.
_EXPONENT_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WHOLE_NUMBER = re.compile(r"[-+]?\d+")
_IMPORT_PATH = "[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"

CODE_WANTED = "an import path 'package.module:name'"
SENTENCE = "sentence"
"""Type of errors whose message is complete except for the file and the key."""


def sentence(text: str) -> PydanticCustomError:
    """Return an error to raise from a validator; its key is that of the value."""
    return PydanticCustomError(SENTENCE, "{text}", {"text": text})


def misfit() -> PydanticCustomError:
    """Return an error to raise where "found this, expected that" says enough."""
    return PydanticCustomError("misfit", "misfit")


def mistakes_below(title: str, found: Sequence[tuple[tuple[str | int, ...], str]]) -> Exception:
    """Return an error of several sentences, each with its place below the value in question."""
    details = [InitErrorDetails(type=sentence(text), loc=loc, input=None) for loc, text in found]
    return ValidationError.from_exception_data(title, details)


def shown(value: Any) -> str:
    """Return a value as an error shows it: as it was written, in readable length."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else text[:77] + "..."


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
    """Whether a value is a finite number that a float can hold, and not a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _read_number(value: Any) -> float:
    value = as_number(value)
    if not _is_number(value):
        raise misfit()
    return float(value)


def _read_whole(value: Any) -> int:
    value = as_number(value)
    if not _is_number(value) or not float(value).is_integer():
        raise misfit()
    return int(value)


def _read_number_or_text(value: Any) -> float | str:
    value = as_number(value)
    if _is_number(value) and value > 0:
        return float(value)
    if not isinstance(value, str) or not value:
        raise misfit()
    return value


def _read_version(value: Any) -> int | str:
    """A version such as "1.10" is text."""
    if isinstance(value, str) and not _WHOLE_NUMBER.fullmatch(value):
        return value
    value = as_number(value)
    return value if isinstance(value, str) else _read_whole(value)


def _read_key(key: Any) -> str:
    """Keys are text; a numeric key (a budget) is spelled in one way only."""
    number = as_number(key)
    return repr(float(number)) if _is_number(number) else str(key)


def _read_choice(value: Any, *, choices: tuple[str, ...]) -> Any:
    if value is False and "no" in choices:  # YAML 1.1 reads a bare no as false
        return "no"
    return str(value) if str(value) in choices else value


def _read_approach(value: Any) -> str:
    if str(value) not in approach_names():
        raise misfit()
    return str(value)


def _approaches_wanted() -> dict[str, Any]:
    names = approach_names()
    expected = f"a list of approaches out of {', '.join(names)}"
    return {"default": list(default_names()), "expected": expected}


def _read_items(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read_map(value: Any) -> Any:
    """Refuse a map with two spellings of the same budget."""
    spellings: dict[str, Any] = {}
    for key in value if isinstance(value, Mapping) else ():
        if (text := _read_key(key)) in spellings:
            raise sentence(
                f"found one budget twice, as {spellings[text]!r} and {key!r}, expected each budget "
                "once"
            )
        spellings[text] = key
    return value


def _check_budgets(value: dict[str, Any]) -> dict[str, Any]:
    for key in value:
        if not _is_number(as_number(key)):
            raise sentence(f"found the key {shown(key)}, expected a budget in FLOPs")
    return value


def check_distinct(numbers: Sequence[float]) -> Sequence[float]:
    """Refuse a list that holds a number twice."""
    for number, following in itertools.pairwise(sorted(numbers)):
        if number == following:
            raise sentence(f"found {number:g} twice, expected different numbers")
    return numbers


def _check_unique(items: Sequence[Any]) -> Sequence[Any]:
    if len(set(items)) < len(items):
        raise misfit()
    return items


def _check_ascending_pair(pair: tuple[float, ...]) -> tuple[float, ...]:
    low, high = pair
    if low >= high:
        raise sentence(f"found [{low:g}, {high:g}], expected the smaller number first")
    return pair


def _check_study_name(name: str) -> str:
    if name == "data":  # the folder of the prepared datasets
        raise misfit()
    return name


def _read_kwargs(value: Any) -> Any:
    """Correct in keyword arguments only what YAML 1.1 misreads: numbers with an exponent."""
    if isinstance(value, Mapping) and (unfit := list(_unfit(value, ()))):
        raise mistakes_below("kwargs", unfit)
    return _as_meant(value)


def _as_meant(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_meant(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_meant(item) for item in value]
    if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value):
        return as_number(value)
    return value


def _unfit(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield place and sentence for every argument that JSON, and so an id, cannot hold."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _unfit(item, (*place, str(name)))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _unfit(item, (*place, i))
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"found {value!r}, expected a finite number"
    elif not (value is None or isinstance(value, str | bool | int | float)):
        yield (
            place,
            f"found {shown(value)}, expected text, a number, true or false, null, a list or a "
            "section of keys",
        )


class _Schema:
    """Adds to the JSON schema of a type; a function, where it depends on what is registered."""

    def __init__(self, more: Callable[[], dict[str, Any]]) -> None:
        self.more = more

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return handler(schema) | self.more()


def number(**limits: float) -> Any:
    """Return the type of a finite number within limits."""
    return Annotated[float, Strict(), Field(**limits), BeforeValidator(_read_number)]


def whole(**limits: int) -> Any:
    """Return the type of a whole number within limits."""
    return Annotated[int, Strict(), Field(**limits), BeforeValidator(_read_whole)]


def choice(*choices: str) -> Any:
    """Return the type of a choice among words; a number may stand for the word it spells."""
    return Annotated[Literal[choices], BeforeValidator(partial(_read_choice, choices=choices))]


def list_of(item: Any, *checks: Callable[[Any], Any], **limits: Any) -> Any:
    """Return the type of a list that is read into a tuple."""
    checked = tuple(map(AfterValidator, checks))
    return Annotated[
        (tuple[item, ...], Strict(), Field(**limits), *checked, BeforeValidator(_read_items))
    ]


def budget_map_of(item: Any) -> Any:
    """Return the type of a map from budgets, each in its one spelling."""
    return Annotated[
        dict[Annotated[str, BeforeValidator(_read_key)], item],
        Field(min_length=1),
        AfterValidator(_check_budgets),
        BeforeValidator(_read_map),
    ]


def distinct_list_of(item: Any, **limits: Any) -> Any:
    """Return the type of a list of different items."""
    items = list_of(item, _check_unique, **limits)
    return Annotated[items, _Schema(lambda: {"uniqueItems": True})]


Text = Annotated[str, Strict()]
NumberOrText = Annotated[
    Any,
    BeforeValidator(_read_number_or_text),
    _Schema(lambda: {"type": ["number", "string"], "exclusiveMinimum": 0}),
]
Approaches = Annotated[
    distinct_list_of(
        Annotated[
            str, BeforeValidator(_read_approach), _Schema(lambda: {"enum": list(approach_names())})
        ],
        min_length=1,
    ),
    _Schema(_approaches_wanted),
]
Flag = Annotated[bool, Strict()]
Positive = number(gt=0)
PositiveWhole = whole(ge=1)
PositivePair = list_of(Positive, _check_ascending_pair, min_length=2, max_length=2)
ImportPath = Annotated[str, Strict(), StringConstraints(pattern=f"^{_IMPORT_PATH}$")]
AdamWOrImportPath = Annotated[str, Strict(), StringConstraints(pattern=f"^(adamw|{_IMPORT_PATH})$")]
ArgumentName = Annotated[str, Strict(), StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
LossUnit = Annotated[
    str, Strict(), StringConstraints(pattern="^((nats|bits)_per_[A-Za-z][A-Za-z0-9_]*|other)$")
]
StudyName = Annotated[
    str,
    Strict(),
    StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    AfterValidator(_check_study_name),
    _Schema(lambda: {"not": {"const": "data"}}),
]
Names = dict[Annotated[str, BeforeValidator(_read_key)], Text]
Factors = dict[Annotated[str, BeforeValidator(_read_key)], Positive]
Kwargs = Annotated[dict[str, Any], BeforeValidator(_read_kwargs)]
Version = Annotated[int | str, BeforeValidator(_read_version)]
