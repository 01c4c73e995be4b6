"""The limits that keep a file, a function and a script readable at one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LONGEST_SCRIPT = 25
LONGEST_COMMON_RULES = 120
PARTS = ("workflow", "tests", "benchmarks", "config", "envs")
PYTHON_FILES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
RULE_FILES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])


def n_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def lengths_of_functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each function and its lines, from its first decorator to its end."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield node.name, node.end_lineno - first + 1


def test_the_files_are_found():
    names = {path.relative_to(ROOT).as_posix() for path in PYTHON_FILES}
    assert {"workflow/flops_fit/errors.py", "workflow/scripts/train.py"} <= names
    assert ROOT / "workflow" / "rules" / "common.smk" in RULE_FILES


def test_functions_are_measured_with_their_decorators():
    source = "@one\n@two(\n    3\n)\ndef f():\n    def g():\n        pass\n    return g\n"
    assert dict(lengths_of_functions(ast.parse(source))) == {"f": 8, "g": 2}


def test_no_file_is_too_long():
    lengths = {path.relative_to(ROOT).as_posix(): n_lines(path) for path in PYTHON_FILES}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_too_long():
    found = {}
    for path in PYTHON_FILES:
        for name, n in lengths_of_functions(ast.parse(path.read_text(encoding="utf-8"))):
            if n > LONGEST_FUNCTION:
                found[f"{path.relative_to(ROOT).as_posix()}: {name}"] = n
    assert found == {}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow" / "scripts").glob("*.py")), ids=lambda p: p.name
)
def test_a_script_is_thin(path):
    assert n_lines(path) <= LONGEST_SCRIPT


def test_the_rules_common_code_fits_on_two_screens():
    assert n_lines(ROOT / "workflow" / "rules" / "common.smk") <= LONGEST_COMMON_RULES
    assert {
        path.name: n_lines(path) for path in RULE_FILES if n_lines(path) > LONGEST_COMMON_RULES
    } == {}


def test_no_two_test_files_share_a_name():
    """Pytest imports them by their names alone, and leaves out the second of a pair."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) > 100
    assert {name for name in names if names.count(name) > 1} == set()
