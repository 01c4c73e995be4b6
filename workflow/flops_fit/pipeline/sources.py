"""Which library files a script imports: an analysis runs again when one of them has changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_PACKAGE = "flops_fit"
_STARTS = (f"from {_PACKAGE}", f"import {_PACKAGE}")
_MOST_LINES = 100  # of one import statement
_IMPORT_PATH = re.compile(rf"""["']({_PACKAGE}(?:\.\w+)+)(?::\w+)?["']""")


def imported_sources(script: str | Path, search_folder: str | Path) -> list[Path]:
    """Return a script and the modules of this library that it imports, directly or through others.

    Imports are parsed, not executed, so this takes milliseconds and needs no torch. Imports inside
    functions and for type checking count, too, and so do quoted import paths, with which a registry
    names its modules: they may matter, and rerunning an analysis is cheap.

    Parameters
    ----------
    script
        Path of a Python file.
    search_folder
        Folder that holds the package ``flops_fit``.
    """
    folder = Path(search_folder)
    found: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _modules_imported_by(path, folder)
    return sorted(found)


@cache  # the rules share most modules
def _modules_imported_by(path: Path, folder: Path) -> tuple[Path, ...]:
    names = _imported_names(path.read_text(encoding="utf-8").splitlines())
    return tuple(dict.fromkeys(module for name in names for module in _files_of(name, folder)))


def _imported_names(lines: Sequence[str]) -> Iterator[str]:
    """Yield possible dotted names of modules: ``from a import b`` may mean the module a.b.

    Only the import statements are parsed: parsing a whole module takes ten times as long.
    """
    for i, line in enumerate(lines):
        yield from _IMPORT_PATH.findall(line)
        if not line.lstrip().startswith(_STARTS):
            continue
        for node in _statement(lines[i : i + _MOST_LINES]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statement(lines: Sequence[str]) -> list[ast.stmt]:
    """Return the statement at the start of the lines; nothing if they are prose."""
    for n in range(1, len(lines) + 1):
        try:
            return ast.parse("\n".join(lines[:n]).strip()).body
        except SyntaxError:
            continue  # a parenthesis is still open
    return []


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files of a module and its parent packages, if they belong to this library."""
    parts = name.split(".")
    if parts[0] != _PACKAGE:
        return
    for n in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:n])
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if path.is_file():
                yield path
