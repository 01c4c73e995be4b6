"""Losses to start from, in nats: `loss(outputs, targets)` as a study names it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORED_TARGET = -100
"""The target that `next_token_masked` leaves out; torch's own convention."""

# torch leaves out the target -100 unless it is given another: this one is no token, so that a
# padded batch fails loudly here instead of giving a mean over fewer tokens than were counted.
_IGNORE_NOTHING = torch.iinfo(torch.int64).min


def next_token(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over all positions.

    Parameters
    ----------
    outputs : Tensor, shape (..., V)
        Logits; half-precision ones are lifted to float32.
    targets : Tensor of int64, shape (...)
        The token that follows each position, in [0, V): the dataset has shifted them already.

    Returns
    -------
    Tensor, shape ()
        Nats per token.

    Raises
    ------
    ValueError
        The shapes do not belong together.
    IndexError
        On the CPU, a target outside [0, V), -100 included: padded data need `next_token_masked`.
    """
    logits, targets = _rows(outputs, targets)
    return functional.cross_entropy(logits, targets, ignore_index=_IGNORE_NOTHING)


def next_token_masked(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over the positions whose target is not -100, and their number.

    Parameters
    ----------
    outputs, targets : Tensor
        As for `next_token`; positions to leave out have the target -100.

    Returns
    -------
    loss_sum : Tensor, shape ()
        Nats.
    count : Tensor of int64, shape ()
        Number of positions in the sum; may be 0, then the sum is 0 as well.

    Raises
    ------
    ValueError
        The shapes do not belong together.
    """
    logits, targets = _rows(outputs, targets)
    loss_sum = functional.cross_entropy(
        logits, targets, ignore_index=IGNORED_TARGET, reduction="sum"
    )
    return loss_sum, (targets != IGNORED_TARGET).sum()


def _rows(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten to logits (n, V), in float32 at least, and targets (n,)."""
    if outputs.shape[:-1] != targets.shape:
        raise ValueError(
            f"Logits of shape {tuple(outputs.shape)} do not fit targets of shape "
            f"{tuple(targets.shape)}; expected (..., vocabulary) and (...)."
        )
    logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return logits.reshape(-1, outputs.shape[-1]), targets.reshape(-1)
