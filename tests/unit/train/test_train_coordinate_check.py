"""The coordinate check: real optimizer steps at several widths, in muP and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from flops_fit.study.spec import LossSpec, LrScaling, ModelSpec, Spec
from flops_fit.train.coordinate_check import coordinate_check
from hand_computed import planned, spec_of

WIDTHS = (32, 64, 128, 256)
SHAPE = {"n_layer": 2, "vocab_size": 64, "seq_len": 32}
MUP = LrScaling(power=-1, reference_size=8, apply="matrices")
NONE = LrScaling(power=0, reference_size=1, apply="none")


def specs(target: str, kwargs: dict, scaling: LrScaling) -> list[Spec]:
    one = replace(
        spec_of(planned().experiments[0]),
        model=ModelSpec(target=target, kwargs=kwargs, version=1, size_param="d_model"),
        loss=LossSpec(target="flops_fit.zoo.losses:next_token", version=1),
        lr=0.01,
        lr_scaling=scaling,
    )
    return [replace(one, size=width, seed=seed) for width in WIDTHS for seed in (0, 1)]


def exponents(kwargs: dict, scaling: LrScaling, target: str) -> dict[str, float]:
    tokens = torch.randint(64, (8, 33), generator=torch.Generator().manual_seed(0))
    made = specs(target, SHAPE | kwargs, scaling)
    return coordinate_check(made, tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("heads", [{}, {"n_head": 2}], ids=["heads of 16", "two heads"])
def test_in_mup_updates_do_not_depend_on_the_width(heads):
    found = exponents({"base_width": 8, **heads}, MUP, "flops_fit.zoo.mup:GPT")
    logits = [found.pop(name) for name in ("head", "model")]
    assert {name.partition(".")[2] for name in found} >= {"1.attention", "1.mlp"}
    # -0.11 to 0.02 were seen.
    assert max(map(abs, found.values())) < 0.2, found
    # Logits start as noise of width^-1/2, which fades beside what is learnt; they do not grow.
    assert -0.5 < min(logits) <= max(logits) < 0.1


def test_without_it_they_grow():
    found = exponents({}, NONE, "flops_fit.zoo.gpt:GPT")
    for layer in (0, 1):
        assert found[f"blocks.{layer}.attention"] > 0.5
        assert found[f"blocks.{layer}.mlp"] > 0.5
    assert found["head"] > 0.25
    # Scaled learning rates alone are most of muP, but the logits still grow.
    scaled = exponents({}, MUP, "flops_fit.zoo.gpt:GPT")
    assert max(abs(scaled[f"blocks.{layer}"]) for layer in (0, 1)) < 0.2
    assert scaled["head"] > exponents({"base_width": 8}, MUP, "flops_fit.zoo.mup:GPT")["head"] + 0.2


def test_the_exponent_of_a_known_growth(tmp_path, user_module):
    """One step of Adam moves each of n equal weights by lr: their sum moves by lr * n."""
    name = user_module("""
        import torch


        class Sum(torch.nn.Module):
            def __init__(self, width):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(width))

            def forward(self, x):
                return x + self.weight.sum()


        def loss(outputs, targets):
            return (outputs - targets).sum(), 2
        """)
    one = replace(
        spec_of(planned().experiments[0]),
        model=ModelSpec(target=f"{name}:Sum", kwargs={}, version=1, size_param="width"),
        loss=LossSpec(target=f"{name}:loss", version=1),
        lr_scaling=NONE,
    )
    made = [replace(one, size=width) for width in (3, 30, 300)]
    x = torch.zeros(2)
    assert coordinate_check(made, x, x, folder=tmp_path, steps=1)["model"] == pytest.approx(1, 1e-4)
