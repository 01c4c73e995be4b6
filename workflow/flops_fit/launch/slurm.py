"""One experiment on several nodes of a SLURM job, with one launcher on each.

SLURM places the launchers (srun), and the processes rendezvous on the job's first node. Imports no
torch.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flops_fit.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """Where the processes of an experiment find each other, and the rank of this node."""

    nodes: int
    rank: int
    address: str  # of the first node, as the others reach it
    port: int


def hosts_of_job(environment: Mapping[str, str]) -> list[str]:
    """Return the nodes of the SLURM job whose batch script this process belongs to, in order.

    Empty outside SLURM, in a job of one node, and in a job step, which is placed already. The list
    comes from SLURM's commands, because Snakemake's executor hides SLURM's variables from jobs.
    """
    job = environment.get("SLURM_JOB_ID")
    if not job or "SLURM_STEP_ID" in environment or environment.get("SLURM_JOB_NUM_NODES") == "1":
        return []
    (names,) = _ask("squeue", "--noheader", f"--jobs={job}", "--format=%N") or [""]
    hosts = _ask("scontrol", "show", "hostnames", names)
    return hosts if len(hosts) > 1 else []


def processes_per_node(processes: int, hosts: Sequence[str]) -> int:
    """Return how many of the processes each node gets.

    Raises
    ------
    UserError
        If they cannot be divided evenly.
    """
    if processes % len(hosts):
        raise UserError(
            f"train.processes: found {processes} on the {len(hosts)} nodes of this SLURM job, "
            f"expected a multiple of {len(hosts)}"
        )
    return processes // len(hosts)


def address_of(host: str) -> str:
    """Return the address under which SLURM itself reaches a node."""
    return _ask("sinfo", "--noheader", "--Node", f"--nodes={host}", "--format=%o")[0]


def srun_command(
    launcher: Sequence[str], hosts: Sequence[str], *, threads: int, gpus: int
) -> list[str]:
    """Return the command that runs a launcher once on every node of the job.

    Parameters
    ----------
    launcher
        Command of one node's launcher.
    threads, gpus
        CPU threads and GPUs of each node.
    """
    command = [
        "srun",
        f"--nodes={len(hosts)}",
        f"--ntasks={len(hosts)}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={threads}",
        "--cpu-bind=none",  # one launcher starts several processes
        # Otherwise the other nodes would wait for a node that failed.
        "--kill-on-bad-exit=1",
    ]
    if gpus:
        command.append(f"--gpus-per-node={gpus}")
    return [*command, *launcher]


def _ask(*command: str) -> list[str]:
    """Return the lines that one of SLURM's commands prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip()
        raise UserError(
            f"{' '.join(command)}: failed ({detail}), expected SLURM's answer: SLURM_JOB_ID is "
            "set, but the job's nodes cannot be found out"
        ) from None
    return done.stdout.split()
