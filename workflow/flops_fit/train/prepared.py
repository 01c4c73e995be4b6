"""Model and optimizer on the Accelerator's device, wrapped for several processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.nn.modules.batchnorm import _BatchNorm

from flops_fit.plan.job import Job
from flops_fit.train.build import Parts
from flops_fit.train.progress import LOG
from flops_fit.train.sharding import check_sharded, shards_asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One model in its three forms, and its optimizer."""

    bare: torch.nn.Module
    """For trial passes and evaluation: a wrapper would synchronise in each of them. (A sharded
    model has no wrapper: each of its passes is a collective call.)"""
    wrapped: torch.nn.Module
    """Averages its gradients over the processes."""
    called: torch.nn.Module
    """For training passes: the wrapped model, compiled if the study asks for it."""
    optimizer: torch.optim.Optimizer
    sharded: bool


def prepare(parts: Parts, job: Job, accelerator: Accelerator) -> Prepared:
    """Place and wrap model and optimizer, and seed the training's random draws (dropout).

    Raises
    ------
    UserError
        If the parameters are sharded although that was not asked for, or the other way round.
    """
    shards = shards_asked(accelerator)
    wrapped, optimizer = accelerator.prepare(parts.model, parts.optimizer)
    prepared = Prepared(
        bare=accelerator.unwrap_model(wrapped),
        wrapped=wrapped,
        called=torch.compile(wrapped) if job.compile else wrapped,
        optimizer=optimizer,
        sharded=check_sharded(wrapped, shards),
    )
    if any(isinstance(module, _BatchNorm) for module in parts.model.modules()):
        LOG.warning(
            "%s: it has batch normalisation, whose statistics are those of a micro-batch: its "
            "loss depends on the number of processes and on their memory",
            job.title,
        )
    set_seed(job.spec.seed, device_specific=True)  # dropout differs between processes
    return prepared
