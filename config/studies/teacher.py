"""A complete example of one's own model and dataset: a classifier that learns from a teacher."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset


class Classifier(nn.Module):
    """Two-layer perceptron; `width` is the size parameter of the study."""

    def __init__(self, width: int, n_features: int, n_classes: int):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.output = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.output(torch.relu(self.hidden(x)))


class TeacherLabels(Dataset):
    """Random points, labelled by a fixed random network with some label noise."""

    unit = "sample"  # what D counts
    units_per_sample = 1

    @classmethod
    def prepare(cls, folder, n_features, n_classes):
        """Optional: the one-off work, done once in a folder of the dataset's own."""
        random = np.random.default_rng(0)
        first = random.standard_normal((n_features, 64)) / n_features**0.5
        second = random.standard_normal((64, n_classes))
        for split, n in (("train", 200_000), ("validation", 4_096)):
            x = random.standard_normal((n, n_features)).astype(np.float32)
            y = (np.tanh(2 * x @ first) @ second).argmax(axis=1)
            noisy = random.random(n) < 0.05
            y[noisy] = random.integers(0, n_classes, noisy.sum())
            np.save(folder / f"{split}_x.npy", x)
            np.save(folder / f"{split}_y.npy", y)

    def __init__(self, split, folder, n_features, n_classes):
        self.x = np.load(folder / f"{split}_x.npy", mmap_mode="r")
        self.y = np.load(folder / f"{split}_y.npy", mmap_mode="r")

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i].copy()), int(self.y[i])


def cross_entropy(outputs, targets):
    """Mean over the batch, in nats."""
    return nn.functional.cross_entropy(outputs, targets)
