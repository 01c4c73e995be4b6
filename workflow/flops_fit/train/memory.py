"""The largest micro-batch that fits into memory, found before the first step, agreed on by all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from flops_fit.errors import UserError
from flops_fit.train.sharding import local_numel


def agree_on_micro_batch(
    share: int, attempt: Callable[[int], None], accelerator: Accelerator
) -> int:
    """Return how many samples every process takes at once.

    Each process halves its share until a forward and backward pass fits; the smallest result of all
    processes applies to all. There is no collective call before every process has its own result:
    a process that ran out of memory between two such calls would leave the others hanging.

    Parameters
    ----------
    share
        Samples of this process per optimizer step.
    attempt
        Runs a forward and backward pass over that many samples, without synchronising gradients.

    Raises
    ------
    UserError
        On every process, if a single sample does not fit on one of them.
    """
    fits = share
    while fits:
        try:
            attempt(fits)
            break
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            fits = 0 if fits == 1 else (fits + 1) // 2
        clear_device_cache(garbage_collection=True)
    found = torch.tensor([fits, share], device=accelerator.device)
    everywhere = accelerator.gather(found).view(-1, 2).tolist()  # (processes, 2)
    largest_share = max(share for _, share in everywhere)
    # A process whose whole share fits does not limit another one with a larger share.
    smallest = min((fits for fits, share in everywhere if fits < share), default=largest_share)
    if smallest == 0:
        raise UserError(
            "out of memory with a single sample per process; expected the model, its gradients and "
            "its optimizer state to fit beside one sample (smaller sizes, or bf16)"
        )
    passes = -(-largest_share // smallest)
    return -(-largest_share // passes)  # as even as the number of passes allows


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or should_reduce_batch_size(
        error
    )


@contextmanager
def undisturbed(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Restore random states and buffers after a trial pass, and drop its gradients.

    During the pass, the memory that the optimizer will need from its first step on (two numbers per
    parameter, as for AdamW) is held, so that the trial is realistic.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        held = [
            torch.empty(2 * local_numel(p), dtype=p.dtype, device=p.device)
            for p in model.parameters()
            if p.device.type == "cuda" and p.requires_grad
        ]
        try:
            yield
        finally:
            held.clear()
            optimizer.zero_grad(set_to_none=True)
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
            random.setstate(python_state)
            np.random.set_state(numpy_state)
