"""Where a module comes from: the user's own code, an installed package, or neither.

Nothing is imported to find out, so that this may be asked before a study is planned.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_LIBRARY = __name__.partition(".")[0]
_INSTALLED = ("site-packages", "dist-packages")
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
        if top in sys.builtin_module_names or (top in sys.stdlib_module_names and top != name):
            return None
        origin = self._origin(name)
        if origin is None:
            return None
        package = None if top == _LIBRARY else _installed_package(origin, top)
        if package is not None:
            return Place(package=package)
        return None if _in_standard_library(origin) else Place(own=origin)

    def _origin(self, name: str) -> Path | None:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded:
            return Path(loaded)
        found = self._find(name)
        if found is not None and found.has_location and found.origin:
            return Path(found.origin)
        return Path(self.known[name]) if name in self.known else None

    def _find(self, name: str) -> ModuleSpec | None:
        parent, _, _ = name.rpartition(".")
        try:
            if not parent:
                # Not `find_spec` alone: it reads the spec of a loaded module, which may be None.
                found = None if name in sys.modules else importlib.util.find_spec(name)
                return found or PathFinder.find_spec(name, [*sys.path, str(self.folder.resolve())])
            above = self._find(parent)
            if above is None or above.submodule_search_locations is None:
                return None
            return PathFinder.find_spec(name, list(above.submodule_search_locations))
        except (ImportError, ValueError, AttributeError):
            return None


def own_modules_loaded(places: ModulePlaces) -> list[str]:
    """Return the names of the loaded modules that are the user's own code, sorted."""
    candidates = [name for name in list(sys.modules) if name.partition(".")[0] not in _NEVER_OWN]
    return sorted(name for name in candidates if _is_own(name, places))


def _is_own(name: str, places: ModulePlaces) -> bool:
    place = places.of(name)
    return place is not None and place.own is not None


_NEVER_OWN = frozenset(
    {*ENVIRONMENT, *sys.stdlib_module_names, _LIBRARY, "__main__", "__mp_main__",
     "sitecustomize", "usercustomize"}
)  # fmt: skip


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return ``{name: version}`` of texts ``name==version``."""
    pairs = (package.partition("==") for package in sorted(packages))
    return {name: version for name, _, version in pairs}


def _in_standard_library(origin: Path) -> bool:
    return any(origin.is_relative_to(folder) for folder in _standard_library())


@cache
def _standard_library() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def _installed_package(origin: Path, top: str) -> str | None:
    """Return ``name==version`` of the distribution that installed a file, None if none did.

    One that was installed from a folder (PEP 610: ``direct_url.json`` with ``dir_info``) is the
    user's own code: its version may stay the same while it changes.
    """
    if not set(_INSTALLED) & set(origin.parts):
        return None
    return _distribution(top)


@cache
def _distribution(top: str) -> str | None:
    try:
        found = metadata.distribution(top)
    except (metadata.PackageNotFoundError, ValueError):
        names = metadata.packages_distributions().get(top)
        if not names:
            return f"{top}=="
        found = metadata.distribution(names[0])
    url = found.read_text("direct_url.json")
    try:
        if url and "dir_info" in json.loads(url):
            return None
    except ValueError:
        pass
    return f"{found.metadata['Name']}=={found.version}"
