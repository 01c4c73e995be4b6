"""Parameters that are sharded over the processes (FSDP2), if a study asks for it.

Each pass through a sharded model gathers its parameters from all processes. Trials, training and
evaluation therefore run the same number of passes in every process; otherwise the processes would
wait for each other for ever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from flops_fit.errors import UserError

USABLE = 0.9
"""Largest share of a GPU's memory that a trial may be expected to need; the rest allows for
fragmentation."""


def shards_asked(accelerator: Accelerator) -> bool:
    """Return whether the launch asked for sharding, and enable it on CPUs, too."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not asked or accelerator.num_processes == 1:
        return False
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate leaves CPUs out, although fully_shard itself works there, through gloo.
        plugin = FullyShardedDataParallelPlugin()
        if accelerator.mixed_precision != "no":
            plugin.set_mixed_precision(accelerator.mixed_precision)
        accelerator.state.fsdp_plugin = plugin
        accelerator.state.distributed_type = DistributedType.FSDP
    return True


def check_sharded(model: torch.nn.Module, asked: bool) -> bool:
    """Return whether a prepared model is sharded.

    Raises
    ------
    UserError
        If that is not what was asked for.
    """
    # Importing the module takes most of a second; if accelerate sharded, it is imported already.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    sharded = fsdp is not None and isinstance(model, fsdp.FSDPModule)
    if sharded != asked:
        words = {True: "sharded", False: "whole"}
        raise UserError(
            f"train.accelerate_config: {words[asked]} parameters were asked for, but accelerate "
            f"made a {type(model).__name__} with {words[sharded]} ones"
        )
    return sharded


def local_numel(parameter: torch.nn.Parameter) -> int:
    """Return how many numbers of a parameter this process holds."""
    local = getattr(parameter, "to_local", None)
    return local().numel() if local is not None else parameter.numel()


def agree_on_sharded_micro_batch(
    share: int,
    attempt: Callable[[int], None],
    accelerator: Accelerator,
) -> int:
    """Return how many samples every process takes at once through a sharded model.

    Parameters
    ----------
    share
        Samples of each process per optimizer step, the same in all of them.
    attempt
        Runs a forward and backward pass over that many samples (a collective call).
    """
    device = accelerator.device
    if device.type != "cuda":  # CPU memory use cannot be predicted
        attempt(share)
        return share

    def peak_of(samples: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        attempt(samples)
        return torch.cuda.max_memory_allocated(device)

    def everywhere(holds: bool) -> bool:
        return bool(accelerator.gather(torch.tensor([holds], device=device)).all())

    base = torch.cuda.memory_allocated(device)
    capacity = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return grow_micro_batch(share, peak_of, base, capacity, everywhere)


def grow_micro_batch(
    share: int,
    peak_of: Callable[[int], int],
    base: int,
    capacity: int,
    everywhere: Callable[[bool], bool],
) -> int:
    """Return how many samples every process takes at once, found by doubling from one.

    A process that runs out of memory during a pass would leave the others waiting, so a trial is
    made only if all processes expect it to fit: memory grows linearly with the samples.

    Parameters
    ----------
    share
        Samples of each process per optimizer step.
    peak_of
        Runs a forward and backward pass over that many samples (a collective call) and returns the
        peak memory of this process in bytes.
    base
        Memory of this process before the trials, in bytes.
    capacity
        Memory that this process may use, in bytes.
    everywhere
        Whether a condition holds in all processes (a collective call).
    """
    fits, peak = 1, peak_of(1)
    slope = float(peak - base)
    while fits < share:
        following = min(2 * fits, share)
        expected = peak + slope * (following - fits)
        if not everywhere(expected <= USABLE * capacity):
            break
        larger = peak_of(following)
        slope = max(larger - peak, 0) / (following - fits)
        fits, peak = following, larger
    passes = -(-share // fits)
    return -(-share // passes)  # as even as the number of passes allows
