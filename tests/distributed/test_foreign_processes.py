"""Processes of others, which take no leases, on this node's GPUs and ports."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
import subprocess
import sys

import pytest
from flops_fit.launch.ports import PORTS, lease_port
from leasing import Holder, Node

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stranger():
    """A process of somebody else."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_gpu_that_nothing_runs_on_is_preferred(node, stranger):
    node.say("processes", f"{node.gpus[0]}, {stranger.pid}, 321, /bin/sleep")
    node.environment["CUDA_VISIBLE_DEVICES"] = "0,1,2"
    holders = [Holder(node, 2)]
    assert holders[0].wait_until_it_holds() == node.gpus[1:3]
    holders.append(Holder(node))
    assert holders[1].wait_until_it_holds() == node.gpus[:1]  # the others are leased
    assert "warning" not in holders[0].finish()
    assert f"warning: GPU 0 ({node.gpus[0]}) is in use by /bin/sleep (pid" in holders[1].finish()


def test_a_gpu_that_is_in_use_is_taken_where_no_other_is_left_and_the_process_is_named(
    node, stranger
):
    node.say(
        "processes",
        *(f"{uuid}, {stranger.pid}, {100 * i}, /bin/sleep" for i, uuid in enumerate(node.gpus, 1)),
        f"{node.gpus[0]}, {stranger.pid}, [N/A], elsewhere",  # its number here is that of another
        f"{node.gpus[0]}, 4194305, 7, [Not Found]",  # above all process numbers of Linux
    )
    holder = Holder(node, 2)
    assert len(holder.wait_until_it_holds()) == 2
    said = holder.finish()
    known = f"/bin/sleep (pid {stranger.pid}, user {getpass.getuser()}, 100 MiB)"
    unknown = f"elsewhere (pid {stranger.pid}), a process (pid 4194305, 7 MiB)"
    assert f"warning: GPU 0 ({node.gpus[0]}) is in use by {known}, {unknown}; GPU " in said
    assert f"GPU 1 ({node.gpus[1]}) is in use by /bin/sleep (pid {stranger.pid}, " in said
    assert "200 MiB); leased all the same" in said


@pytest.mark.parametrize(
    ("state", "warned"),
    [("4, Disabled", False), ("5000, Disabled", True), ("5000, Enabled", False)],
)
def test_memory_in_use_tells_of_processes_that_the_driver_does_not_show(node, state, warned):
    """To a container. The memory of a display may be the desktop's."""
    node.environment["CUDA_VISIBLE_DEVICES"] = "0"
    node.say("states", f"{node.gpus[0]}, 0, {state}")
    holder = Holder(node)
    assert holder.wait_until_it_holds() == node.gpus[:1]
    said = holder.finish()
    assert ("a process that cannot be seen from here" in said) is warned
    assert ("5000 MiB" in said) is warned


def test_of_gpus_in_use_the_one_with_the_least_memory_in_use_is_taken(node):
    node.say("states", *(f"{u}, 0, {5000 - i}, Disabled" for i, u in enumerate(node.gpus)))
    holder = Holder(node)
    assert holder.wait_until_it_holds() == node.gpus[3:]
    holder.finish()


@pytest.mark.parametrize("answer", ["exit 9", "echo nonsense", "echo a, b, c, d", "kill -9 $$"])
def test_a_driver_that_does_not_answer_changes_nothing(node, answer):
    node.smi.write_text(node.smi.read_text().replace("in\n", f"in\n--*,*) {answer} ;;\n", 1))
    holder = Holder(node, 4)
    assert holder.wait_until_it_holds() == node.gpus
    assert holder.finish() == ""


def test_a_process_that_has_just_ended_is_no_reason_to_warn(node):
    """The driver shows it until it has taken back its memory."""
    show = 'cat "$here/processes"'
    node.smi.write_text(node.smi.read_text().replace(show, f'{show}; : > "$here/processes"'))
    node.say("processes", *(f"{uuid}, 4194305, 321, python" for uuid in node.gpus))
    holder = Holder(node)
    assert holder.wait_until_it_holds() == node.gpus[:1]
    assert holder.finish() == ""


linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot do it")


@linux
def test_experiments_with_another_folder_for_leases_are_seen_before_they_compute(node, tmp_path):
    """Of another user, or of a job with a TMPDIR of its own."""
    (tmp_path / "other").mkdir()
    other = Node(tmp_path / "other")
    for name in ("gpus", "states"):
        other.say(name, *(node.smi.parent / name).read_text().splitlines())
    one = Holder(node)
    assert one.wait_until_it_holds() == node.gpus[:1]
    beside = Holder(other, 3)
    assert beside.wait_until_it_holds() == node.gpus[1:]
    assert beside.finish() == ""
    other.environment["CUDA_VISIBLE_DEVICES"] = "0"
    together = Holder(other)
    assert together.wait_until_it_holds() == node.gpus[:1]
    me = f"an experiment of flops-fit (pid {one.process.pid}, user {getpass.getuser()})"
    assert f"GPU 0 ({node.gpus[0]}) is in use by {me}; leased all the same" in together.finish()
    one.finish()
    alone = Holder(other)
    alone.wait_until_it_holds()
    assert alone.finish() == ""


def test_a_port_in_use_is_passed_over_and_its_user_named(tmp_path):
    warnings = []
    first = PORTS[os.getpid() % len(PORTS)]
    with socket.create_server(("127.0.0.1", first)):
        port = lease_port(tmp_path, warnings.append)
    (warning,) = warnings
    assert port != first
    me = rf"\S+ \(pid {os.getpid()}, user {getpass.getuser()}\)"
    assert re.fullmatch(rf"port {first} of this node is in use by {me}; {port} is used", warning)


@linux
def test_a_leased_port_is_refused_to_others_but_not_to_the_rendezvous(tmp_path):
    """Also to launchers that do not see the lease, and to programs that come later."""
    for folder in ("one", "another"):
        (tmp_path / folder).mkdir()
    port = lease_port(tmp_path / "one")
    assert lease_port(tmp_path / "another") != port
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("", port))
    with socket.create_server(("", port)):  # which asks to share it, as torch's store does
        pass


def test_two_processes_meet_though_the_port_that_came_first_is_in_use(launchpad):
    """By a program that answers there; the launcher waits until it does."""
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    waiting = ["sh", "-c", 'read go; exec "$@"', "sh", *launchpad.command(run_id)]
    process = subprocess.Popen(
        waiting, env=launchpad.environment(), text=True, cwd=launchpad.path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    first = PORTS[process.pid % len(PORTS)]
    with socket.create_server(("127.0.0.1", first)):
        output, _ = process.communicate("\n", timeout=600)
    assert process.returncode == 0, output
    assert launchpad.record(run_id)["world"]["num_processes"] == 2
    command, warning, *_ = (launchpad.study / "logs" / f"{run_id}.log").read_text().splitlines()
    assert "--main_process_port" in command
    assert f"--main_process_port={first}" not in shlex.split(command)
    assert warning.startswith(f"warning: port {first} of this node is in use by ")
    assert f"(pid {os.getpid()}, user {getpass.getuser()})" in warning
    assert warning in output
    assert "is already in use" not in output  # what accelerate says when it moves on by itself
