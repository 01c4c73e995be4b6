"""Which code a target uses: the definitions that can be reached from it in the syntax trees.

A definition is a statement at the top level of a module. Reached are those that bind the target's
name; those that bind a name which occurs in a reached one, here or in the module that it is
imported from, inside functions as well; and what a module does when it is imported, since that may
register something (`acts_on_import`). Over-approximating is safe, as it asks about an edit that
changed nothing; but a function that nothing reached mentions does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flops_fit.user_code.module_places import ENVIRONMENT
from flops_fit.user_code.module_source import Import
from flops_fit.user_code.own_modules import OwnModules

# What finds code that no syntax tree shows.
_IMPORTERS = frozenset(
    {"import_module", "exec_module", "run_path", "run_module", "entry_points", "iter_modules",
     "walk_packages", "resolve_name", "locate", "instantiate", "get_class", "get_method",
     "get_object"}
)  # fmt: skip
_BUILT_IN_IMPORTERS = frozenset({"__import__", "exec", "eval"})  # `model.eval()` is none
_OWN_NAMESPACE = frozenset({"vars", "locals"})
_ALL_NAMES = frozenset({"globals", "exec", "eval"})  # reach the names of their module as texts


@dataclass(slots=True, kw_only=True)
class Reached:
    """What was found from one target."""

    used: dict[str, set[int]] = field(default_factory=dict)  # module -> its statements
    names: set[str] = field(default_factory=set)  # "module: name -> where it is imported from"
    packages: set[str] = field(default_factory=set)  # name==version
    files: dict[str, str] = field(default_factory=dict)  # module -> file, of own modules
    dynamic: bool = False  # whether it imports by names that are computed
    unreadable: set[str] = field(default_factory=set)  # "module hash" of what cannot be parsed


class Search:
    """One search from a target.

    Parameters
    ----------
    modules
        The user's own; several searches may share them.
    """

    def __init__(self, modules: OwnModules) -> None:
        self.modules = modules
        self.found = Reached()
        self._waiting: list[tuple[str, int]] = []
        self._imported: set[str] = set()
        self._asked: dict[tuple[str, str], bool] = {}
        self._followed: set[tuple[str, str, Import, tuple[str, ...]]] = set()
        self._whole: set[str] = set()
        self._subclasses: list[tuple[str, int]] = []  # classes of imported modules with bases
        self._all_subclasses = False

    def add_target(self, module: str, name: str) -> None:
        """Reach a name of a module, or a dotted name."""
        self._import(module)
        first, *rest = name.split(".")
        if not self._use(module, first, tuple(rest)):
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
            source = self.modules.source(module)
            lines.append(f"[{module}]")
            lines += [source.survey(i).text for i in sorted(self.found.used[module])]
        lines += sorted(self.found.unreadable)
        return "\n".join([*lines, *sorted(self.found.packages)])

    def texts(self) -> set[str]:
        """Return the short texts in the reached code."""
        used = self.found.used.items()
        return set().union(*(self.modules.source(m).survey(i).texts for m, k in used for i in k))

    def _import(self, module: str) -> None:
        """Reach what importing a module does, its parent packages and its own imports included."""
        waiting = [module]  # not by recursion: a chain of imports may be long
        while waiting:
            parts = waiting.pop().split(".")
            for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
                if name not in self._imported:
                    self._imported.add(name)
                    waiting += self._run_module(name)

    def _run_module(self, module: str) -> list[str]:
        """Reach what the statements of a module do on import; return the modules they import."""
        source = self.modules.source(module)
        self.found.files |= self.modules.file(module)
        if unreadable := self.modules.unreadable.get(module):
            self.found.unreadable.add(f"{module} {unreadable}")
        imports = []
        for i, statement in enumerate(source.statements if source else ()):
            for _, what in source.imports_when_run(i):
                imports += self._modules_of(what)
            if self.modules.acts_on_import(module, i):
                self._use_statement(module, i)
            elif getattr(statement, "bases", None):
                self._subclasses.append((module, i))
                if self._all_subclasses:
                    self._use_statement(module, i)
        return imports

    def _import_of(self, what: Import) -> None:
        for module in self._modules_of(what):
            self._import(module)

    def _modules_of(self, what: Import) -> list[str]:
        """Return the modules that an import statement loads."""
        below = f"{what.module}.{what.name}"
        names = [below] if what.name not in (None, "*") and self.modules.is_own(below) else []
        return [what.module, *names]

    def _run(self) -> None:
        while self._waiting:
            self._follow(*self._waiting.pop())

    def _use_statement(self, module: str, i: int) -> None:
        if i not in self.found.used.setdefault(module, set()):
            self.found.used[module].add(i)
            self._waiting.append((module, i))

    def _use(self, module: str, name: str, attributes: tuple[str, ...] = ()) -> bool:
        """Reach a name of an own module, of which ``attributes`` are used.

        Returns whether it was found there.
        """
        source = self.modules.source(module)
        if source is None:
            return False
        if (module, name) not in self._asked:
            self._asked[module, name] = False  # meanwhile: star imports may go in a circle
            for i in (*source.bound.get(name, ()), *source.choosing.get(name, ())):
                self._use_statement(module, i)
            stars = [star for star in source.stars if self._use_star(module, star, name)]
            if stars:
                self.found.names.add(f"{module}: {name} <- {', '.join(stars)}")
            known = name in source.bound or name in source.imports
            self._asked[module, name] = known or bool(stars)
        for what in source.imports.get(name, ()):
            self._use_import(module, name, what, attributes)
        return self._asked[module, name]

    def _use_star(self, module: str, star: str, name: str) -> bool:
        self._import(star)
        place = self.modules.places.of(star)
        if place is not None and place.package and star.partition(".")[0] not in ENVIRONMENT:
            self.found.packages.add(place.package)
        if self._use(star, name):
            return True
        below = self.modules.source(star) is not None and self.modules.is_own(f"{star}.{name}")
        if below:  # listed in __all__, or imported before
            self._use_import(module, name, Import(star, name))
        return below

    def _use_import(
        self, module: str, name: str, what: Import, attributes: tuple[str, ...] = ()
    ) -> None:
        """Reach what an import binds, of which ``attributes`` are used."""
        key = (module, name, what, attributes)
        if key in self._followed:
            return
        self._followed.add(key)
        self._import_of(what)
        target, rest = what.module, list(attributes)
        if what.name is not None:
            rest.insert(0, what.name)
        while rest and self.modules.is_own(f"{target}.{rest[0]}"):
            self._use_in_package(target, rest[0], tuple(rest[1:]))
            target = f"{target}.{rest.pop(0)}"
            self._import(target)
        place = self.modules.places.of(target)
        if self.modules.source(target) is None and (place is None or place.own is None):
            full = ".".join([target, *rest])
            self.found.names.add(f"{module}: {name} -> {full}")
            if place is not None and target.partition(".")[0] not in ENVIRONMENT:
                self.found.packages.add(place.package)
            return
        self.found.names.add(f"{module}: {name} -> {'.'.join([target, *rest[:1]])}")
        if not rest or not self._use(target, rest[0], tuple(rest[1:])):
            # The module itself is handed on, or it makes its names in ways no tree shows.
            self._use_all(target, imports=True)

    def _use_in_package(self, package: str, name: str, attributes: tuple[str, ...]) -> None:
        """Reach what a package itself binds to the name of one of its modules."""
        source = self.modules.source(package)
        if source is None:
            return
        for i in source.bound.get(name, ()):
            self._use_statement(package, i)
        for what in source.imports.get(name, ()):
            if what not in (Import(package, name), Import(f"{package}.{name}")):
                self._use_import(package, name, what, attributes)

    def _use_all(self, module: str, *, imports: bool = False) -> None:
        """Reach all statements of a module, and if asked what they import, used there or not."""
        source = self.modules.source(module)
        for i in range(len(source.statements) if source else 0):
            self._use_statement(module, i)
        if source is None or not imports or module in self._whole:
            return
        self._whole.add(module)
        for star in source.stars:
            self._import(star)
            self._use_all(star, imports=True)
        for name, found in source.imports.items():
            for what in found:
                target = what.module if what.name is None else f"{what.module}.{what.name}"
                if not self.modules.is_own(target):
                    self._use_import(module, name, what)
                    continue
                self._import(target)  # a module: with its imports, if it is a part of this one
                self._use_all(target, imports=target.startswith(f"{module}."))
                if what.name is not None:
                    self._use_in_package(what.module, what.name, ())

    def _follow(self, module: str, i: int) -> None:
        """Reach all that a statement mentions."""
        source = self.modules.source(module)
        local: dict[str, list[Import]] = {}
        for bound, what in source.all_imports(i):
            self._import_of(what)
            if what.name == "*":
                continue
            local.setdefault(bound, []).append(what)
        for name, attributes in source.survey(i).mentioned:
            imports = local.get(name, []) + source.imports.get(name, [])
            words = {name, *attributes, *(what.name for what in imports)}
            if name in _BUILT_IN_IMPORTERS or _IMPORTERS & words:
                self.found.dynamic = True
            if name in _OWN_NAMESPACE:
                self._use_all(module)
            if name in _ALL_NAMES or (name == "sys" and attributes[:1] == ("modules",)):
                self._use_all(module, imports=True)
            if "__subclasses__" in attributes and not self._all_subclasses:
                self._all_subclasses = True
                for where, k in self._subclasses:
                    self._use_statement(where, k)
            for what in local.get(name, ()):
                self._use_import(module, name, what, attributes)
            if name in source.bound or name not in local:
                self._use(module, name, attributes)
