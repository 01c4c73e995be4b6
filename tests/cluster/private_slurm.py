"""A SLURM cluster of two nodes with four GPUs each, on this machine and for one test session.

As a program it is the guardian of such a cluster: it starts the daemons as its own children and
stops them, and all that they started, as soon as its standard input ends; that is when the test
session that holds the other end is gone, however it ended.

The nodes are two slurmd on the loopback device, with a munge key, ports and folders of their own;
no privileges are needed. The GPUs are device files that every machine has: SLURM counts them, gives
them to jobs and sets CUDA_VISIBLE_DEVICES. There is no accounting.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

NODES = ("n1", "n2")
GPUS_PER_NODE = 4
GPU_TYPE = "nvidia_a100-sxm4-80gb"  # as AutoDetect names one, hyphens included
# What has to be there, and the package of Debian and Ubuntu that brings it.
PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_PR_SET_CHILD_SUBREAPER = 36
_DEADLINE = 300.0  # seconds until the nodes are idle


def demand_packages() -> None:
    """Fail with the command that installs what is missing: these tests are never skipped."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        packages = " ".join(PROGRAMS[name] for name in missing)
        pytest.fail(
            f"the tests of SLURM need {', '.join(missing)}; on Debian and Ubuntu: sudo apt-get "
            f"install --no-install-recommends {packages} (or leave these tests out: "
            "pytest --ignore=tests/cluster)",
            pytrace=False,
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    folder: Path

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def commands(self) -> Path:
        """Folder of SLURM's commands, bound to this cluster whatever the environment says."""
        return self.folder / "bin"

    def ask(self, *command: str) -> str:
        """Run one of SLURM's commands and return what it prints."""
        done = subprocess.run(
            [self.commands / command[0], *command[1:]], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}")
        return done.stdout

    def jobs(self, states: str = "PENDING,RUNNING") -> list[str]:
        """Ids of the jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--format=%i", f"--states={states}").split()


@contextlib.contextmanager
def private_slurm():
    """Yield a :class:`Cluster` that is gone afterwards."""
    # Not pytest's folder: the path of a UNIX socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    guardian = subprocess.Popen(
        [sys.executable, __file__, str(folder)], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        answer = guardian.stdout.readline()
        if answer.strip() != "ready":
            raise RuntimeError(f"SLURM did not start:\n{answer}{guardian.stdout.read()}")
        yield Cluster(folder)
    finally:
        guardian.stdin.close()
        guardian.wait(timeout=300)


def write_configuration(folder: Path) -> None:
    """Write slurm.conf, gres.conf, munge's key and the folders that they name."""
    # Held together until all are chosen, so that no two are the same.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(len(NODES) + 1)]
    controller, *daemons = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    user = getpass.getuser()
    lines = [
        "ClusterName=tests",
        "SlurmctldHost=localhost(127.0.0.1)",
        f"SlurmctldPort={controller}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        "AuthType=auth/munge",
        # A job that is queued again waits until its old credential has expired (120 s by default).
        f"AuthInfo=socket={folder}/munge.socket,cred_expire=15",
        "CredType=cred/munge",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool-%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd-%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "SlurmdParameters=config_overrides",  # nodes are as large as is said here
        "GresTypes=gpu",
        "AccountingStorageType=accounting_storage/none",
        "JobAcctGatherType=jobacct_gather/none",
        "ReturnToService=2",
        "KillWait=30",
    ]
    for node, port in zip(NODES, daemons, strict=True):
        lines.append(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=64 "
            f"RealMemory=256000 Gres=gpu:{GPU_TYPE}:{GPUS_PER_NODE}"
        )
        (folder / f"spool-{node}").mkdir()
    lines.append(f"PartitionName=debug Nodes={','.join(NODES)} Default=YES MaxTime=UNLIMITED")
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    devices = ("null", "zero", "full", "random")[:GPUS_PER_NODE]
    (folder / "gres.conf").write_text(
        "".join(
            f"NodeName={n} Name=gpu Type={GPU_TYPE} File=/dev/{d}\n" for n in NODES for d in devices
        )
    )
    (folder / "state").mkdir()
    write_commands(folder / "bin", folder / "slurm.conf")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def write_commands(folder: Path, configuration: Path) -> None:
    """Write SLURM's commands so that each names our configuration itself.

    The executor's job steps run without any SLURM_* variable, SLURM_CONF included.
    """
    folder.mkdir()
    for name in COMMANDS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which(name)} "$@"\n')
        path.chmod(0o755)


def start_daemons(folder: Path) -> None:
    """Start munged, slurmctld and the slurmd of every node, and wait until the nodes are idle.

    Raises
    ------
    TimeoutError
        With the ends of the daemons' logs.
    """
    commands = {
        "munged": [
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        ],
        "slurmctld": ["slurmctld", "-D"],
        **{f"slurmd-{node}": ["slurmd", "-D", "-N", node] for node in NODES},
    }  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    environment |= {"PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    deadline = time.monotonic() + _DEADLINE
    for name, command in commands.items():
        with open(folder / f"{name}.out", "w") as output:
            subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip
        while name == "munged" and not (folder / "munge.socket").exists():
            _wait(folder, deadline)
    ask = ["sinfo", "--noheader", "--Node", "--format=%T"]
    while (
        subprocess.run(ask, env=environment, capture_output=True, text=True).stdout.split()
        != ["idle"] * len(NODES)
    ):  # fmt: skip
        _wait(folder, deadline)


def _wait(folder: Path, deadline: float) -> None:
    if time.monotonic() > deadline:
        ends = [f"{p.name}: {p.read_text()[-1000:]}" for p in sorted(folder.glob("*.out"))]
        raise TimeoutError("\n".join(ends))
    time.sleep(0.1)


def stop_descendants() -> None:
    """End every process that this one started, directly or not."""
    for end in (psutil.Process.terminate, psutil.Process.kill, psutil.Process.kill):
        remaining = psutil.Process().children(recursive=True)
        for process in remaining:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(remaining, timeout=3)


def guard(folder: Path) -> None:
    """Hold a cluster until standard input ends."""
    # What the daemons leave behind (a slurmstepd with its job) becomes a child of this process.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        write_configuration(folder)
        start_daemons(folder)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a slurmstepd ended
        print("ready", flush=True)
        sys.stdin.read()
    except TimeoutError as error:
        print(error, flush=True)
    finally:
        stop_descendants()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
