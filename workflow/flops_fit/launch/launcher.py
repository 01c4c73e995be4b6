"""From one planned experiment to one ``accelerate launch`` command (per node).

``python -m flops_fit.launch`` is all that the train rule calls; everything that may differ between
machines (processes, devices, ports, threads) is decided here, out of sight of Snakemake's rerun
triggers.
Imports no torch.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from flops_fit.errors import UserError
from flops_fit.files.writing import write_whole
from flops_fit.launch.gpus import visible_gpus
from flops_fit.launch.leases import (
    USE_FILES,
    lease_gpus,
    print_warning,
    remove_leftovers,
    use_files,
)
from flops_fit.launch.ports import lease_port
from flops_fit.launch.slurm import (
    Rendezvous,
    address_of,
    hosts_of_job,
    processes_per_node,
    srun_command,
)
from flops_fit.launch.supervise import supervise
from flops_fit.plan.files import read_job, read_trunk
from flops_fit.plan.job import Job
from flops_fit.plan.trunk_record import nothing_to_share, store_trunk
from flops_fit.records.experiment_files import LAUNCH_LOCK, held_experiment
from flops_fit.records.run_record import use_stored_record

FAILED = 1  # exit status of a training that says what is wrong, not one that was stopped or killed

# A user's own accelerate configuration must not decide how an experiment is trained.
ACCELERATE_CONFIG = Path(__file__).resolve().parent / "accelerate.yaml"
TRAIN_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"

# Snakemake sets all of these to the threads of a whole job; torch follows MKL's before OpenMP's.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
# What accelerate, torch.distributed and MPI read to find their place among processes.
LAUNCH_PREFIXES = (
    "ACCELERATE_", "FSDP_", "PET_", "TORCHELASTIC_", "PMI_", "PMIX_", "OMPI_COMM_", "MV2_COMM_",
)  # fmt: skip
LAUNCH_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK",
    "GROUP_WORLD_SIZE", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip


class Warnings:
    """Warnings of a launcher: on standard error at once, and in the log once that has begun."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Print a warning and keep it for the log."""
        print_warning(text)
        self.texts.append(text)

    def write(self, log: Path, command: Sequence[str] | None) -> None:
        """Begin the log with the command, or, without one, go on with a log that has begun."""
        lines = [
            *([shlex.join(command)] if command else []),
            *(f"warning: {t}" for t in self.texts),
        ]
        text = "".join(f"{line}\n" for line in lines)
        if command:
            write_whole(log, text)
        elif text:
            with open(log, "a", encoding="utf-8") as file:
                file.write(text)


def accelerate_command(
    job: Job, script_arguments: Sequence[str], rendezvous: Rendezvous | None = None
) -> list[str]:
    """Return the ``accelerate launch`` command of one experiment on one node.

    Parameters
    ----------
    job
        The experiment.
    script_arguments
        Arguments of ``train.py``.
    rendezvous
        Where the processes find each other; needed for more than one.
    """
    processes, precision = job.processes, job.spec.precision
    command = [
        accelerate_executable(),
        "launch",
        f"--config_file={job.accelerate_config or ACCELERATE_CONFIG}",
        f"--num_processes={processes}",
        f"--num_machines={rendezvous.nodes if rendezvous else 1}",
        f"--machine_rank={rendezvous.rank if rendezvous else 0}",
        f"--mixed_precision={'no' if precision == 'float64' else precision}",
        "--dynamo_backend=no",
    ]
    if processes > 1:
        # Without a log folder the agent creates a temporary one, even if it stays empty.
        command += [f"--main_process_port={rendezvous.port}", f"--log_dir={os.devnull}"]
        if rendezvous.nodes > 1:
            command += [f"--main_process_ip={rendezvous.address}"]
        if not job.accelerate_config:
            # The flag means "several processes on this machine"; on a machine without GPUs the
            # trainer joins them through gloo. The study's own configuration decides this itself.
            command += ["--multi_gpu"]
    else:
        command += ["--quiet"]  # the trainer's own sentence is enough
    return [*command, str(TRAIN_SCRIPT), *script_arguments]


def accelerate_executable() -> str:
    """Return the ``accelerate`` of the running environment."""
    path = Path(sysconfig.get_path("scripts")) / "accelerate"
    if not path.exists():
        raise UserError(
            f"{path}: is missing, expected the accelerate package in the environment of "
            f"{sys.executable}; install envs/requirements.txt"
        )
    return str(path)


def process_environment(threads: int, processes: int) -> dict[str, str]:
    """Return the environment of the training processes: CPU threads divided among them.

    Waiting threads sleep (OMP_WAIT_POLICY): on busy cores, spinning threads cost a factor of 60.
    Variables of a surrounding launch (a pod, an MPI job, somebody's torchrun) are dropped, because
    the processes would try to join that launch.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCH_PREFIXES) and name not in LAUNCH_VARIABLES
    }
    environment |= dict.fromkeys(THREAD_VARIABLES, str(max(1, threads // processes)))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Link the stored record of a finished experiment, or run its ``accelerate launch``.

    In a SLURM job of several nodes, this process becomes an ``srun`` that starts the launcher on
    each node.

    Returns
    -------
    int
        Exit status; 75 if the training was asked to leave.
    """
    options = parse(arguments)
    study_folder = options.plan.parent
    trunk = read_trunk(study_folder / "specs.json", options.id) if options.trunk else None
    job = trunk[-1] if trunk else read_job(study_folder / "specs.json", options.id)
    if options.rendezvous:
        address, port = options.rendezvous.rsplit(":", 1)
        rank = int(os.environ["SLURM_NODEID"])
        rendezvous = Rendezvous(nodes=options.nodes, rank=rank, address=address, port=int(port))
        return run_accelerate(options, job, visible_gpus(os.environ), rendezvous)
    # After a kill, an earlier launcher, its `accelerate launch` or just the trainer may still be
    # running: wait for them, so that two trainers never run side by side.
    with held_experiment(study_folder, options.id, LAUNCH_LOCK):
        with held_experiment(study_folder, options.id):
            if trunk and nothing_to_share(trunk, study_folder):
                store_trunk(trunk, study_folder)
                print(f"{options.id}: no two of its branches wait for it")
                return 0
            if not trunk and use_stored_record(study_folder, options.id):
                print(f"{options.id}: finished earlier, its stored record is used")
                return 0
        gpus = visible_gpus(os.environ)
        hosts = hosts_of_job(os.environ) if job.processes > max(1, len(gpus)) else []
        if hosts:
            become_srun(options, job, hosts, with_gpus=bool(gpus))
        status = run_accelerate(options, job, gpus)
        if trunk and status == FAILED:
            # What went wrong is said again by its branches, if it goes wrong there.
            print(f"{options.id}: failed; its branches train their beginnings themselves")
            store_trunk(trunk, study_folder)
            return 0
        return status


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="plan.csv of the study")
    parser.add_argument("--id", required=True, help="id of the experiment")
    parser.add_argument("--trunk", action="store_true", help="it is the id of a trunk")
    parser.add_argument("--log", type=Path, required=True, help="log file of the experiment")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads on this node")
    # Passed by the job's launcher to the launchers of the nodes:
    parser.add_argument("--nodes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--rendezvous", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def become_srun(
    options: argparse.Namespace, job: Job, hosts: Sequence[str], *, with_gpus: bool
) -> NoReturn:
    """Exec the command that runs this launcher on every node, keeping locks and leases."""
    per_node = processes_per_node(job.processes, hosts)
    warnings = Warnings()
    launcher = [
        sys.executable,
        "-m",
        "flops_fit.launch",
        f"--plan={options.plan}",
        f"--id={options.id}",
        *(["--trunk"] if options.trunk else []),
        f"--log={options.log}",
        f"--threads={options.threads}",
        f"--nodes={len(hosts)}",
        f"--rendezvous={address_of(hosts[0])}:{lease_port(warn=warnings.add)}",
    ]
    command = srun_command(
        launcher, hosts, threads=options.threads, gpus=per_node if with_gpus else 0
    )
    warnings.write(options.log, command)
    print(shlex.join(command), flush=True)
    os.execv(shutil.which(command[0]), command)


def run_accelerate(
    options: argparse.Namespace,
    job: Job,
    gpus: list[str],
    rendezvous: Rendezvous | None = None,
) -> int:
    """Lease the GPUs of this node's processes and return how their ``accelerate launch`` ended."""
    processes = job.processes // (rendezvous.nodes if rendezvous else 1)
    environment = process_environment(options.threads, processes)
    warnings = Warnings()
    remove_leftovers()
    if gpus:
        gpus = lease_gpus(processes, gpus, warn=warnings.add)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        environment[USE_FILES] = os.pathsep.join(map(str, use_files(gpus)))
    else:
        print(f"{options.id}: no GPU is visible, it trains on the CPU")
        if "SLURM_JOB_ID" in os.environ and "CUDA_VISIBLE_DEVICES" not in os.environ:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # torch might see those of other jobs
            print(
                "this SLURM job was given no GPU (CUDA_VISIBLE_DEVICES is not set); ask for some "
                "(--gpus, or gpus_per_node in the profile), or, in a job that has its node to "
                "itself, set the variable in the job's script"
            )
    study_folder = options.plan.parent
    # It may have been finished elsewhere while this launcher waited for a GPU. (With several nodes,
    # no single one can decide this.)
    if rendezvous is None and not options.trunk and use_stored_record(study_folder, options.id):
        print(f"{options.id}: finished in the meantime, its stored record is used")
        return 0
    script_arguments = [
        f"--study-folder={study_folder}",
        f"--id={options.id}",
        *(["--trunk"] if options.trunk else []),
        f"--log={options.log}",
        f"--gpus={len(gpus)}",
        f"--threads={max(1, options.threads // processes)}",
    ]
    if rendezvous is None and processes > 1:
        port = lease_port(warn=warnings.add)
        rendezvous = Rendezvous(nodes=1, rank=0, address="localhost", port=port)
    command = accelerate_command(job, script_arguments, rendezvous)
    of_one_node = rendezvous is None or rendezvous.nodes == 1
    warnings.write(options.log, command if of_one_node else None)
    print(shlex.join(command), flush=True)
    return supervise(command, environment)
