"""A module as a user would write it, and the sentence that an error is."""

from __future__ import annotations

from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.study.study import Target
from flops_fit.user_code.references import UserCode

GOOD = """
import torch
from torch import nn


class Model(nn.Linear):
    def __init__(self, width, depth=1):
        super().__init__(width, depth)


class Data(torch.utils.data.Dataset):
    units_per_sample = 3
    unit = "token"

    def __init__(self, split, folder, length=4):
        self.split, self.folder, self.length = split, folder, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.tensor([float(index)]), torch.tensor(index)


def loss(outputs, targets):
    return (outputs - targets).square().mean()


def optimizer(model, lr, weight_decay):
    return torch.optim.SGD(model.parameters(), lr)


number = 3
"""


def code_of(folder: Path, name: str, **changes) -> UserCode:
    """The user's code with everything in one module; `changes` are other import paths or values."""
    model, dataset = changes.pop("model", "Model"), changes.pop("dataset", "Data")
    return UserCode(
        **{
            "model": Target(path=f"{name}:{model}", kwargs=changes.pop("kwargs", {}), version=1),
            "size_param": "width",
            "sizes": (1, 2, 3),
            "dataset": Target(
                path=f"{name}:{dataset}", kwargs=changes.pop("dataset_kwargs", {}), version=1
            ),
            "loss": f"{name}:loss",
            "optimizer": "adamw",
            "folder": folder,
            "source": "my.yaml",
            **changes,
        }
    )


def sentence(call, *arguments, error=UserError) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message
