"""Which installed distribution a module belongs to, and in which version."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_FOLDERS = frozenset({"site-packages", "dist-packages"})


def in_site_packages(origin: Path) -> bool:
    """Return whether a file lies where packages are installed."""
    return bool(_FOLDERS & set(origin.parts))


def installed_package(origin: Path, top: str) -> str | None:
    """Return ``name==version`` of the distribution that installed a file, None if none did.

    One that was installed from a folder (PEP 610: ``direct_url.json`` with ``dir_info``) is the
    user's own code: its version may stay the same while it changes. The version of one that was
    installed from a repository or an archive has the commit or the hash, for the same reason.

    Parameters
    ----------
    origin
        A module's file.
    top
        First part of its name.
    """
    candidates = _distributions(top)
    if len(candidates) > 1:  # parts of a namespace package
        candidates = tuple(one for one in candidates if _holds(one, origin)) or candidates
    for one in candidates[:1]:
        if in_site_packages(origin) or _installed_at(one, origin):
            return _name_and_version(one)
    return None


@cache
def _distributions(top: str) -> tuple[metadata.Distribution, ...]:
    try:
        return (metadata.distribution(top),)
    except (metadata.PackageNotFoundError, ValueError):
        names = sorted(set(metadata.packages_distributions().get(top, ())))
        return tuple(metadata.distribution(name) for name in names)


@cache
def _files(distribution: metadata.Distribution) -> frozenset[str]:
    return frozenset(str(one.locate()) for one in distribution.files or ())


def _holds(distribution: metadata.Distribution, origin: Path) -> bool:
    return str(origin) in _files(distribution)


def _installed_at(distribution: metadata.Distribution, origin: Path) -> bool:
    """Return whether it lies in a folder such as that of `pip install --target`.

    An editable install leaves no RECORD beside the code.
    """
    folder = Path(str(distribution.locate_file("")))
    return distribution.read_text("RECORD") is not None and origin.is_relative_to(folder)


@cache
def _name_and_version(distribution: metadata.Distribution) -> str | None:
    name, version = distribution.metadata["Name"], distribution.version
    url = _direct_url(distribution)
    # What conda builds, it builds from a folder of its own.
    conda = (distribution.read_text("INSTALLER") or "").strip() == "conda"
    if "dir_info" in url and not conda:
        return None
    origin = url.get("vcs_info", {}).get("commit_id") or url.get("archive_info", {}).get("hash")
    return f"{name}=={version}" + (f" ({origin})" if origin and not conda else "")


def _direct_url(distribution: metadata.Distribution) -> dict[str, Any]:
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
