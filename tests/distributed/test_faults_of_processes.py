"""A process that dies takes its experiment with it, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(900)  # a process that dies early reports nothing to a fifo

# A loss that reports its process once and then waits, or fails, when the test has asked for it.
STUCK = """
import sys
import threading


def outlast_the_agent():
    # Whoever has just looked whether its agent lives looks again after 5 seconds: the other
    # processes meet the lost connection before they are ended with the agent.
    looked, getppid = threading.Event(), os.getppid
    sys.modules["flops_fit.launch.signals"]._SECONDS_BETWEEN_LOOKS = 5
    os.getppid = lambda: looked.set() or getppid()
    looked.wait()


def stuck_loss(outputs, targets):
    if torch.is_grad_enabled() and outputs.device.type != "meta":
        rank = os.environ.get("RANK", "0")
        if os.environ.get("FAIL_RANK") == rank:
            raise ArithmeticError("a failure of one process")
        if os.environ.get("FULL_RANK"):
            outlast_the_agent()
        if os.environ.get("FULL_RANK") == rank:
            raise OSError(28, "No space left on device")
        if os.environ.get("STUCK_FIFO"):
            with open(os.environ["STUCK_FIFO"], "w") as fifo:
                fifo.write(f"{rank} {os.getpid()}\\n")
            os.environ.pop("STUCK_FIFO")
        if os.environ.get("FOREVER"):
            while True:
                time.sleep(3600)
    return mean_loss(outputs, targets)
"""


def stuck(launchpad) -> tuple[str, Path]:
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + STUCK)
    launchpad.config["loss"] = "points:stuck_loss"
    launchpad.config["train"]["processes"] = 2
    fifo = launchpad.path / "fifo"
    os.mkfifo(fifo)
    return launchpad.plan()[0], fifo


def ranks_of(fifo: Path) -> dict[int, int]:
    """Wait until both processes are in their first step; return rank -> process id."""
    found = {}
    # Open for both: what a process writes between two openings would be lost
    with open(os.open(fifo, os.O_RDWR)) as file:
        while len(found) < 2:
            rank, pid = map(int, file.readline().split())
            found[rank] = pid
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_process_ends_its_experiment(launchpad):
    run_id, fifo = stuck(launchpad)
    process = launchpad.start(run_id, STUCK_FIFO=str(fifo), FOREVER="1")
    ranks = ranks_of(fifo)
    os.kill(ranks[1], signal.SIGKILL)
    process.communicate(timeout=3000)
    assert process.returncode != 0
    assert not alive(ranks[0])
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()
    # A rerun repeats it, and it comes out as if nothing had happened.
    assert launchpad.launch(run_id)["status"] == "completed"


def test_processes_do_not_outlive_their_agent(launchpad):
    """Neither the rendezvous store nor the lock that a rerun waits for."""
    run_id, fifo = stuck(launchpad)
    process = launchpad.start(run_id, STUCK_FIFO=str(fifo), FOREVER="1")
    ranks = [psutil.Process(pid) for pid in ranks_of(fifo).values()]
    agent = ranks[0].parent()
    assert agent.ppid() == process.pid
    agent.kill()
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert psutil.wait_procs(ranks, timeout=30)[1] == []
    assert launchpad.launch(run_id)["status"] == "completed"


def test_an_exception_in_one_process_ends_the_experiment_and_is_in_the_log(launchpad):
    run_id, _ = stuck(launchpad)
    process = launchpad.start(run_id, FAIL_RANK="1")
    process.communicate(timeout=300)
    assert process.returncode != 0
    log = (launchpad.study / "logs" / f"{run_id}.log").read_text()
    assert "[process 1]" in log
    assert "a failure of one process" in log
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()


def test_trouble_of_one_process_is_its_sentence_alone(launchpad):
    """The other processes only lose the connection in the middle of a step, and say nothing."""
    run_id, _ = stuck(launchpad)
    process = launchpad.start(run_id, FULL_RANK="1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    for said in (output, (launchpad.study / "logs" / f"{run_id}.log").read_text()):
        assert "[process 1] error: [Errno 28] No space left on device; run snakemake again" in said
        assert "Traceback" not in said
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()


def test_an_interrupt_leaves_no_process_behind(launchpad):
    run_id, fifo = stuck(launchpad)
    process = launchpad.start(run_id, STUCK_FIFO=str(fifo), FOREVER="1", FLOPS_FIT_PATIENCE="2")
    ranks = ranks_of(fifo)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not any(alive(pid) for pid in ranks.values())
