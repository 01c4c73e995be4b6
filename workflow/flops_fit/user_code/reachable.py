"""Which code a target uses: the definitions that can be reached from it in the syntax trees.

A definition is a statement at the top level of a module. Reached are those that bind the target's
name; those that bind a name which occurs in a reached one, here or in the module that it is
imported from, inside functions as well; and what a module does when it is imported, since that may
register something (`acts_on_import`). Over-approximating is safe, as it asks about an edit that
changed nothing; but a function that nothing reached mentions does not count.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field

from flops_fit.user_code.module_places import ENVIRONMENT, ModulePlaces
from flops_fit.user_code.module_source import (
    Import,
    ModuleSource,
    acts_on_import,
    imports_in,
    read_module,
)

# What finds code that no syntax tree shows.
_IMPORTERS = frozenset(
    {"import_module", "exec_module", "run_path", "run_module", "entry_points", "iter_modules",
     "walk_packages"}
)  # fmt: skip
_BUILT_IN_IMPORTERS = frozenset({"__import__", "exec", "eval"})  # `model.eval()` is none
_OWN_NAMESPACE = frozenset({"globals", "vars", "locals"})


@dataclass(slots=True, kw_only=True)
class Reached:
    """What was found from one target."""

    used: dict[str, set[int]] = field(default_factory=dict)  # module -> its statements
    names: set[str] = field(default_factory=set)  # "module: name -> where it is imported from"
    packages: set[str] = field(default_factory=set)  # name==version
    files: dict[str, str] = field(default_factory=dict)  # module -> file, of own modules
    dynamic: bool = False  # whether it imports by names that are computed


class Search:
    """One search from a target.

    Parameters
    ----------
    places
        Tells own code from installed packages.
    """

    def __init__(self, places: ModulePlaces) -> None:
        self.places = places
        self.found = Reached()
        self._sources: dict[str, ModuleSource | None] = {}
        self._waiting: list[tuple[str, int]] = []
        self._imported: set[str] = set()
        self._asked: set[tuple[str, str]] = set()

    def add_target(self, module: str, name: str) -> None:
        """Reach a name of a module."""
        self._import(module)
        if not self._use(module, name):
            self.add_whole(module)
        self._run()

    def add_whole(self, module: str) -> None:
        """Reach everything in a module."""
        self._import(module)
        self._use_all(module)
        self._run()

    def text(self) -> str:
        """Return the reached code, free of comments, docstrings and layout."""
        lines = sorted(self.found.names)
        for module in sorted(self.found.used):
            source = self._source(module)
            lines.append(f"[{module}]")
            lines += [ast.unparse(source.statements[i]) for i in sorted(self.found.used[module])]
        return "\n".join([*lines, *sorted(self.found.packages)])

    def _source(self, module: str) -> ModuleSource | None:
        """Return the syntax tree of an own module, None for all others."""
        if module not in self._sources:
            place = self.places.of(module)
            own = place.own if place else None
            source = read_module(module, own) if own and own.suffix == ".py" else None
            if own:
                self.found.files[module] = str(own)
            self._sources[module] = source
        return self._sources[module]

    def _import(self, module: str) -> None:
        """Reach what importing a module does, its parent packages and its own imports included."""
        parts = module.split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[:n])
            if name in self._imported:
                continue
            self._imported.add(name)
            source = self._source(name)
            if source is None:
                continue
            for i, statement in enumerate(source.statements):
                for _, what in imports_in(statement, source.package, own_scope=True):
                    self._import_of(what)
                if self._acts_on_import(name, statement):
                    self._use_statement(name, i)

    def _acts_on_import(self, module: str, statement: ast.stmt) -> bool:
        if acts_on_import(statement, lambda root: self._origin(module, root)):
            return True
        return isinstance(statement, ast.ClassDef) and self._registers(module, statement)

    def _import_of(self, what: Import) -> None:
        self._import(what.module)
        if what.name not in (None, "*") and self._is_own(f"{what.module}.{what.name}"):
            self._import(f"{what.module}.{what.name}")

    def _is_own(self, module: str) -> bool:
        place = self.places.of(module)
        return place is not None and place.own is not None

    def _origin(self, module: str, root: str) -> str:
        """Return where a name of a module comes from: own, package or base."""
        source = self._source(module)
        kinds = set()
        for what in source.imports.get(root, ()):
            place = self.places.of(what.module)
            top = what.module.partition(".")[0]
            if place is None or top in ENVIRONMENT:
                kinds.add("base")
            else:
                kinds.add("own" if place.own else "package")
        if root in source.bound or "own" in kinds:
            return "own"
        if kinds:
            return "package" if "package" in kinds else "base"
        return "base" if hasattr(builtins, root) or not source.stars else "own"

    def _registers(self, module: str, statement: ast.ClassDef, depth: int = 0) -> bool:
        """Return whether a base class of the user's may take note of its subclasses."""
        source = self._source(module)
        for base in statement.bases if depth < 20 else ():
            name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", None)
            for where, i in self._class_definitions(source, name):
                definition = self._source(where).statements[i]
                if not isinstance(definition, ast.ClassDef):
                    continue
                hooks = {getattr(node, "name", "") for node in definition.body}
                if definition.keywords or "__init_subclass__" in hooks:
                    return True
                if self._registers(where, definition, depth + 1):
                    return True
        return False

    def _class_definitions(
        self, source: ModuleSource, name: str | None
    ) -> Iterator[tuple[str, int]]:
        if name in source.bound:
            yield from ((source.name, i) for i in source.bound[name])
        for what in source.imports.get(name, ()):
            other = self._source(what.module)
            if other is not None and what.name in other.bound:
                yield from ((other.name, i) for i in other.bound[what.name])

    def _run(self) -> None:
        while self._waiting:
            self._follow(*self._waiting.pop())

    def _use_statement(self, module: str, i: int) -> None:
        if i not in self.found.used.setdefault(module, set()):
            self.found.used[module].add(i)
            self._waiting.append((module, i))

    def _use(self, module: str, name: str) -> bool:
        """Reach a name of an own module; return whether it was found there."""
        if (module, name) in self._asked:
            return True
        source = self._source(module)
        if source is None:
            return False
        known = name in source.bound or name in source.imports
        if known:
            self._asked.add((module, name))
            for i in source.bound.get(name, ()):
                self._use_statement(module, i)
            for what in source.imports.get(name, ()):
                self._use_import(module, name, what)
            return True
        return any(self._use(star, name) for star in source.stars if self._import_star(star))

    def _import_star(self, star: str) -> bool:
        self._import(star)
        return self._is_own(star)

    def _use_import(self, module: str, name: str, what: Import, attributes: str = "") -> None:
        """Reach what an import binds, of which ``attributes`` (dotted) are used."""
        self._import_of(what)
        target, rest = what.module, [part for part in attributes.split(".") if part]
        if what.name is not None:
            rest.insert(0, what.name)
        while rest and self._is_own(f"{target}.{rest[0]}"):
            target = f"{target}.{rest.pop(0)}"
            self._import(target)
        place = self.places.of(target)
        if place is None or place.own is None:
            full = ".".join([target, *rest])
            self.found.names.add(f"{module}: {name} -> {full}")
            if place is not None and target.partition(".")[0] not in ENVIRONMENT:
                self.found.packages.add(place.package)
            return
        self.found.names.add(f"{module}: {name} -> {'.'.join([target, *rest[:1]])}")
        if not rest or not self._use(target, rest[0]):
            # The module itself is handed on, or it makes its names in ways no tree shows.
            self._use_all(target)

    def _use_all(self, module: str) -> None:
        source = self._source(module)
        for i in range(len(source.statements) if source else 0):
            self._use_statement(module, i)

    def _follow(self, module: str, i: int) -> None:
        """Reach all that a statement mentions."""
        source = self._source(module)
        statement = source.statements[i]
        local: dict[str, list[Import]] = {}
        for bound, what in imports_in(statement, source.package):
            self._import_of(what)
            if what.name == "*":
                continue
            local.setdefault(bound, []).append(what)
        for name, attributes in _mentioned(statement):
            words = {name, *attributes.split(".")}
            if name in _BUILT_IN_IMPORTERS or _IMPORTERS & words:
                self.found.dynamic = True
            if name in _OWN_NAMESPACE:
                self._use_all(module)
            imports = local.get(name, []) + source.imports.get(name, [])
            for what in imports:
                self._use_import(module, name, what, attributes)
            if name in source.bound or not imports:
                self._use(module, name)


def _mentioned(statement: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (name, its dotted attributes) of every expression that begins with a name."""
    waiting: list[tuple[ast.AST, tuple[str, ...]]] = [(statement, ())]
    while waiting:
        node, attributes = waiting.pop()
        if isinstance(node, ast.Name):
            yield node.id, ".".join(attributes)
        elif isinstance(node, ast.Attribute):
            waiting.append((node.value, (node.attr, *attributes)))
        else:
            waiting += [(child, ()) for child in ast.iter_child_nodes(node)]
