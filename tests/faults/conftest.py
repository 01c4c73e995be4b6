"""Experiments that are launched as the train rule launches them, and a study that went well."""

from __future__ import annotations

import pytest
from checkout import Checkout
from fault_campaign import run_undisturbed
from launchpad import launchpad

__all__ = ["launchpad"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> tuple[Checkout, bytes]:
    """A planned study, and the runs.csv that it has to end with. Leave it as it is."""
    return run_undisturbed(tmp_path_factory.mktemp("undisturbed"))
