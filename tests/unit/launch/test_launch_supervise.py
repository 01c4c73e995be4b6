"""What the supervisor of a command makes of its end, and what it leaves as it was."""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil
import pytest
from flops_fit.launch.supervise import supervise

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TELL = "import os; open(os.environ['FLOPS_FIT_STATUS_FILE'], 'w').write('{}')\n"


def run(code: str, **more: str) -> int:
    return supervise([sys.executable, "-c", code], {**os.environ, **more})


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
        (TELL.format(75), 75),
        (TELL.format(75) + "raise SystemExit(1)", 75),
        (TELL.format(1) + "os.kill(os.getpid(), 9)", 1),
        ("raise SystemExit(75)", 75),
    ],
)
def test_the_status_of_the_command_comes_back(code, status):
    assert run(code) == status


def test_the_command_ignores_signals_and_what_was_handled_before_is_again():
    before = [signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)]
    names = ", ".join(number.name for number in NUMBERS)
    code = f"from signal import *; exit(any(getsignal(n) != SIG_IGN for n in ({names})))"
    assert run(code) == 0
    assert [signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)] == before


def test_files_that_were_made_inheritable_reach_the_command(tmp_path):
    """A lease is a lock on such a file."""
    with open(tmp_path / "lease", "w") as file:
        os.set_inheritable(file.fileno(), True)
        code = f"import os; os.write({file.fileno()}, b'held')"
        assert run(code) == 0
    assert (tmp_path / "lease").read_text() == "held"


def test_the_children_of_the_command_are_asked_not_the_command():
    """The command, a stand-in for accelerate, goes on until its child has left by itself."""
    child = (
        "import os, signal, sys, time\n"
        "got = []\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))\n"
        f"os.kill({os.getpid()}, signal.SIGUSR1)\n"
        "end = time.monotonic() + 60\n"
        "while not got and time.monotonic() < end: time.sleep(0.01)\n"
        "sys.exit(10 + len(got))\n"
    )
    code = (
        "import subprocess, sys\n"
        f"sys.exit(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    )
    assert run(code) == 11


def test_a_warning_is_passed_on_though_it_was_ignored():
    """As the Snakemake inside of a SLURM job step does, so as not to die of it."""
    child = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(7))\n"
        f"os.kill({os.getpid()}, signal.SIGUSR1)\n"
        "time.sleep(60)\n"
    )
    code = (
        "import subprocess, sys\n"
        f"sys.exit(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    )
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        assert run(code) == 7
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_command_that_does_not_leave_is_killed_with_all_that_it_started(tmp_path, capfd):
    pid = tmp_path / "pid"
    loader = "import time; time.sleep(600)"
    child = (
        "import subprocess, sys\n"
        f"process = subprocess.Popen([sys.executable, '-c', {loader!r}])\n"
        f"open({str(pid)!r}, 'w').write(str(process.pid))\n"
        "process.wait()\n"
    )
    code = (
        "import os, signal, subprocess, sys, time\n"
        f"process = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"while not os.path.exists({str(pid)!r}): time.sleep(0.01)\n"
        f"os.kill({os.getpid()}, signal.SIGTERM)\n"
        "process.wait()\n"
    )
    assert run(code, FLOPS_FIT_PATIENCE="0.5") == 128 + signal.SIGTERM
    assert "the training has not left within 0.5 s and is killed" in capfd.readouterr().err
    started, end = int(pid.read_text()), time.monotonic() + 30
    while lives(started):
        assert time.monotonic() < end, "it was left behind"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
