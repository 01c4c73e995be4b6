"""The optimizer of an experiment, and how learning rates follow the model's size."""

from __future__ import annotations

from pathlib import Path

import torch

from flops_fit.errors import UserError
from flops_fit.study.spec import Spec
from flops_fit.user_code.flops import lookup_tables
from flops_fit.user_code.import_path import import_target

BETAS = (0.9, 0.95)


def build_optimizer(
    model: torch.nn.Module, spec: Spec, folder: str | Path
) -> torch.optim.Optimizer:
    """Return the optimizer with one parameter group per peak learning rate and weight decay.

    Parameters
    ----------
    model
        The bare model.
    spec
        The experiment's spec.
    folder
        Where the user's modules are looked up.

    Raises
    ------
    UserError
        If the user's factory does not return an optimizer.
    """
    lr, decay = spec.lr, spec.weight_decay
    scaled = lr * size_scale(spec)
    apply = spec.lr_scaling.apply
    target = spec.optimizer.target
    if target != "adamw":
        factory = import_target(target, folder, "train.optimizer")
        # A factory makes its own groups, so the scaling can only give it one rate for all.
        optimizer = factory(model, scaled if apply == "all" else lr, decay)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserError(
                f"train.optimizer: {target!r} returned {type(optimizer).__name__}, expected a "
                "torch.optim.Optimizer"
            )
        return optimizer
    matrices, others = matrix_parameters(model)
    groups = [
        {"params": matrices, "lr": lr if apply == "none" else scaled, "weight_decay": decay},
        {"params": others, "lr": scaled if apply == "all" else lr, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)


def size_scale(spec: Spec) -> float:
    """Return (size / reference_size)^power."""
    scaling = spec.lr_scaling
    return (spec.size / scaling.reference_size) ** scaling.power


def matrix_parameters(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Split the trainable parameters into matrices and all others.

    A matrix has two or more dimensions and is not an input lookup table.
    """
    tables = lookup_tables(model)
    matrices, others = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim >= 2 and parameter not in tables
            (matrices if is_matrix else others).append(parameter)
    return matrices, others
