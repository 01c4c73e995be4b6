"""The state of model and optimizer as plain tensors and numbers, and back again.

It does not depend on how the model is wrapped: parameters that are sharded over the processes
(DTensor) are gathered for the file and sharded again when it is read, so that a training can resume
with another number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from flops_fit.train.checkpoint import Keys


def tensors_of_model(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and all buffers by name, tied ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def collect_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool
) -> dict[str, Any]:
    """Return the state of model and optimizer (a collective call where they are sharded).

    It includes buffers that are not part of the model's state dict, as the next step may depend on
    them.

    Parameters
    ----------
    model
        The bare model.
    keep
        Whether this process gets the tensors, on its CPU; if not, each of them is None.
    """
    state = {
        "model": tensors_of_model(model),
        "extra": {name: module.get_extra_state() for name, module in with_extra_state(model)},
        "optimizer": optimizer.state_dict(),
    }
    return tree_map(lambda value: _whole(value, keep=keep), state)


def collect_weights(model: nn.Module, *, keep: bool) -> dict[str, torch.Tensor]:
    """Return the model's state dict, tied weights once (a collective call where it is sharded)."""
    unique: dict[int, tuple[str, Any]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if torch.is_tensor(value):
            unique.setdefault(id(value), (name, value))
    weights = {name: _whole(value, keep=keep) for name, value in unique.values()}
    return {name: value.clone() for name, value in weights.items()} if keep else {}


def _whole(value: Any, *, keep: bool) -> Any:
    if not torch.is_tensor(value):
        return value
    value = value.detach()
    if hasattr(value, "full_tensor"):
        value = value.full_tensor()
    return value.to("cpu").contiguous() if keep else None


def with_extra_state(model: nn.Module) -> list[tuple[str, nn.Module]]:
    plain = nn.Module.get_extra_state
    return [(n, m) for n, m in model.named_modules() if type(m).get_extra_state is not plain]


def placed(
    model: nn.Module, optimizer: torch.optim.Optimizer, fetch: Callable[[Keys, str], torch.Tensor]
) -> Callable[[Keys, str], torch.Tensor]:
    """Return ``fetch`` with its tensors sharded as this model's parameters are.

    They are sharded one by one, so that no process ever holds more than one whole tensor.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    ours = tensors_of_model(model)

    def fetch_and_place(keys: Keys, name: str) -> torch.Tensor:
        tensor = fetch(keys, name)
        like = None
        if keys[0] == "model":
            like = ours.get(keys[1])
        elif keys[:2] == ("optimizer", "state") and isinstance(keys[2], int):
            like = parameters[keys[2]] if keys[2] < len(parameters) else None
        if not hasattr(like, "device_mesh") or like.shape != tensor.shape:
            return tensor
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)

    return fetch_and_place


@torch.no_grad()
def restore_state(
    state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put a state of :func:`collect_state` into model and optimizer.

    Whatever the user's code raises comes through, and leaves both half restored.

    Parameters
    ----------
    state
        Its tensors on the CPU, or sharded by :func:`placed`.
    """
    # Options that an earlier version of torch did not have are the recipe's.
    own = optimizer.state_dict().get("param_groups", [])
    saved = state["optimizer"]
    groups = [ours | theirs for ours, theirs in zip(own, saved["param_groups"], strict=True)]
    optimizer.load_state_dict({**saved, "param_groups": groups})
    _restore_types(saved, optimizer)
    extra = state["extra"]
    for name, module in with_extra_state(model):
        module.set_extra_state(extra[name])
    for name, tensor in tensors_of_model(model).items():
        tensor.copy_(state["model"][name])


def _restore_types(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Undo torch's cast of every tensor in an optimizer's state to its parameter's type."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entries in saved.get("state", {}).items():
        if not isinstance(index, int) or not isinstance(entries, Mapping):
            continue
        current = optimizer.state[parameters[index]]
        for key, value in entries.items():
            now = current.get(key)
            if torch.is_tensor(value) and torch.is_tensor(now) and now.dtype != value.dtype:
                current[key] = value.to(now.device, copy=True)
