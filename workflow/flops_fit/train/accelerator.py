"""The Accelerator that joins the processes of an experiment, and the hardware it runs on."""

from __future__ import annotations

import resource
import socket
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object

from flops_fit.errors import UserError
from flops_fit.plan.job import Job


def start_accelerator(job: Job, gpus: int) -> Accelerator:
    """Return the Accelerator that joins the processes of an experiment.

    Parameters
    ----------
    gpus
        GPUs that all processes of this node have together; 0 trains on the CPU.

    Raises
    ------
    UserError
        If another number of processes started than was asked for, or they do not have the GPUs that
        were leased for them.
    """
    if gpus and torch.cuda.device_count() < gpus:
        raise UserError(
            f"train.processes: {gpus} GPUs were leased for {job.processes} processes, but torch "
            f"{torch.__version__} can use {torch.cuda.device_count()}; install a CUDA build of "
            "torch that suits the driver, or set CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        )
    if not gpus and torch.cuda.is_available():
        raise UserError(
            f"torch can use {torch.cuda.device_count()} GPUs, but nvidia-smi lists none, so that "
            "experiments cannot be kept apart on them; make nvidia-smi available, or set "
            "CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        )
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no" if job.spec.precision == "float64" else job.spec.precision,
        # True: checks in every step which parameters have a gradient, instead of waiting for all.
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=job.find_unused_parameters)
        ],
    )
    if accelerator.num_processes != job.processes:
        raise UserError(
            f"train.processes: {job.processes} processes were asked for, but "
            f"{accelerator.num_processes} work together; expected the launcher of flops-fit to "
            "start them all"
        )
    if torch.cuda.is_available() and accelerator.device.type != "cuda":
        raise UserError(
            f"train.processes: {gpus} GPUs were leased for {job.processes} processes, but "
            f"accelerate chose the device {accelerator.device}; expected no setting that overrules "
            "this"
        )
    if accelerator.device.type == "cpu":
        torch.set_flush_denormal(True)
    return accelerator


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(accelerator: Accelerator) -> int:
    """Return the largest peak memory of any process in bytes: GPU memory, or resident on a CPU."""
    if accelerator.device.type == "cuda":
        local = torch.cuda.max_memory_allocated(accelerator.device)
    else:
        local = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        local *= 1 if sys.platform == "darwin" else 1024
    return max(gather_object([local]))


def all_hosts() -> list[str]:
    """Return the names of the machines that the processes run on (a collective call)."""
    return sorted(set(gather_object([socket.gethostname()])))
