"""Modules as a user would write them, beside a configuration file in a temporary folder."""

from __future__ import annotations

import importlib
import itertools
import sys
from textwrap import dedent

import pytest

_NUMBERS = itertools.count()


@pytest.fixture
def user_module(tmp_path):
    """Return a function that writes a module to ``tmp_path`` and returns its name.

    Names are never used twice, and what was imported is forgotten after the test.
    """
    path, modules = list(sys.path), set(sys.modules)

    def write(text: str, name: str | None = None) -> str:
        name = name or f"user_module_{next(_NUMBERS)}"
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        importlib.invalidate_caches()
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
