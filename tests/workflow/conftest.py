"""A checkout of its own for every test of the workflow, and one small study that really ran."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import PARTS, ROOT, Checkout, copy_checkout
from made_once import made_once
from quick_design import make_design


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A fresh checkout without results."""
    return copy_checkout(ROOT, tmp_path / "checkout", PARTS)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Checkout, str]:
    """A checkout whose study ran from nothing, and what Snakemake printed. Leave it as it is."""

    def train(folder: Path) -> str:
        made = copy_checkout(ROOT, folder / "checkout", PARTS)
        return made.succeed("--cores", "2", "--resources", "gpu=4")

    folder, output = made_once(tmp_path_factory, "trained", train)
    return Checkout(folder / "checkout"), output


@pytest.fixture
def finished(trained, tmp_path) -> Checkout:
    """A copy of the finished study, to be changed."""
    return copy_checkout(trained[0].path, tmp_path / "checkout", None)


@pytest.fixture(scope="session")
def complete(tmp_path_factory) -> tuple[Checkout, str]:
    """A design that ran to its end, and what Snakemake printed. Leave it as it is."""

    def train(folder: Path) -> str:
        made = make_design(copy_checkout(ROOT, folder / "checkout", PARTS))
        return made.succeed("--cores", "2")

    folder, output = made_once(tmp_path_factory, "design", train)
    return Checkout(folder / "checkout"), output


@pytest.fixture
def designed(complete, tmp_path) -> Checkout:
    """A copy of the complete design, to be changed."""
    return copy_checkout(complete[0].path, tmp_path / "checkout", None)
