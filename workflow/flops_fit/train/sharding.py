"""Parameters that are sharded over the processes (FSDP2), where a study asks for it.

Each pass through a sharded model gathers its parameters from all processes. Trials, training and
evaluation therefore run equally many passes everywhere, or processes would wait for each other
for ever.
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
"""Share of a GPU's memory that a trial may be expected to need: the rest is for fragments."""


def shards_asked(accelerator: Accelerator) -> bool:
    """Say whether the launch asked for shards, and let the Accelerator make them on CPUs, too."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not asked or accelerator.num_processes == 1:
        return False
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate leaves CPUs out; fully_shard itself shards there, too, joined by gloo.
        plugin = FullyShardedDataParallelPlugin()
        if accelerator.mixed_precision != "no":
            plugin.set_mixed_precision(accelerator.mixed_precision)
        accelerator.state.fsdp_plugin = plugin
        accelerator.state.distributed_type = DistributedType.FSDP
    return True


def check_sharded(model: torch.nn.Module, asked: bool) -> bool:
    """Say whether a prepared model is sharded.

    Raises
    ------
    UserError
        If that is not what was asked for.
    """
    # Its import takes most of a second. accelerate has made it where it sharded.
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
        Runs a forward and backward pass over so many samples (a collective call).
    """
    device = accelerator.device
    if device.type != "cuda":  # nothing says beforehand how much a CPU's memory would take
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
    """Return how many samples every process takes at once, found from below.

    A process that runs out of memory amid a pass would leave the others waiting, so that a trial is
    made only where all processes expect it to fit: memory grows linearly with the samples.

    Parameters
    ----------
    share
        Samples of each process per optimizer step.
    peak_of
        Runs a forward and backward pass over so many samples (a collective call) and returns the
        peak memory of this process in bytes.
    base
        Memory of this process before, in bytes.
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
