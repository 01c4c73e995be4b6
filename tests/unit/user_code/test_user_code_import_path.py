"""The user's code is found by its import path, and what is not found is a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.user_code.import_path import import_target, named_error
from user_code_examples import GOOD, sentence


def test_targets_are_found_in_the_environment_and_in_the_folder(tmp_path, user_module):
    import math

    assert import_target("math:sqrt", tmp_path, "loss") is math.sqrt
    name = user_module("class A:\n    class B:\n        @staticmethod\n        def c(): return 7\n")
    assert import_target(f"{name}:A.B.c", tmp_path, "loss")() == 7
    user_module("def f(): return 8", "package_of_mine.part")
    assert import_target("package_of_mine.part:f", tmp_path, "loss")() == 8


def test_the_environment_comes_before_the_folder(tmp_path, user_module):
    """A file of the user's that is called like a library must not replace it for the others."""
    user_module("raise RuntimeError", "fractions")
    from fractions import Fraction

    sys.modules.pop("fractions")
    try:
        found = import_target("fractions:Fraction", tmp_path, "loss")
        assert found(1, 2) == Fraction(1, 2)
    finally:
        sys.modules["fractions"] = sys.modules[Fraction.__module__]


def test_a_missing_module_says_where_it_was_searched(tmp_path):
    assert sentence(import_target, "no_such_module:Model", tmp_path, "model.target") == (
        "model.target: found no module 'no_such_module' for 'no_such_module:Model'; expected it in "
        f"the environment of {sys.executable} or as a file in {tmp_path}"
    )


@pytest.mark.parametrize("module", ["json.no_such_part", "math.no_such_part", "a..b", "json..b"])
def test_a_missing_part_of_a_package_is_a_missing_module(tmp_path, module):
    message = sentence(import_target, f"{module}:name", tmp_path, "loss")
    assert message.startswith("loss: found no module ")
    assert f" for '{module}:name'" in message


def test_a_module_that_imports_a_missing_one_names_it(tmp_path, user_module):
    name = user_module("import no_such_library")
    assert sentence(import_target, f"{name}:Model", tmp_path, "model.target") == (
        f"model.target: {name!r} imports 'no_such_library', which is not installed in the "
        f"environment of {sys.executable}"
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("def broken(:", "SyntaxError: "),
        ("from math import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        # a script without `if __name__ == "__main__"` that parses its arguments
        ("import sys\nsys.exit(2)", "SystemExit: 2"),
    ],
)
def test_a_module_that_fails_at_import_says_how(tmp_path, user_module, text, cause):
    name = user_module(text)
    message = sentence(import_target, f"{name}:Model", tmp_path, "loss")
    assert message.startswith(f"loss: importing {name!r} failed with {cause}")
    assert message.endswith(f"try `python -c 'import {name}'` in {tmp_path}")


def test_a_missing_attribute_names_those_that_exist(tmp_path, user_module):
    name = user_module("_hidden = 1\ndef first(): ...\nclass Second: ...\n")
    assert sentence(import_target, f"{name}:Modle", tmp_path, "model.target") == (
        f"model.target: {name!r} ({tmp_path / name}.py) has no 'Modle'; "
        "expected one of its public names: first, Second"
    )
    assert sentence(import_target, f"{name}:Second.part", tmp_path, "loss").startswith(
        f"loss: {name!r} ({tmp_path / name}.py) has no 'part'"
    )
    empty = user_module("")
    assert sentence(import_target, f"{empty}:Model", tmp_path, "loss").endswith("it has none")


def test_what_cannot_be_called_is_no_target(tmp_path, user_module):
    name = user_module(GOOD)
    assert sentence(import_target, f"{name}:number", tmp_path, "loss") == (
        f"loss: '{name}:number' is int, expected a callable"
    )


@pytest.mark.parametrize("name", ["train", "plan", "fit"])
def test_a_users_module_may_be_called_like_one_of_our_scripts(tmp_path, monkeypatch, name):
    scripts = Path(flops_fit.__file__).resolve().parents[1] / "scripts"
    monkeypatch.setattr(sys, "path", [str(scripts), *sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / f"{name}.py").write_text("def Mine(): ...\n")
    assert import_target(f"{name}:Mine", tmp_path, "model.target").__name__ == "Mine"
    monkeypatch.delitem(sys.modules, name)


def test_an_error_is_named_in_one_line():
    assert named_error(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert named_error(KeyError()) == "KeyError"
    assert len(named_error(ValueError("x" * 1000))) < 320
