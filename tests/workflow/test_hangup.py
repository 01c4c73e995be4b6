"""The terminal is closed, or the connection lost, while a study trains."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import subprocess
import termios
import time
from contextlib import suppress

import psutil
import pytest
from checkout import environment, jobs_of
from flops_fit.records.experiment_files import CHECKPOINT

# A loss that takes its time where the test asks for it, and says that training has begun.
PACED = """
import os
import pathlib
import time

import torch
from torch import nn

steps = 0


def paced(outputs, targets):
    global steps
    if torch.is_grad_enabled() and "MARK" in os.environ and outputs.device.type != "meta":
        steps += 1
        time.sleep(0.5 if steps > 5 else 0)
        if steps == 6:
            pathlib.Path(os.environ["MARK"]).touch()
    return nn.functional.cross_entropy(outputs, targets)
"""
COMMAND = ["snakemake", "--cores", "1", "--configfile", "config/studies/tiny.yaml"]
SECONDS = 300  # for what takes a few of them on a quiet machine


@pytest.fixture
def paced(checkout, tmp_path):
    """A planned study whose trainings last half a minute where MARK is set."""
    checkout.config_file.with_name("paced.py").write_text(PACED)
    checkout.configure(lambda c: c.update(loss="paced:paced", plan=c["plan"] | {"budgets": [2e6]}))
    checkout.succeed("plan", "--cores", "1")
    checkout.variables["MARK"] = str(tmp_path / "mark")
    yield checkout
    for process in ours(checkout):
        with suppress(psutil.Error):
            process.kill()


def ours(checkout) -> list[psutil.Process]:
    """The processes that work in the checkout."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(checkout.path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(condition) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.1)


class Terminal:
    """A pseudo-terminal that controls the session of one command."""

    def __init__(self, command, checkout):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=checkout.path, env=environment() | checkout.variables | {"TERM": "xterm"},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self.ours, False)

    def type(self, line: str) -> None:
        os.write(self.ours, line.encode() + b"\n")

    def read(self) -> bytes:
        """What was shown since the last look; a terminal that nobody reads stops its writers."""
        with suppress(BlockingIOError, OSError):
            return os.read(self.ours, 1 << 16)
        return b""

    def close(self) -> None:
        os.close(self.ours)


def is_training(checkout, terminal=None) -> bool:
    if terminal:
        terminal.read()
    return os.path.exists(checkout.variables["MARK"])


def check_that_it_ended_well(checkout) -> None:
    """Nothing of it lives, nothing is locked, what was trained is saved, and is gone on with."""
    wait_for(lambda: not ours(checkout))
    assert not list((checkout.path / ".snakemake").glob("locks/*"))
    (saved,) = (checkout.study / "state").glob(f"*/{CHECKPOINT}")
    run_id = saved.parent.name
    assert not (checkout.study / "runs" / f"{run_id}.json").exists()
    del checkout.variables["MARK"]
    output = checkout.succeed("runs", "--cores", "2")
    assert jobs_of(output) == 3
    assert checkout.records()[run_id]["world"]["resumed"] is True


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(True, id="in a shell"),
        pytest.param(False, id="first of its session", marks=pytest.mark.long),
    ],
)
def test_a_closed_terminal_ends_snakemake_as_an_interrupt_does(paced, shell):
    terminal = Terminal(["bash", "--norc", "-i"] if shell else COMMAND, paced)
    if shell:
        terminal.type(shlex.join(COMMAND))
    wait_for(lambda: is_training(paced, terminal))
    terminal.close()
    check_that_it_ended_well(paced)
    terminal.process.wait(timeout=SECONDS)


def test_a_hangup_of_snakemake_alone_reaches_its_trainings(paced, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            COMMAND, cwd=paced.path, env=environment() | paced.variables,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    wait_for(lambda: is_training(paced))
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=SECONDS) == 1
    assert "Traceback" not in log.read_text()
    assert "hangup: experiments that are running save and end" in log.read_text()
    check_that_it_ended_well(paced)
