"""The resources that one experiment requests from a batch system, derived from its plan row.

Resources do not trigger reruns: all of this may change without training anything again. Imports
neither torch nor Snakemake.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flops_fit.errors import UserError
from flops_fit.plan.experiment import PlannedExperiment

_STARTUP_MINUTES = 10  # importing, building, the trial passes, the last evaluation
# Host memory of one process: the interpreter with torch and a CUDA context, and float32 weights,
# gradients and two Adam moments, which a checkpoint or a CPU holds.
_PROCESS_MB = 4_000
_BYTES_PER_PARAMETER = 16
_MARGIN = 2  # factor on the training time; each further attempt adds as much again
_LARGEST_MEMORY_FACTOR = 2  # a retry is seldom due to a lack of memory
_WARNING_SECONDS = 120  # between the signal to save and the end
_SHORTEST_MAX_MINUTES = 5  # the warning leaves three of them to start and train
_GPU_TYPE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a profile says about its cluster, under ``set-resources: train:``."""

    gpus_per_node: int | None = None  # 0: nodes without GPUs; None: this is no cluster
    gpu_type: str | None = None  # as the batch system spells it
    cpus_per_process: int = 1
    flops_per_second: float = 1.0e12  # of one process, assumed or measured
    max_minutes: int | None = None  # longest time limit that the partition allows
    sbatch_options: str = ""  # further options, passed verbatim

    @classmethod
    def from_resources(cls, resources: Mapping[str, Any], executor: str | None = None) -> Site:
        """Read the resources of a rule.

        Parameters
        ----------
        resources
            By name, each as the profile spells it (None: not given).
        executor
            Name of Snakemake's executor, if known.

        Raises
        ------
        UserError
            If a name is a near miss of a known one, a value is invalid, or SLURM is used without
            describing its nodes.
        """
        for name in resources:
            if meant := _meant(name):
                raise UserError(
                    f"{name} (set-resources of the rule train): is unknown, expected {meant}"
                )
        given = {f.name: _unquoted(resources.get(f.name)) for f in fields(cls)}
        found = {name: value for name, value in given.items() if value is not None}
        for name in ("gpus_per_node", "cpus_per_process", "max_minutes", "flops_per_second"):
            if name in found:
                found[name] = _number(name, found[name], whole=name != "flops_per_second")
        if found.get("max_minutes", _SHORTEST_MAX_MINUTES) < _SHORTEST_MAX_MINUTES:
            raise UserError(
                f"max_minutes (set-resources of the rule train): found {found['max_minutes']}, "
                f"expected at least {_SHORTEST_MAX_MINUTES}: a training is told to save "
                f"{_WARNING_SECONDS} seconds before its time limit"
            )
        for name in {"gpu_type", "sbatch_options"} & found.keys():
            found[name] = str(found[name])
        if not _GPU_TYPE.fullmatch(found.get("gpu_type", "any")):
            raise UserError(
                f"gpu_type (set-resources of the rule train): found {found['gpu_type']!r}, "
                "expected the type alone, such as a100 where sinfo shows gpu:a100:4"
            )
        if executor == "slurm" and "gpus_per_node" not in found:
            raise UserError(
                "gpus_per_node (set-resources of the rule train): found nothing, expected the "
                "number of GPUs of one node, or 0 to train on CPUs; profiles/slurm shows where"
            )
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The resources of one experiment by the names of Snakemake's SLURM executor (None: unset)."""

    threads: int  # per node
    gpu: int | None
    gpu_model: str | None
    nodes: int | None
    tasks: int | None
    mpi: str | None
    slurm_extra: str | None
    mem_mb: int  # per node
    runtime: int  # minutes


def request(experiment: PlannedExperiment, site: Site, attempt: int = 1) -> Request:
    """Return the resources that an experiment requests.

    Parameters
    ----------
    experiment
        Its row of the plan.
    site
        What the profile says about the cluster.
    attempt
        1 for the first submission; every retry gets more time and memory.

    Raises
    ------
    UserError
        If the processes neither fit on one node nor fill several.
    """
    processes = experiment.processes
    nodes = nodes_for(processes, site.gpus_per_node)
    per_node = processes // nodes
    on_cluster, several = site.gpus_per_node is not None, nodes > 1
    # Not SIGTERM: it gives a training only 30 seconds to leave (launch.supervise), and SLURM sends
    # it at the limit itself.
    options = [f"--signal=USR1@{_WARNING_SECONDS}"]
    gpu: int | None = processes
    if site.gpus_per_node == 0:
        gpu = None
    elif several or (on_cluster and "-" in (site.gpu_type or "")):
        # SLURM would spread the executor's total of GPUs unevenly over several nodes, and the
        # executor's gpu_model refuses hyphens, which detected types have (nvidia_a100-sxm4-80gb).
        gpu = None
        kind = f"{site.gpu_type}:" if site.gpu_type else ""
        options.append(f"--gpus-per-node={kind}{per_node}")
    if several:
        options.append("--ntasks-per-node=1")  # one launcher
    return Request(
        threads=per_node * site.cpus_per_process,
        gpu=gpu,
        gpu_model=None if gpu is None else site.gpu_type,
        # Even a single node is requested: SLURM might spread the GPUs over partly used nodes.
        nodes=nodes if on_cluster else None,
        tasks=nodes if several else None,
        # The plugin then starts the launcher directly on the first node, not inside srun.
        mpi="srun" if several else None,
        slurm_extra=" ".join([*options, *filter(None, [site.sbatch_options])])
        if on_cluster
        else None,
        mem_mb=per_node * min(attempt, _LARGEST_MEMORY_FACTOR) * process_mb(experiment.n_params),
        runtime=minutes(experiment.C, processes, site, attempt),
    )


def nodes_for(processes: int, gpus_per_node: int | None) -> int:
    """Return how many nodes the processes run on: one, or as many as they fill.

    Raises
    ------
    UserError
        If they need several nodes and do not fill them.
    """
    if not gpus_per_node or processes <= gpus_per_node:
        return 1
    if processes % gpus_per_node:
        below = processes // gpus_per_node * gpus_per_node
        raise UserError(
            f"train.processes: found {processes} with gpus_per_node {gpus_per_node} (the profile's "
            f"set-resources), expected at most {gpus_per_node} or a multiple of it, such as {below}"
        )
    return processes // gpus_per_node


def minutes(C: float, processes: int, site: Site, attempt: int = 1) -> int:
    """Return the time limit in minutes: startup, and training with a margin that grows per attempt.

    Parameters
    ----------
    C
        Training FLOPs of the experiment.
    """
    training = C / (site.flops_per_second * processes) / 60
    wanted = math.ceil(_STARTUP_MINUTES + _MARGIN * attempt * training)
    return wanted if site.max_minutes is None else min(wanted, site.max_minutes)


def process_mb(n_params: int) -> int:
    """Return the host memory of one process in MB."""
    return _PROCESS_MB + math.ceil(_BYTES_PER_PARAMETER * n_params / 1e6)


@functools.cache
def _meant(name: str) -> str | None:
    """Return the known name that an unknown one resembles, since Snakemake accepts any name."""
    ours = [f.name for f in fields(Site)]
    return None if name in ours else next(iter(difflib.get_close_matches(name, ours, 1, 0.8)), None)


def _unquoted(value: Any) -> Any:
    """Return a text without the quotes that Snakemake (around 2e9, for example) or users add."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _number(name: str, value: Any, *, whole: bool) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number > 0 or (name == "gpus_per_node" and number == 0)) or math.isinf(number):
        raise UserError(
            f"{name} (set-resources of the rule train): found {value!r}, expected a positive number"
        )
    if whole and number != int(number):
        raise UserError(
            f"{name} (set-resources of the rule train): found {value!r}, expected a whole number"
        )
    return int(number) if whole else number
