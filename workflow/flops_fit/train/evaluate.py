"""Validation loss that does not depend on how many processes computed it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import Dataset

from flops_fit.errors import UserError
from flops_fit.train.batches import Batches
from flops_fit.user_code.dataset_contract import units_per_sample
from flops_fit.user_code.loss_contract import loss_sum_and_count

CHUNKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """L in nats per predicted unit, and its standard error over the fixed chunks."""

    loss: float
    loss_std_err: float | None
    units: int


def evaluation_chunks(length: int, samples: int) -> list[list[int]]:
    """Split the fixed validation set into at most 64 chunks.

    Parameters
    ----------
    length
        Samples in the validation split.
    samples
        Samples to evaluate; they are spread evenly over the split.

    Returns
    -------
    list of list of int
        Dataset indices, each once.
    """
    samples = max(1, min(samples, length))
    chosen = [i * length // samples for i in range(samples)]
    count = min(CHUNKS, samples)
    return [chosen[samples * k // count : samples * (k + 1) // count] for k in range(count)]


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    loss: Callable[[Any, Any], Any],
    dataset: Dataset,
    eval_units: int,
    batch_samples: int,
    accelerator: Accelerator,
    batches: Batches,
    *,
    equal_passes: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Evaluate the fixed validation set, each unit exactly once, over all processes.

    Each chunk is computed by a single process, and the sums of the chunks are added in chunk order
    in float64, so the result does not depend on the number of processes.

    Parameters
    ----------
    model
        The bare model (no wrapper that would synchronise).
    eval_units
        Units to evaluate; the whole split if it holds fewer.
    batch_samples
        Samples of one forward pass.
    equal_passes
        Run the same number of forward passes in every process, padded with idle ones: the passes
        of a sharded model are collective calls.
    interrupted
        Whether this process was asked to leave.

    Returns
    -------
    Evaluation or None
        None, on every process, if one of them was asked to leave before the end.
    """
    units = units_per_sample(dataset)
    chunks = evaluation_chunks(len(dataset), eval_units // units)
    # (2, chunks + 1): loss sums and unit counts, zeros for the chunks of other processes; the last
    # column counts the processes that were asked to leave
    totals = torch.zeros(2, len(chunks) + 1, dtype=torch.float64, device=accelerator.device)
    mine, real = _passes(chunks, batch_samples, accelerator, equal=equal_passes)
    training = model.training
    model.eval()
    placed = batches.load(dataset, [indices for _, indices in mine])
    for i, ((k, indices), (inputs, targets)) in enumerate(zip(mine, placed, strict=True)):
        with accelerator.autocast():
            value = loss(model(inputs), targets)
        if i >= real:
            continue
        total, count = loss_sum_and_count(value, len(indices) * units)
        totals[0, k] += total.double()
        totals[1, k] += count
        if interrupted() and not equal_passes:
            break
    model.train(training)
    totals[0, -1] = interrupted()
    totals = accelerator.reduce(totals, reduction="sum").cpu()
    return None if totals[0, -1] else summarise(totals[:, :-1])


def _passes(
    chunks: list[list[int]], batch_samples: int, accelerator: Accelerator, *, equal: bool
) -> tuple[list[tuple[int, list[int]]], int]:
    """Return this process's forward passes, and how many of them are real.

    Returns
    -------
    list of (int, list of int)
        Number of the chunk, and dataset indices. If all processes need the same number of passes,
        idle ones follow the real ones.
    """
    processes = accelerator.num_processes
    passes = [
        [
            (k, chunks[k][start : start + batch_samples])
            for k in range(process, len(chunks), processes)
            for start in range(0, len(chunks[k]), batch_samples)
        ]
        for process in range(processes)
    ]
    mine = passes[accelerator.process_index]
    idle = max(map(len, passes)) - len(mine) if equal else 0
    return mine + [(0, chunks[0][:1])] * idle, len(mine)


def summarise(totals: torch.Tensor) -> Evaluation:
    """Return the unit-weighted mean over chunks and its standard error.

    Parameters
    ----------
    totals
        float64, shape ``(2, chunks)``: loss sums in nats, and unit counts.

    Raises
    ------
    UserError
        If there is nothing to predict.
    """
    sums, counts = totals[0].tolist(), totals[1].tolist()
    units = math.fsum(counts)
    if units == 0:
        raise UserError(
            "loss: the validation set holds no unit that the loss predicts (every count is 0), "
            "expected some; look at the targets of the split validation, or raise train.eval_units"
        )
    mean = math.fsum(sums) / units
    chunks = sum(count > 0 for count in counts)
    std_err = None
    if chunks > 1:
        # Standard error of a ratio of sums over independent chunks (Cochran 1977, Sampling
        # Techniques, section 2.11, equation 2.46, without the finite population correction).
        squares = math.fsum((s - mean * n) ** 2 for s, n in zip(sums, counts, strict=True))
        std_err = math.sqrt(squares * chunks / (chunks - 1)) / units
    return Evaluation(loss=mean, loss_std_err=std_err, units=round(units))
