"""Which nodes a SLURM job has, and what is started on them (the real thing: tests/cluster)."""

from __future__ import annotations

import os

import pytest
from flops_fit.errors import UserError
from flops_fit.launch.slurm import address_of, hosts_of_job, processes_per_node, srun_command


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """SLURM's commands as far as they are asked here, with answers as 22.05 gives them."""
    answers = {
        "squeue": '[ "$2" = --jobs=12 ] && echo "n[08-10]"',
        "scontrol": '[ "$3" = "n[08-10]" ] && printf "n08\\nn09\\nn10\\n"',
        "sinfo": '[ "$3" = --nodes=n08 ] && printf "10.1.0.8\\n10.1.0.8\\n"',
    }
    for name, answer in answers.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_the_nodes_of_a_job_are_asked_of_slurm(slurm):
    # The executor's jobs know nothing but their number.
    assert hosts_of_job({"SLURM_JOB_ID": "12"}) == ["n08", "n09", "n10"]
    assert address_of("n08") == "10.1.0.8"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0"},
        {"SLURM_JOB_ID": "12", "SLURM_JOB_NUM_NODES": "1"},
    ],
)
def test_elsewhere_nobody_is_asked(environment, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert hosts_of_job(environment) == []


def test_a_failing_command_is_named(slurm):
    with pytest.raises(UserError, match=r"squeue --noheader --jobs=13 .* failed"):
        hosts_of_job({"SLURM_JOB_ID": "13"})


def test_processes_are_divided_evenly_or_refused():
    hosts = ["n08", "n09", "n10"]
    assert processes_per_node(12, hosts) == 4
    with pytest.raises(UserError, match=r"found 8 on the 3 nodes .* a multiple of 3"):
        processes_per_node(8, hosts)


def test_srun_places_one_launcher_on_every_node():
    command = srun_command(["launcher"], ["n08", "n09"], threads=8, gpus=4)
    assert command[0] == "srun"
    assert command[-1] == "launcher"
    # The launchers of the other nodes would wait for one that failed, until the time limit.
    assert "--kill-on-bad-exit=1" in command
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--gpus-per-node=4"} <= set(command)
    assert not [o for o in srun_command([], ["a", "b"], threads=1, gpus=0) if "gpus" in o]
