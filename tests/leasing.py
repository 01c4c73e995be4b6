"""Real launchers and trainings that lease GPUs, which a stand-in of nvidia-smi lists."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

HOLDERS = "FLOPS_FIT_TEST_HOLDERS"  # a file with the process groups to end after a test

# Leases like the launcher, which supervises a process that starts a training process as accelerate
# does: as a child that inherits no files.
LAUNCHER = """
import os, sys
from flops_fit.launch.gpus import visible_gpus
from flops_fit.launch.leases import USE_FILES, lease_gpus, remove_leftovers, use_files
from flops_fit.launch.supervise import supervise
remove_leftovers()
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

# Answers the three questions from three files beside it.
SMI = """#!/bin/sh
here=$(dirname "$0")
case "$1" in
    --query-gpu=uuid) cat "$here/gpus" ;;
    --query-gpu=uuid,index,memory.used,display_active) cat "$here/states" ;;
    --query-compute-apps=gpu_uuid,pid,used_memory,process_name) cat "$here/processes" ;;
    *) exit 2 ;;
esac
"""


class Node:
    """A node with four GPUs, on which nothing runs, and with locks of its own."""

    def __init__(self, folder: Path):
        self.smi = folder / "bin" / "nvidia-smi"
        self.smi.parent.mkdir()
        self.smi.write_text(SMI)
        self.smi.chmod(0o755)
        # In no other test: all users of a system see which GPUs experiments have marked.
        self.gpus = [f"GPU-{i}{os.urandom(4).hex()}" for i in range(4)]
        self.say("gpus", *self.gpus)
        self.say("states", *(f"{gpu}, {i}, 4, Disabled" for i, gpu in enumerate(self.gpus)))
        self.say("processes")
        self.holders = folder / "holders"
        self.holders.touch()
        self.environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        self.environment["PATH"] = f"{self.smi.parent}:{os.environ['PATH']}"
        self.environment["TMPDIR"] = str(folder / "locks")
        self.environment["PYTHONPATH"] = str(ROOT / "workflow")
        self.leases = folder / "locks" / f"flops-fit-{os.getuid()}"
        self.leases.parent.mkdir()

    def say(self, name: str, *lines: str) -> None:
        """Set what nvidia-smi says."""
        (self.smi.parent / name).write_text("".join(f"{line}\n" for line in lines))

    def files(self) -> set[str]:
        """What lies among the leases."""
        return {path.name for path in self.leases.iterdir()} - {"gate"}


class Holder:
    """One launcher with its training process."""

    def __init__(self, node: Node, count: int = 1):
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(count), TRAINER], env=node.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        with open(node.holders, "a") as file:
            file.write(f"{self.process.pid}\n")

    def wait_until_it_holds(self) -> list[str]:
        word, pid, gpus = self.process.stdout.readline().split()
        assert word == "holds"
        self.trainer = int(pid)
        return gpus.split(",")

    def finish(self) -> str:
        """Let the training end; return what the launcher said on standard error."""
        _, said = self.process.communicate("\n", timeout=300)
        assert self.process.returncode == 0
        return said


@pytest.fixture
def node(tmp_path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for pid in map(int, made.holders.read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
