"""Hashes of the code that each target uses, free of comments, docstrings and layout."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flops_fit.study.identity import SOURCE_METHOD
from flops_fit.user_code.file_fingerprint import file_fingerprint
from flops_fit.user_code.module_places import ModulePlaces, own_modules_loaded, package_versions
from flops_fit.user_code.module_source import without_garbage_collection
from flops_fit.user_code.own_modules import OwnModules
from flops_fit.user_code.reachable import Search
from flops_fit.user_code.references import UserCode


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeInUse:
    """The code of a study's targets, as it was found at one time."""

    fingerprints: dict[str, str | None]
    """By part (model, dataset, loss, optimizer); None for what has no Python source."""
    imported: tuple[str, ...]
    """Own modules that the targets import by names which they compute. They are known once they
    have been imported, and count as a whole."""
    alone: dict[str, str | None]
    """The fingerprints without those modules, and as ``module <name>`` each of the modules."""
    packages: dict[str, str]
    """Installed packages that the code uses, but for those of flops-fit's own environment: name ->
    version."""
    files: dict[str, str]
    """Own modules that were reached: name -> file."""


def targets_of(code: UserCode) -> dict[str, str]:
    """Return the import path of each part; the built-in optimizer is none."""
    parts = {"model": code.model.path, "dataset": code.dataset.path, "loss": code.loss}
    return parts if code.optimizer == "adamw" else parts | {"optimizer": code.optimizer}


@without_garbage_collection
def code_in_use(
    code: UserCode, *, imported: Collection[str] | None = None, known: Mapping[str, str] = {}
) -> CodeInUse:
    """Return what the targets use now: everything of the user's own that they can reach.

    Own is what is neither installed (by name and version) nor part of Python: below the folder of
    the configuration, on the search path, or an editable install. Nothing is imported.

    Parameters
    ----------
    imported
        The modules that count because they were imported by computed names. None looks at what
        this process has imported, and is meant for one that has built the model and run a step.
    known
        Files of modules that no search finds.
    """
    places = ModulePlaces(folder=code.folder, known=known)
    modules = OwnModules(places)
    searches: dict[str, Search] = {}
    for part, path in targets_of(code).items():
        module, _, name = path.partition(":")
        searches[part] = Search(modules)
        searches[part].add_target(module, name)
    reached = {name for search in searches.values() for name in search.found.files}
    dynamic = {part: search for part, search in searches.items() if search.found.dynamic}
    if imported is None:
        loaded = own_modules_loaded(places) if dynamic else []
        unknown = set(loaded) - reached
        named = {m for part, one in dynamic.items() for m in _may_name(one, loaded, code, part)}
        # Of `package.module`, the module was meant.
        imported = unknown | (named - {name.rpartition(".")[0] for name in unknown | named})
    extra = sorted(set(imported)) if dynamic else []
    alone = {part: _fingerprint(search) for part, search in searches.items() if extra}
    for name in extra:
        one = Search(modules)
        one.add_whole(name)
        alone[f"module {name}"] = _fingerprint(one)
    for search in dynamic.values():
        files = set(search.found.files)
        for name in extra:
            # What another target reaches, and this one does not, counts as far as that uses it.
            if name in files or name not in reached:
                search.add_whole(name)
    found = [search.found for search in searches.values()]
    return CodeInUse(
        fingerprints={part: _fingerprint(search) for part, search in searches.items()},
        imported=tuple(extra),
        alone=alone,
        packages=package_versions(p for one in found for p in one.packages),
        files=dict(sorted(item for one in found for item in one.files.items())),
    )


def _may_name(search: Search, loaded: Collection[str], code: UserCode, part: str) -> set[str]:
    """Return the reached modules that a computed import may name as well: they count as a whole.

    Their names, or parts of them, occur among the texts in the code or in the arguments.
    """
    target = {"model": code.model, "dataset": code.dataset}.get(part)
    texts = " ".join([*search.texts(), str(target.kwargs if target else "")]).lower()
    words = {word.strip("_") for word in re.findall(r"\w+", texts)}
    words = {word for word in words if len(word) > 2}
    return {
        name
        for name in set(loaded) & set(search.found.files)
        if any(word in name.rpartition(".")[2].lower() for word in words)
    }


def file_fingerprints(code: UserCode) -> dict[str, str | None]:
    """Return the fingerprints of version 0.1 (a target that cannot be imported has none)."""
    return {
        part: file_fingerprint(path, code.folder, f"{code.source}: {part}")
        for part, path in targets_of(code).items()
    }


def _fingerprint(search: Search) -> str | None:
    text = search.text()
    return SOURCE_METHOD + hashlib.sha256(text.encode()).hexdigest()[:12] if text else None
