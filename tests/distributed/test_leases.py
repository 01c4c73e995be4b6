"""GPU leases among real processes; the GPUs are names that a stand-in of nvidia-smi lists."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from flops_fit.errors import UserError
from flops_fit.launch.gpus import visible_gpus
from flops_fit.launch.leases import lease_gpus
from flops_fit.launch.ports import lease_port
from leasing import Holder

pytestmark = pytest.mark.timeout(600)  # a lock that nobody frees would be waited for without end


def test_every_experiment_has_a_gpu_of_its_own_and_the_next_one_waits(node):
    holders = [Holder(node, 2), Holder(node), Holder(node)]
    held = [holder.wait_until_it_holds() for holder in holders]
    assert sorted(gpu for gpus in held for gpu in gpus) == node.gpus
    waiting = Holder(node)
    assert "waiting for 1 of 4 GPUs" in waiting.process.stderr.readline()
    holders[1].finish()
    assert waiting.wait_until_it_holds() == held[1]
    for holder in (holders[0], holders[2], waiting):
        holder.finish()


def test_a_lease_outlives_its_launcher_and_ends_with_the_training(node):
    node.environment["CUDA_VISIBLE_DEVICES"] = "2"
    holder = Holder(node)
    assert holder.wait_until_it_holds() == [node.gpus[2]]
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    waiting = Holder(node)
    assert "waiting for 1 of 1 GPUs" in waiting.process.stderr.readline()
    os.kill(holder.trainer, signal.SIGKILL)
    assert waiting.wait_until_it_holds() == [node.gpus[2]]
    waiting.finish()


def test_a_training_alone_keeps_its_gpu(node):
    """Its launcher and accelerate are gone, and with them the claim that these hold."""
    node.environment["CUDA_VISIBLE_DEVICES"] = "2"
    holder = Holder(node)
    holder.wait_until_it_holds()
    trainer = psutil.Process(holder.trainer)
    trainer.parent().kill()
    holder.process.kill()
    holder.process.wait()
    waiting = Holder(node)
    assert "waiting for 1 of 1 GPUs" in waiting.process.stderr.readline()
    trainer.kill()
    assert waiting.wait_until_it_holds() == [node.gpus[2]]
    waiting.finish()


def test_more_gpus_than_are_visible_fail_at_once_with_the_numbers(tmp_path):
    with pytest.raises(UserError, match="3 GPUs were asked for, but 2 are visible"):
        lease_gpus(3, ["GPU-1", "GPU-2"], tmp_path)


UUIDS = [f"GPU-{i:08d}" for i in range(4)]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, UUIDS),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1", [UUIDS[1]]),
        ("3,0", [UUIDS[3], UUIDS[0]]),
        (UUIDS[2], [UUIDS[2]]),
        ("MIG-77", ["MIG-77"]),
    ],
)
def test_visible_gpus_are_those_of_the_environment(node, monkeypatch, variable, expected):
    monkeypatch.setenv("PATH", node.environment["PATH"])
    node.say("gpus", *UUIDS)
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert visible_gpus(environment) == expected


def test_in_a_slurm_job_gpus_are_those_that_slurm_gave_to_it(node, monkeypatch):
    """Without a request for GPUs the variable is not set, and the node's are other jobs'."""
    monkeypatch.setenv("PATH", node.environment["PATH"])
    node.say("gpus", *UUIDS)
    assert visible_gpus({"SLURM_JOB_ID": "7"}) == []
    assert visible_gpus({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}) == [UUIDS[1]]


@pytest.mark.parametrize("variable", ["4", "GPU-9", "0,7", "0,0", f"1,{UUIDS[1]}", "0,", ",1"])
def test_a_gpu_that_is_not_there_is_named(node, monkeypatch, variable):
    monkeypatch.setenv("PATH", node.environment["PATH"])
    node.say("gpus", *UUIDS)
    with pytest.raises(UserError, match="expected indices or UUIDs of the 4 GPUs"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": variable})


def test_ports_are_leased_once(tmp_path):
    ports = {lease_port(tmp_path) for _ in range(20)}
    assert len(ports) == 20
