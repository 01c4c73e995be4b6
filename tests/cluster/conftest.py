"""A private SLURM for the session, and checkouts that submit to it."""

from __future__ import annotations

import pytest
from private_slurm import Cluster, demand_packages, private_slurm


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """One SLURM cluster for all tests of this folder."""
    demand_packages()
    with private_slurm() as running:
        yield running
