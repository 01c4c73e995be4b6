"""A private SLURM for the session, and studies on it."""

from __future__ import annotations

import pytest
from checkout import copy_checkout
from cluster_site import LOSS, Site, cancel_jobs, make_site
from private_slurm import Cluster, demand_packages, private_slurm


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """One SLURM cluster for all tests of this folder."""
    demand_packages()
    with private_slurm() as running:
        yield running


@pytest.fixture
def site(cluster, tmp_path) -> Site:
    """A fresh checkout without results."""
    made = make_site(cluster, tmp_path)
    yield made
    cancel_jobs(cluster)


@pytest.fixture(scope="session")
def studied(cluster, tmp_path_factory) -> tuple[Site, str]:
    """A study that ran on the cluster from nothing, and what was printed. Leave it as it is.

    The experiments of the two smaller models have 2 processes, the others 4.
    """
    made = make_site(cluster, tmp_path_factory.mktemp("studied"))
    with open(made.checkout.config_file.with_name("teacher.py"), "a") as file:
        file.write(LOSS)

    def several_processes(config):
        thresholds = [{"from_params": 0, "processes": 2}, {"from_params": 100, "processes": 4}]
        config["loss"] = "teacher:unhurried"
        config["train"] |= {"processes": thresholds, "precision": "float64"}

    made.checkout.configure(several_processes)
    return made, made.submit()


@pytest.fixture
def finished(studied, tmp_path) -> Site:
    """A copy of the finished study, to be changed."""
    site = studied[0]
    made = copy_checkout(site.checkout.path, tmp_path / "checkout", None)
    made.variables = site.checkout.variables | {"TMPDIR": str(tmp_path)}
    yield Site(site.cluster, made)
    cancel_jobs(site.cluster)
