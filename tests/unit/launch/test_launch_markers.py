"""Marks on GPUs, and names of processes, as others may have made them."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys

import psutil
import pytest
from flops_fit.launch.markers import mark, marks
from flops_fit.launch.processes import described

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such sockets")
GPU = f"GPU-{os.urandom(8).hex()}"  # in no other run of the tests


@linux
def test_a_mark_lasts_as_long_as_a_process_that_inherited_it():
    code = (
        "import subprocess, sys\n"
        "from flops_fit.launch.markers import mark\n"
        "mark([sys.argv[1]])\n"
        "child = subprocess.Popen(['cat'], close_fds=False)\n"
        "print(child.pid, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, GPU], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    child = psutil.Process(int(process.stdout.readline()))
    process.wait()
    me = f"an experiment of flops-fit (pid {process.pid}, user {getpass.getuser()})"
    assert marks()[GPU] == [me]
    process.stdin.close()
    child.wait(timeout=60)
    assert GPU not in marks()


@linux
@pytest.mark.parametrize(
    "rest", [b"\xff/1/2/3", b"%b/x/2/3", b"%b/0/\x1b[2J/3", b"%b/0/1", b"%b/0/1/2/3", b"%b/\n/1/2"]
)
def test_sockets_of_such_names_that_are_no_marks_are_ignored(rest):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(b"\0flops-fit/" + rest.replace(b"%b", GPU.encode()))
        assert GPU not in marks()


def test_what_cannot_be_marked_is_left_alone():
    mark([f"GPU-{'0' * 200}"])  # longer than the name of a socket may be


def test_a_name_does_not_write_over_a_terminal():
    assert described(2**22 + 1, "\x1b[2Jpython\n") == f"?[2Jpython? (pid {2**22 + 1})"
