"""A fingerprint of what the trainer computes, for the record.

RECIPE_VERSION says what its authors meant; the fingerprint says what was there. Runs of different
ones are named when they are fitted together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flops_fit.user_code.module_places import ModulePlaces, Place
from flops_fit.user_code.own_modules import OwnModules
from flops_fit.user_code.reachable import Search

_ROOMS = ("flops_fit.train", "flops_fit.user_code.loss_contract")
# What they do changes no number: display, files, and the record itself.
_SILENT = tuple(
    f"flops_fit.train.{name}"
    for name in ("progress", "provenance", "code", "recording", "saving", "checkpoint", "process")
)


@dataclass(slots=True, kw_only=True)
class _Trainer(ModulePlaces):
    """Takes only the modules that the training's numbers come from for own code."""

    def of(self, name: str) -> Place | None:
        counts = name.startswith(_ROOMS) and not name.startswith(_SILENT)
        return ModulePlaces.of(self, name) if counts else None


@cache
def trainer_fingerprint() -> str:
    """Return a hash of the code that decides what a training computes, without its comments."""
    search = Search(OwnModules(_Trainer(folder=Path(__file__).parent)))
    search.add_target("flops_fit.train.loop", "Trainer")
    return hashlib.sha256(search.text().encode()).hexdigest()[:12]
