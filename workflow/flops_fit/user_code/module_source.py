"""What one module defines, imports and does when it is imported, from its syntax tree."""

from __future__ import annotations

import ast
import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from flops_fit.user_code.syntax_text import Survey, is_text, survey

_COMPOUND = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match)
_CHANGING = frozenset({"setattr", "delattr", "exec", "eval"})  # built-in functions
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


P = ParamSpec("P")
R = TypeVar("R")


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
    choosing: dict[str, list[int]] = field(default_factory=dict)  # ... that choose what is imported
    imports: dict[str, list[Import]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    _surveys: dict[int, Survey] = field(default_factory=dict)

    def survey(self, i: int) -> Survey:
        """Return what the i-th statement mentions and imports, and its text."""
        if i not in self._surveys:
            self._surveys[i] = survey(self.statements[i])
        return self._surveys[i]

    def all_imports(self, i: int) -> Iterator[tuple[str, Import]]:
        """Yield (bound name, what it is) of the imports in the i-th statement."""
        return _bindings(self.survey(i).imports, self.package)

    def imports_when_run(self, i: int) -> Iterator[tuple[str, Import]]:
        """Yield the same without those in functions and classes."""
        return _bindings(own_scope_of(self.statements[i]), self.package)


def read_module(name: str, path: Path) -> ModuleSource | None:
    """Return the source of a module; None if it cannot be parsed."""
    try:
        return _parsed(name, path.name == "__init__.py", path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def without_garbage_collection(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function without collections, which take most of the time while trees are parsed."""

    @wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*arguments, **keywords)
        finally:
            if was_on:
                gc.enable()

    return call


def file_hash(path: Path) -> str:
    """Return a hash of a file's bytes, which stands for a module that cannot be parsed."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return "unreadable"


@lru_cache(maxsize=4096)
def _parsed(name: str, is_package: bool, content: bytes) -> ModuleSource:
    tree = ast.parse(content)
    package = name if is_package else name.rpartition(".")[0]
    found = ModuleSource(
        name=name,
        package=package,
        statements=tuple(
            one for one in tree.body if not (_never_runs_on_import(one) or is_text(one))
        ),
    )
    for i, statement in enumerate(found.statements):
        for bound, source in found.imports_when_run(i):
            if source.name == "*":
                found.stars.append(source.module)
                continue
            found.imports.setdefault(bound, []).append(source)
            if isinstance(statement, _COMPOUND):
                found.choosing.setdefault(bound, []).append(i)
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for bound in _names_bound(statement, look_inside=b"global " in content):
                found.bound.setdefault(bound, []).append(i)
    return found


def _never_runs_on_import(statement: ast.stmt) -> bool:
    """Whether it is for type checkers or for the module as a script."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name):
        main = [getattr(one, "value", None) for one in test.comparators] == ["__main__"]
        return test.left.id == "__name__" and isinstance(test.ops[0], ast.Eq) and main
    return getattr(test, "attr", getattr(test, "id", None)) == "TYPE_CHECKING"


def _bindings(nodes: Iterable[ast.AST], package: str) -> Iterator[tuple[str, Import]]:
    for child in nodes:
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


def own_scope_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, but for what lies within its functions and classes."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if not isinstance(one, _SCOPES):
            waiting += reversed(list(ast.iter_child_nodes(one)))


def _names_bound(statement: ast.stmt, *, look_inside: bool) -> set[str]:
    """Return the names that a top-level statement binds in its module.

    Parameters
    ----------
    look_inside
        Whether functions may bind some.
    """
    names: set[str] = set()
    for node in own_scope_of(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, ast.TypeAlias if hasattr(ast, "TypeAlias") else ()):
            names.add(node.name.id)
    for node in ast.walk(statement) if look_inside else ():
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

    def sources(nodes: Iterable[ast.expr]) -> set[str]:
        return {comes_from(root) for node in nodes if (root := _root(node))}

    def calls_own(node: ast.AST) -> bool:
        calls = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
        return bool(_CHANGING & {_root(one) for one in calls}) or "own" in sources(calls)

    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass | ast.Global):
        return False
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False  # a docstring
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(sources(statement.decorator_list) - {"base"})
    if isinstance(statement, ast.ClassDef):
        if statement.keywords or sources(statement.decorator_list) - {"base"}:
            return True
        return any(_acts_in_class(one, comes_from, sources) for one in statement.body)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        named = all(isinstance(t, ast.Name | ast.Tuple | ast.List) for t in targets)
        return not named or calls_own(statement)
    if isinstance(statement, _COMPOUND):
        inner = [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt)]
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            inner += part.body
        deciding = [getattr(statement, name, None) for name in ("test", "iter", "subject")]
        if isinstance(statement, ast.With) or any(calls_own(one) for one in deciding if one):
            return True
        return any(acts_on_import(one, comes_from) for one in inner)
    return not isinstance(statement, getattr(ast, "TypeAlias", ()))


def _acts_in_class(
    statement: ast.stmt,
    comes_from: Callable[[str], str],
    sources: Callable[[Iterable[ast.expr]], set[str]],
) -> bool:
    """The same of a statement in the body of a class, where decorators of libraries are usual."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return "own" in sources(statement.decorator_list)
    return acts_on_import(statement, comes_from)


def _root(node: ast.expr) -> str | None:
    """Return the first name of ``a``, ``a.b``, ``a(...)``, ``a.b(...).c``."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
