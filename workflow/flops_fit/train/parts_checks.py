"""What the saved state of model and optimizer has to be, checked before they get it.

For AdamW, Adam and SGD everything is known; of another optimizer, only how its entries are
numbered and of what kind its options are. What this cannot see shows when they get it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from flops_fit.train.checkpoint import UnusableCheckpointError
from flops_fit.train.model_state import tensors_of_model, with_extra_state
from flops_fit.train.state_checks import MISSING, expect, is_finite, is_whole, shown

_LARGEST_COUNT = 2**24  # a float32 that counts by ones gets no further


def check_model(saved: Mapping[str, Any], model: torch.nn.Module) -> None:
    """Check the model's part of a checkpoint.

    Parameters
    ----------
    model
        The bare model, before its first step.

    Raises
    ------
    UnusableCheckpointError
        With the first tensor or extra state that cannot be as it is.
    """
    ours, found = tensors_of_model(model), saved["model"]
    for name in sorted(ours.keys() | found.keys()):
        tensor, own = found.get(name, MISSING), ours.get(name, MISSING)
        fits = tensor is not MISSING and own is not MISSING and _form(tensor) == _form(own)
        expect(f"model.{name}", tensor, fits, shown(own))
        if not _are_numbers(tensor, own) and _are_numbers(own, own):
            raise UnusableCheckpointError(f"model.{name}: found nan or inf, expected numbers")
    for name, module in with_extra_state(model):
        state, own = saved["extra"].get(name, MISSING), module.get_extra_state()
        fits = state is not MISSING and alike(state, own)
        expect(f"extra.{name}", state, fits, f"a value like {shown(own)}")


def _form(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size]:
    return tensor.dtype, tensor.shape


def _are_numbers(tensor: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether weights are finite, and buffers not nan.

    A run whose weights are not finite diverges, and does so again from an earlier checkpoint.
    """
    tensor = getattr(tensor, "to_local", lambda: tensor)()  # of a sharded one, this process's part
    if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
        return True
    is_weight = isinstance(own, torch.nn.Parameter)
    return bool(tensor.isfinite().all() if is_weight else not tensor.isnan().any())


def check_optimizer(
    saved: Mapping[str, Any],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    skips_steps: bool,
) -> None:
    """Check the optimizer's part of a checkpoint.

    Parameters
    ----------
    saved
        The content of the checkpoint; its model fits ours.
    model, optimizer
        Before their first step.
    skips_steps
        Whether a gradient scaler leaves out steps.

    Raises
    ------
    UnusableCheckpointError
        With the first entry that cannot be as it is.
    """
    plain = getattr(optimizer, "optimizer", optimizer)  # without accelerate's wrapper
    known = type(plain) in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
    _check_groups(saved["optimizer"], plain, known=known)
    _check_numbering(saved["optimizer"], plain)
    if not known:
        return
    parameters = [(p, group) for group in plain.param_groups for p in group["params"]]
    counts = []
    for i, (parameter, group) in enumerate(parameters):
        entries = saved["optimizer"]["state"].get(i)
        if entries is not None:
            counts.append(_check_entries(f"optimizer.state.{i}", entries, parameter, group))
        elif type(plain) is not torch.optim.SGD or group["momentum"]:
            _check_never_updated(f"optimizer.state.{i}", saved, model, parameter)
    done = min(saved["step"], _LARGEST_COUNT)
    if type(plain) is not torch.optim.SGD:
        most = max(counts, default=0)
        fits = most <= done if skips_steps else most == done
        expect("optimizer.state: most steps of a parameter", most, fits, f"{done}")


def _check_groups(
    saved: Mapping[str, Any], optimizer: torch.optim.Optimizer, *, known: bool
) -> None:
    ours = optimizer.state_dict()["param_groups"]
    found = saved.get("param_groups", MISSING)
    fits = isinstance(found, list) and len(found) == len(ours)
    expect("optimizer.param_groups", found, fits, f"a list of {len(ours)}")
    # Code that changes the options of torch's optimizers while they train would be a hook.
    fixed = known and not optimizer._optimizer_step_pre_hooks | optimizer._optimizer_step_post_hooks
    for i, (group, own) in enumerate(zip(found, ours, strict=True)):
        path = f"optimizer.param_groups.{i}"
        expect(path, group, isinstance(group, dict), "a dictionary")
        params = group.get("params", MISSING)
        expect(f"{path}.params", params, _same(params, own["params"]), shown(own["params"]))
        for key in own:
            if key not in group or key in ("params", "lr"):  # every step sets the rate
                continue
            if fixed:
                fits, expected = _same(group[key], own[key]), shown(own[key])
            else:
                fits, expected = alike(group[key], own[key]), f"a value like {shown(own[key])}"
            expect(f"{path}.{key}", group[key], fits, expected)


def _same(found: Any, expected: Any) -> bool:
    if torch.is_tensor(found) or torch.is_tensor(expected):
        return torch.is_tensor(found) and torch.is_tensor(expected)
    return found == expected


def alike(found: Any, like: Any) -> bool:
    """Return whether a value of the user's code can have come from its first value.

    A number stays finite if it was, and may become a tensor; whatever was None may become anything;
    dictionaries are compared where both have a key, lists not at all.
    """
    if like is None:
        return True
    if isinstance(like, Mapping):
        return isinstance(found, Mapping) and all(
            alike(found[key], like[key]) for key in like.keys() & found.keys()
        )
    for kind in (str, list, tuple):
        if isinstance(like, kind):
            return isinstance(found, kind)
    if torch.is_tensor(like):
        return torch.is_tensor(found)
    if torch.is_tensor(found):
        is_number = found.shape == () and found.dtype != torch.bool
        return is_number and alike(found.item(), like)
    return isinstance(found, int | float) and (is_finite(found) or not is_finite(like))


def _check_numbering(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    state = saved.get("state", MISSING)
    expect("optimizer.state", state, isinstance(state, dict), "a dictionary")
    for key in state:
        if isinstance(key, int):
            fits = is_whole(key, 0, count - 1)
            expect("optimizer.state", key, fits, f"the numbers of {count} parameters")


def _check_entries(
    path: str, entries: Any, parameter: torch.Tensor, group: Mapping[str, Any]
) -> int:
    """Check what belongs to one parameter; return its number of steps, where it is counted."""
    expect(path, entries, isinstance(entries, dict), "a dictionary")
    steps = 0
    for key in _keys(group):
        value = entries.get(key, MISSING)
        at = f"{path}.{key}"
        if key == "step":
            steps = _check_step(at, value, group)
            continue
        expected = (
            f"finite numbers (no squares below 0) as a tensor of {parameter.dtype} "
            f"{tuple(parameter.shape)}"
        )
        fits = (
            torch.is_tensor(value)
            and (value.dtype, value.shape) == (parameter.dtype, parameter.shape)
            and (_are_squares(value) if key.endswith("_sq") else bool(value.isfinite().all()))
        )
        expect(at, value, fits, expected)
    return steps


def _keys(group: Mapping[str, Any]) -> Iterator[str]:
    """Names of the entries that AdamW, Adam or SGD keep for a parameter of a group."""
    if "betas" in group:
        yield from ("step", "exp_avg", "exp_avg_sq")
        if group["amsgrad"]:
            yield "max_exp_avg_sq"
    elif group["momentum"]:
        yield "momentum_buffer"


def _are_squares(value: torch.Tensor) -> bool:
    """A very large gradient has an infinite square."""
    return value.is_complex() or bool((value >= 0).all())


def _check_step(path: str, value: Any, group: Mapping[str, Any]) -> int:
    dtypes = {torch.float32} if group["fused"] else {torch.float32, torch.float64}
    is_scalar = torch.is_tensor(value) and value.shape == () and value.dtype in dtypes
    number = value.item() if is_scalar else value
    fits = is_scalar and is_finite(number) and number >= 1 and number == int(number)
    expect(path, number, fits, "a whole number of steps as a float tensor without dimensions")
    return int(number)


def _check_never_updated(
    path: str, saved: Mapping[str, Any], model: torch.nn.Module, parameter: torch.Tensor
) -> None:
    """A parameter without entries never had a gradient: it is as it was at the beginning.

    Where parameters are sharded, one process alone cannot see that.
    """
    if hasattr(parameter, "device_mesh"):
        return
    for name, ours in model.named_parameters():
        if ours is parameter:
            now = saved["model"][name]
            if not torch.allclose(now, ours.detach().cpu(), rtol=1e-5, equal_nan=True):
                raise UnusableCheckpointError(
                    f"{path}: found nothing, expected the entries of {name}, which was trained"
                )
