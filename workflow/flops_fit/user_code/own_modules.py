"""The user's own modules: what they define, where their names come from, what their import does."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field

from flops_fit.user_code.module_places import ENVIRONMENT, ModulePlaces
from flops_fit.user_code.module_source import (
    ModuleSource,
    acts_on_import,
    file_hash,
    own_scope_of,
    read_module,
)
from flops_fit.user_code.syntax_text import dotted


@dataclass(slots=True)
class OwnModules:
    """Reads each module once.

    Parameters
    ----------
    places
        Tells own code from installed packages.
    """

    places: ModulePlaces
    unreadable: dict[str, str] = field(default_factory=dict)  # module -> hash of its file
    _sources: dict[str, ModuleSource | None] = field(default_factory=dict)
    _files: dict[str, str] = field(default_factory=dict)
    _acts: dict[tuple[str, int], bool] = field(default_factory=dict)

    def source(self, module: str) -> ModuleSource | None:
        """Return the syntax tree of an own module, None for all others."""
        if module not in self._sources:
            place = self.places.of(module)
            own = place.own if place else None
            source = read_module(module, own) if own and own.suffix == ".py" else None
            if own:
                self._files[module] = str(own)
            if own and own.suffix == ".py" and source is None:
                self.unreadable[module] = file_hash(own)
            self._sources[module] = source
        return self._sources[module]

    def file(self, module: str) -> dict[str, str]:
        """Return ``{module: file}`` of an own module, nothing for all others."""
        self.source(module)
        return {module: self._files[module]} if module in self._files else {}

    def is_own(self, module: str) -> bool:
        """Return whether a module is the user's own."""
        place = self.places.of(module)
        return place is not None and place.own is not None

    def acts_on_import(self, module: str, i: int) -> bool:
        """Return whether importing an own module may do something with its i-th statement."""
        if (module, i) not in self._acts:
            statement = self.source(module).statements[i]
            self._acts[module, i] = acts_on_import(
                statement, lambda root: self._origin(module, root)
            ) or (isinstance(statement, ast.ClassDef) and self._registers(module, statement))
        return self._acts[module, i]

    def _origin(self, module: str, root: str) -> str:
        """Return where a name of a module comes from: own, package or base."""
        source = self.source(module)
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

    def _registers(self, module: str, statement: ast.ClassDef) -> bool:
        """Return whether a base class of the user's may take note of its subclasses."""
        waiting = [(module, base) for base in statement.bases]
        seen: set[tuple[str, str]] = set()
        while waiting:
            where, base = waiting.pop()
            for origin, i in self._definitions(where, base, seen):
                for node in own_scope_of(self.source(origin).statements[i]):
                    if isinstance(node, ast.ClassDef):
                        if node.keywords or "__init_subclass__" in _names_in(node):
                            return True
                        waiting += [(origin, one) for one in node.bases]
                    elif isinstance(node, ast.Assign):  # another name of a class
                        waiting.append((origin, node.value))
        return False

    def _definitions(
        self, module: str, expression: ast.AST, seen: set[tuple[str, str]]
    ) -> Iterator[tuple[str, int]]:
        """Yield the statements of own modules that bind an expression such as ``a.b`` or ``a[b]``.

        Parameters
        ----------
        seen
            Names of modules, which are looked up once.
        """
        name, attributes = dotted(expression)
        waiting = [(module, (name, *attributes))]
        while waiting:
            where, (first, *rest) = waiting.pop()
            source = self.source(where)
            if source is None or (where, ".".join([first, *rest])) in seen:
                continue
            seen.add((where, ".".join([first, *rest])))
            yield from ((where, i) for i in source.bound.get(first, ()))
            if first not in source.bound and first not in source.imports:
                waiting += [(star, (first, *rest)) for star in source.stars]
            for what in source.imports.get(first, ()):
                target, names = what.module, [*filter(None, [what.name]), *rest]
                if names:
                    waiting.append((target, tuple(names)))
                while len(names) > 1 and self.is_own(f"{target}.{names[0]}"):
                    target = f"{target}.{names.pop(0)}"
                    waiting.append((target, tuple(names)))


def _names_in(definition: ast.ClassDef) -> set[str]:
    return {getattr(node, "name", "") for node in definition.body}
