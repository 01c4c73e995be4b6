"""What one module defines, imports and does when it is imported, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

_COMPOUND = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Import:
    """What an import statement binds: a module, or a name of a module."""

    module: str
    name: str | None = None  # None: the module itself; "*": all its public names


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSource:
    """The parts of a module that a target may use. Statements are those at its top level."""

    name: str
    package: str  # that relative imports start from
    statements: tuple[ast.stmt, ...]  # without docstrings, in the order of the file
    bound: dict[str, list[int]] = field(default_factory=dict)  # name -> statements that bind it
    imports: dict[str, list[Import]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)


def read_module(name: str, path: Path) -> ModuleSource | None:
    """Return the source of a module; None if it cannot be parsed."""
    try:
        return _parsed(name, path.name == "__init__.py", path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def _parsed(name: str, is_package: bool, content: bytes) -> ModuleSource:
    tree = ast.parse(content)
    _drop_docstrings(tree)
    package = name if is_package else name.rpartition(".")[0]
    found = ModuleSource(
        name=name,
        package=package,
        statements=tuple(s for s in tree.body if not _never_runs_on_import(s)),
    )
    for i, statement in enumerate(found.statements):
        for bound, source in imports_in(statement, package, own_scope=True):
            if source.name == "*":
                found.stars.append(source.module)
            else:
                found.imports.setdefault(bound, []).append(source)
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for bound in _names_bound(statement):
                found.bound.setdefault(bound, []).append(i)
    return found


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[:1] = [] if len(body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]


def _never_runs_on_import(statement: ast.stmt) -> bool:
    """Whether it is for type checkers or for the module as a script."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name):
        return test.left.id == "__name__"
    return getattr(test, "attr", getattr(test, "id", None)) == "TYPE_CHECKING"


def imports_in(
    node: ast.AST, package: str, *, own_scope: bool = False
) -> Iterator[tuple[str, Import]]:
    """Yield (bound name, what it is) of the import statements in a statement.

    Parameters
    ----------
    package
        That relative imports start from.
    own_scope
        Whether to leave out those in functions and classes.
    """
    for child in _walk(node, own_scope=own_scope):
        if isinstance(child, ast.Import):
            for alias in child.names:
                if alias.asname:
                    yield alias.asname, Import(alias.name)
                else:  # `import a.b` binds a, and imports a.b as well
                    top = alias.name.partition(".")[0]
                    yield top, Import(top)
                    if top != alias.name:
                        yield alias.name, Import(alias.name)
        elif isinstance(child, ast.ImportFrom):
            module = _absolute(child.module or "", child.level, package)
            for alias in child.names:
                yield alias.asname or alias.name, Import(module, alias.name)


def _absolute(module: str, level: int, package: str) -> str:
    if not level:
        return module
    base = package.split(".")[: len(package.split(".")) - (level - 1)]
    return ".".join([*base, *([module] if module else [])])


def _walk(node: ast.AST, *, own_scope: bool) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if not (own_scope and isinstance(one, _SCOPES)):
            waiting += reversed(list(ast.iter_child_nodes(one)))


def _names_bound(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds in its module."""
    names: set[str] = set()
    for node in _walk(statement, own_scope=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.TypeAlias if hasattr(ast, "TypeAlias") else ()):
            names.add(node.name.id)
    for node in ast.walk(statement):  # a function may bind names of the module, too
        if isinstance(node, ast.Global):
            names.update(node.names)
    return names


def acts_on_import(statement: ast.stmt, comes_from: Callable[[str], str]) -> bool:
    """Return whether importing the module does more here than to bind names of its own.

    A decorator, a call or an assignment into another object may register what is defined or change
    what others use.

    Parameters
    ----------
    comes_from
        For the first name of an expression, where that comes from: ``own`` code, an installed
        ``package``, or a ``base`` library, which is known not to register anything.
    """

    def sources(nodes: list[ast.expr]) -> set[str]:
        return {comes_from(root) for node in nodes if (root := _root(node))}

    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass | ast.Global):
        return False
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(sources(statement.decorator_list) - {"base"})
    if isinstance(statement, ast.ClassDef):
        return bool(statement.keywords) or bool(sources(statement.decorator_list) - {"base"})
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        named = all(isinstance(t, ast.Name | ast.Tuple | ast.List) for t in targets)
        calls = [n.func for n in ast.walk(statement) if isinstance(n, ast.Call)]
        return not named or "own" in sources(calls)
    if isinstance(statement, _COMPOUND):
        inner = [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt)]
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            inner += part.body
        return isinstance(statement, ast.With) or any(acts_on_import(s, comes_from) for s in inner)
    return not isinstance(statement, getattr(ast, "TypeAlias", ()))


def _root(node: ast.expr) -> str | None:
    """Return the first name of ``a``, ``a.b``, ``a(...)``, ``a.b(...).c``."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
