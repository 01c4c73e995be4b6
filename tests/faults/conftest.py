"""Experiments that are launched as the train rule launches them, and a study that went well."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import Checkout
from fault_campaign import run_undisturbed
from launchpad import launchpad
from made_once import made_once

__all__ = ["launchpad"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> tuple[Checkout, bytes]:
    """A planned study, and the runs.csv that it has to end with. Leave it as it is."""

    def run(folder: Path) -> None:
        run_undisturbed(folder)

    folder, _ = made_once(tmp_path_factory, "undisturbed", run)
    whole = Checkout(folder / "undisturbed")
    return Checkout(folder / "planned"), (whole.study / "runs.csv").read_bytes()
