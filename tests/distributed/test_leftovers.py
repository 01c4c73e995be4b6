"""What killed launchers leave among the leases, and that sweeping it away takes no lease."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from checkout import ROOT
from flops_fit.launch.leases import remove_leftovers
from leasing import Holder

pytestmark = pytest.mark.timeout(600)


def kill_group(process: subprocess.Popen) -> None:
    """Kill a launcher and all that it started, at one moment, and wait until they are gone."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        end(*children)
    process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def end(*processes: psutil.Process) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_the_next_start_removes_what_killed_launchers_left_and_nothing_else(node):
    holders = [Holder(node) for _ in range(3)]
    held = [holder.wait_until_it_holds()[0] for holder in holders]
    files = node.files()
    assert len(files) == 3 * 3  # claim, use and status
    kill_group(holders[0].process)
    # The launcher alone: its accelerate and its training go on, and keep what they need.
    end(psutil.Process(holders[1].process.pid))
    # All but the training.
    end(psutil.Process(holders[2].process.pid), psutil.Process(holders[2].trainer).parent())
    assert node.files() == files

    remove_leftovers(node.leases)
    left = node.files()
    halves = {f"{held[1]}.claim", f"{held[1]}.use", f"{held[2]}.use"}
    assert {name for name in left if not name.startswith("status-")} == halves
    assert len(left) == len(halves) + 1  # the status file that a training may still write to

    middle = psutil.Process(holders[1].trainer).parent()
    end(middle, *(psutil.Process(holder.trainer) for holder in holders[1:]))
    last = Holder(node)
    assert last.wait_until_it_holds() == node.gpus[:1]
    assert not node.files() & (left - {f"{node.gpus[0]}.claim", f"{node.gpus[0]}.use"})
    last.finish()


def test_the_launcher_of_an_experiment_removes_what_a_killed_one_left(launchpad, tmp_path):
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    leases = tmp_path / f"flops-fit-{os.getuid()}"

    def files() -> set[str]:
        return {path.name for path in leases.glob("*-*")}

    first = launchpad.start(run_id, TMPDIR=str(tmp_path))
    wait_until(lambda: len(files()) == 2)  # claim of the port, status
    kill_group(first)
    left = files()
    assert sorted(name.split("-")[0] for name in left) == ["port", "status"]
    second = launchpad.start(run_id, TMPDIR=str(tmp_path))
    wait_until(lambda: not left & files())
    kill_group(second)
    assert not list(tmp_path.glob("flops-fit-status-*"))


# A launcher that leases one of two GPUs and a port, and starts what starts a training as accelerate
# does. That looks whether it has both for itself: it locks a witness of the GPU and listens at the
# port.
LAUNCHER = """
import os, subprocess, sys
from flops_fit.launch.leases import USE_FILES, lease_gpus, remove_leftovers, use_files
from flops_fit.launch.ports import lease_port
from flops_fit.launch.supervise import supervise
remove_leftovers()
gpus = lease_gpus(1, os.environ["GPUS"].split())
port = lease_port()
environment = os.environ | {USE_FILES: os.pathsep.join(map(str, use_files(gpus)))}
middle = "import subprocess as s, sys; sys.exit(s.call([sys.executable, *sys.argv[1:]]))"
training = ["-c", sys.argv[1], gpus[0], str(port), sys.argv[2]]
sys.exit(supervise([sys.executable, "-c", middle, *training], environment))
"""
TRAINER = """
import fcntl, os, socket, sys, time
from flops_fit.launch.leases import hold_use
witness = open(os.environ["WITNESSES"] + "/" + sys.argv[1], "w")  # the first to be closed in a kill
hold_use(os.environ)
fcntl.lockf(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
with socket.create_server(("127.0.0.1", int(sys.argv[2]))):
    time.sleep(float(sys.argv[3]))
"""


def test_many_starts_and_kills_never_give_two_trainings_one_gpu_or_port(node, tmp_path):
    """Every start sweeps, while others lease, hold, leave and are killed."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "workflow"), "TMPDIR": str(tmp_path), "WITNESSES": str(tmp_path),
        "GPUS": " ".join(node.gpus[:2]),
    }  # fmt: skip

    def start_often(seed: int) -> list[str]:
        dice, said = random.Random(seed), []
        for _ in range(5):
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, TRAINER, str(dice.uniform(0, 0.2))],
                env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            try:
                if dice.random() < 0.5:  # at any moment, while it leases, waits, trains or leaves
                    process.wait(dice.uniform(0.1, 1))
            except subprocess.TimeoutExpired:
                if dice.random() < 0.5:
                    kill_group(process)
                else:
                    process.kill()
            _, errors = process.communicate(timeout=300)
            said.append(errors)
            if process.returncode not in (0, -signal.SIGKILL):
                said.append(f"Error: status {process.returncode}")
        return said

    with ThreadPoolExecutor(6) as pool:
        said = [text for texts in pool.map(start_often, range(6)) for text in texts]
    assert not [text for text in said if "Error" in text]
    assert sum("waiting for 1 of 2 GPUs" in text for text in said) > 3
    folder = tmp_path / f"flops-fit-{os.getuid()}"

    def clean() -> bool:  # the last training may still be ending
        remove_leftovers(folder)
        return [path.name for path in folder.iterdir()] == ["gate"]

    wait_until(clean)
