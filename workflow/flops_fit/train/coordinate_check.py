"""Whether one learning rate fits all widths: how the updates of activations grow with the width.

The coordinate check of Yang et al. 2022 (arXiv 2203.03466), appendix D.1: a few optimizer steps at
each width; in muP the activations of every layer change by amounts that do not depend on the width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flops_fit.study.spec import Spec
from flops_fit.train.optimizer import build_optimizer
from flops_fit.user_code.loss_contract import loss_function, loss_sum_and_count
from flops_fit.user_code.model_contract import model_factory
from flops_fit.user_code.references import UserCode


def coordinate_check(
    specs: Sequence[Spec], inputs: Any, targets: Any, *, folder: str | Path = ".", steps: int = 4
) -> dict[str, float]:
    """Return how the change of each module's output grows with the size: its exponent.

    Parameters
    ----------
    specs
        Specs of at least two sizes, and of any seeds, which are averaged; otherwise the same.
    inputs, targets
        One batch, on which every model is trained for a few steps at its peak learning rate.
    folder
        Where the user's modules are looked up.
    steps
        Optimizer steps.

    Returns
    -------
    dict
        By the module's name, the slope of log(mean |f(x) after the steps - f(x) before|) against
        log(size); 0 where updates do not depend on the size. Modules whose output is no tensor of
        real numbers, or does not change, are left out.
    """
    changes: dict[str, list[tuple[float, float]]] = {}
    for spec in specs:
        for name, change in _changes(spec, inputs, targets, folder, steps).items():
            changes.setdefault(name, []).append((math.log(spec.size), math.log(change)))
    return {
        name: float(np.polyfit(*zip(*points, strict=True), 1)[0])
        for name, points in changes.items()
        if len(points) == len(specs)
    }


def _changes(
    spec: Spec, inputs: Any, targets: Any, folder: str | Path, steps: int
) -> dict[str, float]:
    """Train one model; return the mean absolute change of each module's output."""
    code = UserCode.of_spec(spec, folder, "coordinate check")
    loss = loss_function(code)
    torch.manual_seed(spec.seed)
    model = model_factory(code)(spec.size)
    optimizer = build_optimizer(model, spec, folder)
    before = _activations(model, inputs)
    for _ in range(steps):
        optimizer.zero_grad()
        total, count = loss_sum_and_count(loss(model(inputs), targets), units=1)
        (total / count).backward()
        optimizer.step()
    after = _activations(model, inputs)
    changes = {name: float((after[name] - before[name]).abs().mean()) for name in before}
    return {name: change for name, change in changes.items() if change > 0}


@torch.no_grad()
def _activations(model: torch.nn.Module, inputs: Any) -> Mapping[str, torch.Tensor]:
    """Return the output of each module that is a tensor of real numbers."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: torch.nn.Module, _arguments: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                found[name] = output.detach().clone()

        return hook

    hooks = [m.register_forward_hook(keep(name or "model")) for name, m in model.named_modules()]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return found
