"""Experiments that are launched as the train rule launches them, and a study that went well."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import Checkout
from fault_campaign import run_undisturbed
from launchpad import launchpad
from made_once import made_once
from paced_experiment import PACED

__all__ = ["launchpad"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> tuple[Checkout, Checkout]:
    """A planned study, and the same one finished undisturbed. Do not change them."""

    def run(folder: Path) -> None:
        run_undisturbed(folder)

    folder, _ = made_once(tmp_path_factory, "undisturbed", run)
    return Checkout(folder / "planned"), Checkout(folder / "undisturbed")


@pytest.fixture
def paced(launchpad):
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + PACED)
    launchpad.config["model"]["target"] = "points:Dropping"
    launchpad.config["loss"] = "points:paced_mean"
    launchpad.config["train"] |= {"precision": "no"}
    return launchpad
