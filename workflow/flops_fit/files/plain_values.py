"""What a parser of YAML or JSON may return although nothing can work with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEEPEST = 50
_MOST_VALUES = 100_000  # anchors that repeat each other make billions out of a few lines
_MOST_BITS = 4000  # of a whole number: about 1200 digits
_LONGEST_KEY = 200


def unfit_value(content: Any, *, finite: bool = False) -> tuple[str, str] | None:
    """Return the key of the first unfit value and what is wrong with it, or None.

    Unfit are values nested too deeply (also into themselves), too many of them, whole numbers of
    thousands of digits, and text that no file can hold (half of a surrogate pair).

    Parameters
    ----------
    content
        Mappings, lists and single values, as they were parsed.
    finite
        Whether infinity and nan are unfit, too.
    """
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    seen = 0
    while waiting:
        key, value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            return "", f"found more than {_MOST_VALUES} values, expected fewer"
        if depth > DEEPEST:
            return key, f"found values nested more than {DEEPEST} deep, expected less"
        if problem := _problem_of_one(value, finite=finite):
            return key, problem
        if isinstance(value, Mapping):
            for name in value:
                if problem := _problem_of_one(name, finite=False):
                    return key, problem
            children = [(f"{key}.{_shown(name)}" if key else _shown(name), name) for name in value]
            waiting += [(child, value[name], depth + 1) for child, name in reversed(children)]
        elif isinstance(value, list | tuple):
            waiting += [(f"{key}[{i}]", value[i], depth + 1) for i in range(len(value))][::-1]
    return None


def _shown(name: Any) -> str:
    return str(name)[:_LONGEST_KEY]


def _problem_of_one(value: Any, *, finite: bool) -> str | None:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        digits = round(value.bit_length() * math.log10(2))
        return f"found a whole number of about {digits} digits, expected a smaller one"
    if finite and isinstance(value, float) and not math.isfinite(value):
        return f"found {value!r}, expected a finite number"
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return f"found {ascii(value)[:80]}, expected text that UTF-8 can spell"
    return None
