"""The approaches by their names in fit.json and in fit.approaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from flops_fit.errors import UserError

if TYPE_CHECKING:
    from flops_fit.laws.approach import Approach

_APPROACHES: dict[str, str | Approach] = {
    "1": "flops_fit.laws.approaches.envelope:ENVELOPE",
    "2": "flops_fit.laws.approaches.isoflop:ISOFLOP",
    "3": "flops_fit.laws.approaches.parametric:APPROACH_3",
    "vpnls": "flops_fit.laws.approaches.parametric:VPNLS",
    "bracket": "flops_fit.laws.approaches.bracket:BRACKET",
}
"""The import path of each, or the object itself; in the order of fit.json."""

_ON_REQUEST = frozenset({"bracket"})
"""Those that are fitted only where they are asked for."""


def approach_names() -> tuple[str, ...]:
    """Return the names of all approaches, in the order of fit.json."""
    return tuple(_APPROACHES)


def default_names() -> tuple[str, ...]:
    """Return the names of the approaches that are fitted unless others are asked for."""
    return tuple(name for name in _APPROACHES if name not in _ON_REQUEST)


def approach_named(name: str) -> Approach:
    """Return an approach.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    if name not in _APPROACHES:
        raise UserError(f"there is no approach {name!r}; available: {', '.join(_APPROACHES)}")
    found = _APPROACHES[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(import_module(module), attribute)
    return found


def reference_approach() -> Approach:
    """Return the approach whose profiles and hold-out errors are the standard for the others."""
    return next(found for name in _APPROACHES if (found := approach_named(name)).is_reference)


def lending_approach() -> Approach:
    """Return the approach whose surface lends its E if an offset cannot be fitted."""
    return next(found for name in _APPROACHES if (found := approach_named(name)).lends_offset)


@contextmanager
def registered(approach: Approach) -> Iterator[None]:
    """Register one more approach, as the last, while the block runs."""
    if approach.name in _APPROACHES:
        raise ValueError(f"There is an approach {approach.name!r} already.")
    _APPROACHES[approach.name] = approach
    try:
        yield
    finally:
        del _APPROACHES[approach.name]
