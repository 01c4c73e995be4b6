"""Points that are labelled by a rule, and perceptrons that learn it."""

import torch
from torch import nn
from torch.utils.data import Dataset


class Perceptron(nn.Module):
    """Two layers; `width` is the size parameter of the study."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 3))

    def forward(self, x):
        return self.layers(x)


class Points(Dataset):
    """Points on a lattice; the label is the index of their largest coordinate."""

    units_per_sample = 1

    def __init__(self, split, folder):
        n = {"train": 4000, "validation": 500}[split]
        i = torch.arange(n).double()
        steps = torch.tensor([0.7548776662, 0.5698402910, 0.3141592654]).double()
        shift = {"train": 0.0, "validation": 0.5}[split]
        self.x = ((i[:, None] * steps + shift) % 1).float()
        self.y = self.x.argmax(dim=1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def mean_loss(outputs, targets):
    """Mean over the batch, in nats."""
    return nn.functional.cross_entropy(outputs, targets)
