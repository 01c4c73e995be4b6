"""Which parameters are scaled and decayed, and AdamW's arithmetic, against what is written here."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.study.spec import LrScaling, OptimizerSpec, Spec
from flops_fit.train.optimizer import build_optimizer, matrix_parameters, size_scale
from hand_computed import planned, spec_of
from torch import nn

LR, DECAY, SCALED = 0.4, 0.3, 0.1  # width 32 at the reference width 8 with the power -1

MATRICES = {"linear.weight", "convolution.weight", "head.weight", "attention"}
OTHERS = {"table.weight", "linear.bias", "norm.weight", "norm.bias", "scale"}


class Everything(nn.Module):
    """One parameter of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.linear = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.convolution = nn.Conv1d(6, 5, 3, bias=False)
        self.head = nn.Linear(5, 7, bias=False)
        self.attention = nn.Parameter(torch.ones(2, 3, 4))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)


def spec(size: float = 32, optimizer: str = "adamw", **scaling) -> Spec:
    return replace(
        spec_of(planned().experiments[0]),
        size=size,
        lr=LR,
        weight_decay=DECAY,
        lr_scaling=LrScaling(**{"power": -1, "reference_size": 8, "apply": "matrices", **scaling}),
        optimizer=OptimizerSpec(target=optimizer, version=1),
    )


def settings_by_name(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(parameter)], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert len(found) == len(dict(found))  # none twice
    return dict(found)


@pytest.mark.parametrize(
    ("apply", "matrices", "others"),
    [("matrices", SCALED, LR), ("all", SCALED, SCALED), ("none", LR, LR)],
)
def test_matrices_are_decayed_and_what_is_asked_for_is_scaled(apply, matrices, others):
    model = Everything()
    optimizer = build_optimizer(model, spec(apply=apply), ".")
    assert settings_by_name(model, optimizer) == {
        **dict.fromkeys(MATRICES, (matrices, DECAY)),
        **dict.fromkeys(OTHERS, (others, 0.0)),
    }


def test_a_table_that_is_tied_to_a_head_is_a_matrix():
    model = Everything()
    model.head = nn.Linear(4, 7, bias=False)
    model.head.weight = model.table.weight
    found = settings_by_name(model, build_optimizer(model, spec(), "."))
    assert found["table.weight"] == (SCALED, DECAY)
    assert "head.weight" not in found  # once


def test_matrices_and_others_are_all_that_is_trained():
    model = Everything()
    matrices, others = matrix_parameters(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in matrices} == MATRICES
    assert {names[id(parameter)] for parameter in others} == OTHERS


@pytest.mark.parametrize("layer", [nn.Linear(2, 3, bias=False), nn.LayerNorm(3)])
def test_a_model_with_one_kind_of_parameters_is_fine(layer):
    optimizer = build_optimizer(layer, spec(), ".")
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("size", "power", "reference", "expected"),
    [(32, -1, 8, 0.25), (8, -1, 32, 4), (9, 0.5, 4, 1.5), (77, 0, 3, 1), (12.5, 1, 25, 0.5)],
)
def test_the_scale_of_a_size(size, power, reference, expected):
    assert size_scale(spec(size, power=power, reference_size=reference)) == expected


def test_steps_are_those_of_adamw():
    """Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2, with decoupled decay lr * decay.

    Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1: betas 0.9 and 0.95, epsilon 1e-8.
    """
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, spec(), ".")
    gradients = {name: torch.randn(5, *value.shape).double() for name, value in start.items()}
    for t in range(5):
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name][t].clone()
        optimizer.step()
    for name, lr, decay in (("weight", SCALED, DECAY), ("bias", LR, 0.0)):
        theta = start[name].clone()
        m, v = torch.zeros_like(theta), torch.zeros_like(theta)
        for t, g in enumerate(gradients[name], start=1):
            m = 0.9 * m + 0.1 * g
            v = 0.95 * v + 0.05 * g**2
            m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.95**t)
            theta = theta - lr * decay * theta - lr * m_hat / (v_hat.sqrt() + 1e-8)
        # 5 steps of a few roundings each
        torch.testing.assert_close(getattr(model, name).detach(), theta, rtol=1e-13, atol=1e-14)


# The user's own optimizer ------------------------------------------------------------------------

FACTORIES = """
import torch

calls = []


def sgd(model, lr, weight_decay):
    calls.append((model, lr, weight_decay))
    return torch.optim.SGD(model.parameters(), lr, weight_decay=weight_decay)


def nothing(model, lr, weight_decay):
    return None
"""


@pytest.mark.parametrize(("apply", "lr"), [("all", SCALED), ("none", LR)])
def test_a_factory_gets_model_rate_and_decay(tmp_path, user_module, apply, lr):
    name = user_module(FACTORIES)
    model = Everything()
    settings = spec(optimizer=f"{name}:sgd", apply=apply)
    optimizer = build_optimizer(model, settings, tmp_path)
    assert type(optimizer) is torch.optim.SGD
    assert sys.modules[name].calls == [(model, lr, DECAY)]


def test_a_factory_that_returns_no_optimizer_is_a_sentence(tmp_path, user_module):
    name = user_module(FACTORIES)
    settings = spec(optimizer=f"{name}:nothing")
    with pytest.raises(UserError) as caught:
        build_optimizer(Everything(), settings, tmp_path)
    assert str(caught.value) == (
        f"train.optimizer: '{name}:nothing' returned NoneType, expected a torch.optim.Optimizer"
    )
