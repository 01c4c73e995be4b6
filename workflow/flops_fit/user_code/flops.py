"""Training FLOPs per unit of data, and parameter counts of a model.

FLOPs are those of the matrix products and convolutions in one forward and one backward pass, with a
multiplication and an addition counted as two. Recomputation is not counted, whatever causes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from flops_fit.errors import UserError
from flops_fit.user_code.import_path import named_error

Batch = tuple[Any, Any]
"""(inputs, targets): tensors, or nested tuples, lists and dicts of them."""
Loss = Callable[[Any, Any], Any]
"""loss(outputs, targets) -> scalar mean, or (sum, count)."""

_LEAST_FLOPS_PER_PARAM = 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Number of parameters, tied weights once."""

    total: int
    """All parameters."""
    non_embedding: int
    """Without input lookup tables; an output head counts, tied or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeMeasure:
    """What the plan needs to know about one size of a model family."""

    n_params: int
    n_params_non_embedding: int
    flops_per_unit: float
    """Training FLOPs per unit of data (token, image)."""
    refused_by_meta_device: str | None = None
    """Why the size had to be built in memory; None if the meta device was enough."""


def lookup_tables(model: nn.Module) -> set[nn.Parameter]:
    """Find the weights that are only looked up, never multiplied.

    Those are the weights of `nn.Embedding` and `nn.EmbeddingBag` that no other kind of module
    shares: a table that is tied to an output head is a matrix. Tying within a `forward`
    (`F.linear(x, embedding.weight)`) cannot be detected; such a model needs a
    `num_params_non_embedding()` method.
    """
    tables: set[nn.Parameter] = set()
    matrices: set[nn.Parameter] = set()
    for module in model.modules():
        is_table = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        (tables if is_table else matrices).update(module.parameters(recurse=False))
    return tables - matrices


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count parameters: with the model's own methods if it has them, otherwise one by one.

    The methods are `num_params()` and `num_params_non_embedding()`; a model may have only one.

    Raises
    ------
    UserError
        If a method does not return a positive integer, or there are more parameters without than
        with tables.
    """
    stated_total = _stated(model, "num_params")
    stated_non_embedding = _stated(model, "num_params_non_embedding")
    counted = sum(parameter.numel() for parameter in model.parameters())
    in_tables = sum(table.numel() for table in lookup_tables(model))
    total = counted if stated_total is None else stated_total
    non_embedding = total - in_tables if stated_non_embedding is None else stated_non_embedding
    for name, value in (("num_params", total), ("num_params_non_embedding", non_embedding)):
        if value != int(value) or value < 1:
            raise UserError(
                f"{type(model).__name__} has {name} = {value}; expected a positive integer: "
                f"give the model a {name}() method that returns one."
            )
    if non_embedding > total:
        raise UserError(
            f"{type(model).__name__} has {non_embedding} parameters without lookup tables but "
            f"{total} in all; correct its num_params() or num_params_non_embedding() method."
        )
    return ParameterCount(total=int(total), non_embedding=int(non_embedding))


def measure_flops_per_unit(model: nn.Module, batch: Batch, loss: Loss, units: int) -> float:
    """Count the training FLOPs per unit of data, or use the model's `flops_per_unit()`.

    One forward and backward pass in training mode runs under torch's FLOP counter. The counter does
    not see the fused attention kernel of the CPU, so attention runs as plain matrix products over
    all T x T scores. The model is left in training mode and without gradients.

    Recomputation is excluded in two ways. Operations that the backward pass runs with gradients
    enabled are activation checkpointing (`torch.utils.checkpoint`) and are subtracted exactly.
    Recomputation inside a kernel's backward pass cannot be identified, but the gradients of a
    product y = x W take two products of the same size, so the backward pass is capped at twice the
    forward pass.

    Parameters
    ----------
    model : nn.Module
        On any device, including meta.
    batch : (inputs, targets)
        On the model's device.
    loss : callable
        As the study's contract has it.
    units : int
        Units of data in the batch.

    Returns
    -------
    float
        FLOPs per unit; a counted number is not checked, so it is 0 for a model without products.

    Raises
    ------
    UserError
        If `units` is below 1, `flops_per_unit()` is not a positive number, or the loss is not a
        scalar.
    """
    stated = _stated(model, "flops_per_unit")
    if stated is not None:
        if not (math.isfinite(stated) and stated > 0):
            raise UserError(
                f"{type(model).__name__}.flops_per_unit() returned {stated}; expected a positive "
                "number of training FLOPs per unit."
            )
        return float(stated)
    if units < 1:
        raise UserError(f"The batch to measure FLOPs with holds {units} units; expected some.")
    inputs, targets = batch
    counter = FlopCounterMode(display=False)
    recomputation = _Recomputation(counter)
    model.train()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), counter, recomputation:
        value = _scalar(loss(model(inputs), targets))
        forward = counter.get_total_flops()
        recomputation.in_backward = True
        value.backward()
    model.zero_grad(set_to_none=True)
    backward = counter.get_total_flops() - forward - recomputation.flops
    return (forward + min(backward, 2 * forward)) / units


def build_on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    """Build a model of any size without memory: its tensors have shapes but no content."""
    with torch.device("meta"):
        return factory()


def to_meta(batch: Any) -> Any:
    """Replace each tensor of a nested batch by a meta tensor of the same shape and type."""
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), batch)


def measure_size(
    factory: Callable[[], nn.Module], batch: Batch, loss: Loss, units: int, unit: str
) -> SizeMeasure:
    """Count the parameters and FLOPs of one size.

    The meta device is tried first: it needs neither memory nor time, and is the only way to plan
    sizes that this machine cannot hold. If the model or the loss cannot run there (because it reads
    a value from a tensor, or uses a kernel without a shape rule), the size is built in the CPU's
    memory instead, and the result says why.

    Parameters
    ----------
    factory : callable
        Builds the model.
    batch : (inputs, targets)
        A real batch, on the CPU.
    loss : callable
        As the study's contract has it.
    units : int
        Units of data in the batch.
    unit : str
        "token", "image", ...

    Raises
    ------
    UserError
        As in `measure_flops_per_unit` and `count_parameters`; also if the model has no
        `flops_per_unit()` method and the counter saw no FLOPs at all, or fewer than 5.5 per
        non-embedding parameter and token.
    Exception
        Whatever the model or loss raises when built in memory.
    """
    refused = None
    try:
        model = build_on_meta(factory)
        flops_per_unit = measure_flops_per_unit(model, to_meta(batch), loss, units)
    except UserError:
        raise
    except Exception as error:
        refused = named_error(error.__cause__ or error)  # the cause, if building failed
        model = factory()
        flops_per_unit = measure_flops_per_unit(model, batch, loss, units)
    params = count_parameters(model)
    if getattr(model, "flops_per_unit", None) is None:
        _check_plausible(model, flops_per_unit, params.non_embedding, unit)
    return SizeMeasure(
        n_params=params.total,
        n_params_non_embedding=params.non_embedding,
        flops_per_unit=flops_per_unit,
        refused_by_meta_device=refused,
    )


def count_of(factory: Callable[[], nn.Module]) -> ParameterCount:
    """Build a model, without memory if it can be, and count its parameters.

    Raises
    ------
    UserError
        As in `count_parameters`.
    Exception
        Whatever the model raises when built in memory.
    """
    try:
        model = build_on_meta(factory)
    except Exception:
        model = factory()
    return count_parameters(model)


class _Recomputation(TorchDispatchMode):
    """Adds up the FLOPs with which the backward pass repeats the forward pass.

    A backward pass runs with gradients disabled; checkpointing enables them again, since the part
    that it repeats must be differentiable.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.in_backward = False
        self.flops = 0
        self._counter = counter

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not (self.in_backward and torch.is_grad_enabled()):
            return func(*args, **(kwargs or {}))
        before = self._counter.get_total_flops()
        result = func(*args, **(kwargs or {}))
        self.flops += self._counter.get_total_flops() - before
        return result


def _stated(model: nn.Module, name: str) -> float | None:
    """Call the model's own method `name`; None if it has none."""
    method = getattr(model, name, None)
    if method is None:
        return None
    if not callable(method):
        raise UserError(
            f"{type(model).__name__}.{name} is {method!r}; expected a method without arguments: "
            "rename the attribute or make it one."
        )
    return method()


def _scalar(value: Any) -> Tensor:
    """Return the scalar to differentiate: a mean and a sum cost the same."""
    result = value[0] if isinstance(value, tuple) else value
    if not isinstance(result, Tensor) or result.numel() != 1:
        found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise UserError(
            f"The loss returned {found}; expected a scalar tensor, or a tuple (sum, count)."
        )
    return result


def _check_plausible(model: nn.Module, flops_per_unit: float, N: int, unit: str) -> None:
    """Refuse a count that cannot be all of the model's work.

    Every weight of a matrix applied to each token costs 6 FLOPs per token: 2 forward, 4 backward.
    """
    least = _LEAST_FLOPS_PER_PARAM * N if unit == "token" else 0.0
    if flops_per_unit < least or flops_per_unit == 0:
        raise UserError(
            f"{type(model).__name__}: the counter saw {flops_per_unit:.6g} training FLOPs per "
            f"{unit} for {N} non-embedding parameters, where a model that uses them all spends "
            f"about {6 * N:.6g}; likely a custom kernel does work that the counter cannot see (or "
            "not every token uses every parameter, as with experts or frozen layers): give the "
            f"model a flops_per_unit() method that returns its training FLOPs per {unit}."
        )
