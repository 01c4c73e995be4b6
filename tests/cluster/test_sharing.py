"""Experiments that share a job: grouped, or under a Snakemake inside of the job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT, environment
from cluster_site import wait_until
from quick_trainer import with_quick_trainer
from test_profile import overlaps


def test_twenty_grouped_experiments_are_two_submissions_and_no_gpu_is_shared(site):
    def twenty(config):
        config["model"]["sizes"] = [2, 4, 5, 8, 16]
        config["plan"] |= {"budgets": [4e6], "seeds": list(range(4))}

    with_quick_trainer(site, twenty)
    grouped = [
        "runs", "--groups", "train=sweep", "--group-components", "sweep=10",
        "--resources", "gpu=1", "nodes=1", "--set-resource-scopes", "gpu=local", "nodes=local",
    ]  # fmt: skip
    output = site.submit(*grouped)
    assert len(site.checkout.records()) == 20
    assert output.count("has been submitted with SLURM jobid") == 2
    uses = site.uses()
    jobs = {use["job"] for use in uses}
    assert len(jobs) == 2
    # A group has one GPU, which its members use one after the other; another group has another.
    for job in jobs:
        assert len({gpu for use in uses if use["job"] == job for gpu in use["gpus"]}) == 1
    assert overlaps(uses) == []
    # Snakemake would group what is planned already twice, the second time all of it.
    lost = list(site.checkout.records())[::2]
    site.forget(*lost)
    shutil.rmtree(site.checkout.study / "state")
    profile = ("--workflow-profile", "profiles/slurm")
    assert "found on a plan that is finished" in site.checkout.refuse(*profile, *grouped)
    fewer = [word.replace("10", "6") for word in grouped]
    again = site.submit(*fewer, "--forcerun", "plan_experiments")
    assert again.count("has been submitted with SLURM jobid") == 2
    assert sorted(use["id"] for use in site.uses()) == sorted(lost)


def test_snakemake_inside_of_one_job_leases_its_gpus_to_the_experiments(site):
    """`sbatch --gpus=3` on a node of four; eight experiments of one process and two of two."""

    def ten(config):
        config["model"]["sizes"] = [2, 4, 5, 8, 16]
        config["plan"] |= {"budgets": [4e6], "seeds": [0, 1]}
        config["train"]["processes"] = [
            {"from_params": 0, "processes": 1},
            {"from_params": 200, "processes": 2},
        ]

    with_quick_trainer(site, ten)
    log = site.checkout.path / "job.log"
    variables = environment() | site.checkout.variables
    exports = ",".join(f"{name}={variables[name]}" for name in site.checkout.variables)
    site.cluster.ask(
        "sbatch", "--gpus=3", "--nodes=1", "--cpus-per-task=4", f"--chdir={site.checkout.path}",
        f"--output={log}", f"--export=ALL,{exports}", "--wrap",
        "echo gpus=$CUDA_VISIBLE_DEVICES; snakemake runs --cores 4 --resources gpu=3 "
        "--configfile config/studies/tiny.yaml; echo status=$?",
    )  # fmt: skip
    wait_until(lambda: log.exists() and "status=" in log.read_text(), seconds=600)
    output = log.read_text()
    assert "status=0" in output, output
    assert re.search(r"gpus=(\d,){2}\d\n", output)
    uses = site.uses()
    assert len(uses) == len(site.checkout.records()) == 10
    assert len({use["job"] for use in uses}) == 1
    assert overlaps(uses) == []
    assert len({gpu for use in uses for gpu in use["gpus"]}) == 3
    assert sorted(len(use["gpus"]) for use in uses) == [1] * 8 + [2] * 2


@pytest.mark.long
def test_the_benchmark_of_submissions_counts_them():
    """On a cluster of its own."""
    folders = [str(ROOT / name) for name in ("workflow", "tests", "tests/cluster")]
    command = [
        sys.executable,
        "benchmarks/submissions.py",
        "--experiments",
        "5",
        "--ways",
        "inside",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | {"PYTHONPATH": os.pathsep.join(folders)},
        text=True, check=True, timeout=600, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert re.search(r"^inside +5 +1 ", done.stdout, re.MULTILINE), done.stdout
