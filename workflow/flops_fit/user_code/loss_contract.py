"""The user's loss: a mean over the batch, or a sum and the number of units in it."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.user_code.import_path import import_target
from flops_fit.user_code.references import UserCode

if TYPE_CHECKING:
    import torch


def loss_function(code: UserCode) -> Callable[[Any, Any], Any]:
    """Return the study's loss."""
    return import_target(code.loss, code.folder, f"{code.source}: loss")


def loss_sum_and_count(
    value: Any, units: int, key: str = "loss"
) -> tuple[torch.Tensor, torch.Tensor | int]:
    """Turn what a loss returned into ``(sum over units, number of predicted units)``.

    The number is an int if the loss returned a mean, a tensor if it returned a pair.

    Parameters
    ----------
    value
        A scalar mean over ``units``, or a pair ``(sum, count)``.
    units
        Units in the batch, over which a scalar is the mean.

    Raises
    ------
    UserError
        If the value is neither.
    """
    import torch

    expected = "expected a scalar (the mean over the batch's units) or a pair (sum, count)"
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise UserError(f"{key}: returned {len(value)} values, {expected}")
        total, count = value
        if not isinstance(total, torch.Tensor) or total.numel() != 1:
            raise UserError(f"{key}: the first of the pair is not a scalar tensor, {expected}")
        is_number = isinstance(count, numbers.Real | torch.Tensor)
        if not is_number or torch.as_tensor(count).numel() != 1:
            raise UserError(f"{key}: the second of the pair is not a number, {expected}")
        return total.reshape(()), torch.as_tensor(count, device=total.device).detach().reshape(())
    if not isinstance(value, torch.Tensor):
        raise UserError(f"{key}: returned {type(value).__name__}, {expected}")
    if value.numel() != 1:
        raise UserError(f"{key}: returned a tensor of shape {tuple(value.shape)}, {expected}")
    return value.reshape(()) * units, units
