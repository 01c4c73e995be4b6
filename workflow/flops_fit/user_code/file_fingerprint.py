"""The source fingerprint of version 0.1: a hash of whole files, to compare with earlier records.

It sees neither what lies outside the folder of the target's module nor which part of a file is
used; `source_fingerprint` took its place.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from pathlib import Path

from flops_fit.user_code.import_path import import_target


def file_fingerprint(path: str, folder: str | Path, key: str) -> str | None:
    """Return a hash of the source of the module that defines ``package.module:name``.

    Modules that it imports from its own folder count as well; comments, layout, docstrings and the
    version of Python do not. None if the module has no Python source.
    """
    target = import_target(path, folder, key)
    defined = inspect.isclass(target) or inspect.isfunction(target)
    module = target.__module__ if defined else path.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    sources = _local_sources(Path(file), {})
    sources[""] = sources.pop(Path(file).name, "")  # whatever its file name
    text = "\n".join(f"{name}\n{source}" for name, source in sorted(sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _local_sources(file: Path, known: dict[str, str], root: Path | None = None) -> dict[str, str]:
    """Add the plain source of a module, and of its imports below ``root``, to ``known``."""
    root = root or file.parent
    name = file.relative_to(root).as_posix()
    if name in known:
        return known
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return known
    imported = _imported_names(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[:1] = [] if len(body) > 1 else [ast.Pass()]
    known[name] = ast.unparse(tree)
    for module in imported:
        for base in {root, file.parent}:
            place = base.joinpath(*module.split("."))
            for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                if candidate.is_file() and candidate.is_relative_to(root):
                    _local_sources(candidate, known, root)
    return known


def _imported_names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            names.update({prefix} if prefix else ())
            names.update(f"{prefix}.{alias.name}".lstrip(".") for alias in node.names)
    return {name for name in names if name != "*"}
