"""Where a module comes from: the user's own code, an installed package, or neither.

Nothing is imported to find out, so that this may be asked before a study is planned.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from flops_fit.user_code.installed_package import in_site_packages, installed_package

_LIBRARY = __name__.partition(".")[0]
# Libraries of the environment that flops-fit itself brings. They register nothing, and a study may
# go on under another version of them: the fit reports versions of torch by themselves.
ENVIRONMENT = frozenset(
    {"torch", "numpy", "accelerate", "scipy", "pandas", "tqdm", "safetensors", "yaml"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """A module's origin: exactly one of the two is set."""

    own: Path | None = None  # file of the user's own code
    package: str | None = None  # an installed distribution: ``name==version``


@dataclass(slots=True, kw_only=True)
class ModulePlaces:
    """Finds modules as an import would.

    Parameters
    ----------
    folder
        Of the configuration file: searched after the environment.
    known
        Files of own modules that no search finds, such as those below a folder that the user's code
        itself adds to the search path.
    """

    folder: Path
    known: Mapping[str, str] = field(default_factory=dict)
    _found: dict[str, Place | None] = field(default_factory=dict)

    def of(self, name: str) -> Place | None:
        """Return where a module comes from; None for the standard library and what is not found."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def _look_up(self, name: str) -> Place | None:
        top = name.partition(".")[0]
        if top in ENVIRONMENT:
            return Place(package=top)  # also one that is installed from a folder
        if top in sys.builtin_module_names or (top in sys.stdlib_module_names and top != name):
            return None
        origin = self._origin(name)
        if origin is None:
            return None
        if top == _LIBRARY:
            return Place(own=origin)
        if (package := installed_package(origin, top)) is not None:
            return Place(package=package)
        return None if _in_standard_library(origin) else Place(own=origin)

    def _origin(self, name: str) -> Path | None:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(loaded, str) and loaded:
            return Path(loaded)
        found = self._find(name)
        if found is not None and found.has_location and found.origin:
            return Path(found.origin)
        known = Path(self.known[name]) if name in self.known else None
        return known if known is not None and known.exists() else None

    def _find(self, name: str) -> ModuleSpec | None:
        parent, _, own_name = name.rpartition(".")
        if not parent:
            folders = [*sys.path, str(self.folder.resolve())]
            return _spec(name, None) or _quietly(PathFinder.find_spec, name, folders)
        above = self._find(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        # Those of a namespace package ask the parent package, which need not be loaded.
        locations = above.submodule_search_locations
        folders = list(getattr(locations, "_path", locations))
        return _spec(name, folders) or _namespace(name, [Path(f, own_name) for f in folders])


def _spec(name: str, locations: list[str] | None) -> ModuleSpec | None:
    """Return what the first finder that knows a module says about it, as an import would.

    Not `importlib.util.find_spec`: it imports parent packages, and does not search for a module
    that is loaded.
    """
    for finder in list(sys.meta_path):  # that of an editable install among them
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := _quietly(find, name, locations)):
            return spec
    return None


def _namespace(name: str, folders: list[Path]) -> ModuleSpec | None:
    """Return a namespace package within a package: Python finds none if that is not loaded."""
    found = ModuleSpec(name, None, is_package=True)
    found.submodule_search_locations = [str(folder) for folder in folders if folder.is_dir()]
    return found if found.submodule_search_locations else None


def _quietly(find: Callable[..., ModuleSpec | None], *arguments: object) -> ModuleSpec | None:
    try:
        return find(*arguments)
    except (ImportError, ValueError, AttributeError, KeyError, TypeError, OSError):
        return None


def own_modules_loaded(places: ModulePlaces) -> list[str]:
    """Return the names of the loaded modules that are the user's own code, sorted."""
    candidates = [
        name
        for name in list(sys.modules)
        if (top := name.partition(".")[0]) not in _NEVER_OWN and not top.startswith(_OF_INSTALLERS)
    ]
    return sorted(name for name in candidates if _is_own(name, places))


def _is_own(name: str, places: ModulePlaces) -> bool:
    place = places.of(name)
    return place is not None and place.own is not None


_NEVER_OWN = frozenset(
    {*ENVIRONMENT, *sys.stdlib_module_names, _LIBRARY, "__main__", "__mp_main__",
     "sitecustomize", "usercustomize"}
)  # fmt: skip


_OF_INSTALLERS = ("__editable__", "_virtualenv", "_distutils_hack")  # loaded by path files


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return ``{name: version}`` of texts ``name==version``."""
    pairs = (package.partition("==") for package in sorted(packages))
    return {name: version for name, _, version in pairs}


def _in_standard_library(origin: Path) -> bool:
    """Return whether Python brings a file (its folder may hold site-packages, too)."""
    return not in_site_packages(origin) and any(
        origin.is_relative_to(folder) for folder in _standard_library()
    )


@cache
def _standard_library() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
