"""GPU leases among real processes; the GPUs are names that a stand-in of nvidia-smi lists."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest
from checkout import ROOT
from flops_fit.errors import UserError
from flops_fit.launch.leases import lease_gpus, lease_port, visible_gpus

pytestmark = pytest.mark.timeout(600)  # a lock that nobody frees would be waited for without end

UUIDS = [f"GPU-{i:08d}" for i in range(4)]

HOLDERS = "FLOPS_FIT_TEST_HOLDERS"  # a file with the process groups to end after a test

# Leases like the launcher, which supervises a process that starts a training process as accelerate
# does: as a child that inherits no files.
LAUNCHER = """
import os, sys
from flops_fit.launch.leases import USE_FILES, lease_gpus, use_files, visible_gpus
from flops_fit.launch.supervise import supervise
gpus = lease_gpus(int(sys.argv[1]), visible_gpus(os.environ))
environment = dict(os.environ)
environment[USE_FILES] = os.pathsep.join(map(str, use_files(gpus)))
middle = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"
command = [sys.executable, "-c", middle, sys.argv[2], ",".join(gpus)]
sys.exit(supervise(command, environment))
"""
TRAINER = """
import os, sys
from flops_fit.launch.leases import hold_use
hold_use(os.environ)
print("holds", os.getpid(), sys.argv[1], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def node(tmp_path):
    """An environment in which nvidia-smi lists four GPUs, with locks of its own."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\n" + "".join(f"echo {uuid}\n" for uuid in UUIDS))
    smi.chmod(0o755)
    (tmp_path / "locks").mkdir()
    (tmp_path / "holders").touch()
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    environment["PATH"] = f"{smi.parent}:{environment['PATH']}"
    environment["TMPDIR"] = str(tmp_path / "locks")
    environment["PYTHONPATH"] = str(ROOT / "workflow")
    environment[HOLDERS] = str(tmp_path / "holders")
    yield environment
    for pid in map(int, (tmp_path / "holders").read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


class Holder:
    """One launcher with its training process."""

    def __init__(self, node, count: int = 1):
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(count), TRAINER], env=node, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        with open(node[HOLDERS], "a") as file:
            file.write(f"{self.process.pid}\n")

    def wait_until_it_holds(self) -> list[str]:
        word, pid, gpus = self.process.stdout.readline().split()
        assert word == "holds"
        self.trainer = int(pid)
        return gpus.split(",")

    def finish(self) -> None:
        self.process.communicate("\n", timeout=300)
        assert self.process.returncode == 0


def test_every_experiment_has_a_gpu_of_its_own_and_the_next_one_waits(node):
    holders = [Holder(node, 2), Holder(node), Holder(node)]
    held = [holder.wait_until_it_holds() for holder in holders]
    assert sorted(gpu for gpus in held for gpu in gpus) == UUIDS
    waiting = Holder(node)
    assert "waiting for 1 of 4 GPUs" in waiting.process.stderr.readline()
    holders[1].finish()
    assert waiting.wait_until_it_holds() == held[1]
    for holder in (holders[0], holders[2], waiting):
        holder.finish()


def test_a_lease_outlives_its_launcher_and_ends_with_the_training(node):
    node["CUDA_VISIBLE_DEVICES"] = "2"
    holder = Holder(node)
    assert holder.wait_until_it_holds() == [UUIDS[2]]
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    waiting = Holder(node)
    assert "waiting for 1 of 1 GPUs" in waiting.process.stderr.readline()
    os.kill(holder.trainer, signal.SIGKILL)
    assert waiting.wait_until_it_holds() == [UUIDS[2]]
    waiting.finish()


def test_a_training_alone_keeps_its_gpu(node):
    """Its launcher and accelerate are gone, and with them the claim that these hold."""
    node["CUDA_VISIBLE_DEVICES"] = "2"
    holder = Holder(node)
    holder.wait_until_it_holds()
    trainer = psutil.Process(holder.trainer)
    trainer.parent().kill()
    holder.process.kill()
    holder.process.wait()
    waiting = Holder(node)
    assert "waiting for 1 of 1 GPUs" in waiting.process.stderr.readline()
    trainer.kill()
    assert waiting.wait_until_it_holds() == [UUIDS[2]]
    waiting.finish()


def test_more_gpus_than_are_visible_fail_at_once_with_the_numbers(tmp_path):
    with pytest.raises(UserError, match="3 GPUs were asked for, but 2 are visible"):
        lease_gpus(3, UUIDS[:2], tmp_path)


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
    monkeypatch.setenv("PATH", node["PATH"])
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert visible_gpus(environment) == expected


def test_in_a_slurm_job_gpus_are_those_that_slurm_gave_to_it(node, monkeypatch):
    """Without a request for GPUs the variable is not set, and the node's are other jobs'."""
    monkeypatch.setenv("PATH", node["PATH"])
    assert visible_gpus({"SLURM_JOB_ID": "7"}) == []
    assert visible_gpus({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}) == [UUIDS[1]]


@pytest.mark.parametrize("variable", ["4", "GPU-9", "0,7", "0,0", f"1,{UUIDS[1]}", "0,", ",1"])
def test_a_gpu_that_is_not_there_is_named(node, monkeypatch, variable):
    monkeypatch.setenv("PATH", node["PATH"])
    with pytest.raises(UserError, match="expected indices or UUIDs of the 4 GPUs"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": variable})


def test_ports_are_leased_once(tmp_path):
    ports = {lease_port(tmp_path) for _ in range(20)}
    assert len(ports) == 20
