"""A tiny study whose trainings a plain loop can follow, step by step, in float64."""

from __future__ import annotations

import importlib

import pytest
from flops_fit.plan.files import plan_jobs
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from flops_fit.train.experiment import train_experiment
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare
from hand_computed import changed

UNITS = 4  # per sample
IGNORED = -1e9

MODULE = """
import numpy as np
import torch
from torch import nn

seen = []
calls = []


class Model(nn.Module):
    def __init__(self, width, flops=None):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x):  # (B, T, 3) -> (B, T)
        return self.last(self.first(x).tanh()).squeeze(-1)

    def flops_per_unit(self):
        return 6 * sum(parameter.numel() for parameter in self.parameters())


class BlindModel(Model):
    '''Learns as usual, and is not to be evaluated.'''

    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x) * float("nan")


class Data(torch.utils.data.Dataset):
    units_per_sample = 4
    unit = "token"

    def __init__(self, split, folder, ignore=0.0, ignored_samples=()):
        rng = np.random.default_rng({"train": 0, "validation": 1}[split])
        length = {"train": 30, "validation": 70}[split]
        self.inputs = torch.tensor(rng.normal(size=(length, 4, 3)), dtype=torch.float32)
        targets = rng.normal(size=(length, 4))
        targets[rng.random((length, 4)) < ignore] = -1e9
        targets[list(ignored_samples)] = -1e9
        self.targets = torch.tensor(targets, dtype=torch.float32)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        seen.append(index)
        return self.inputs[index], self.targets[index]


class Drawing(Data):
    '''Draws at random when it is opened, and keeps a state from sample to sample.'''

    def __init__(self, split, folder):
        super().__init__(split, folder)
        self.drawn, self.reads = [torch.rand(1).item(), np.random.rand()], 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


class Images(Data):
    unit = "image"


def mean_square(outputs, targets):
    return (outputs - targets).square().mean()


def masked_square(outputs, targets):
    mask = targets > -1e9
    return ((outputs - targets).square() * mask).sum(), mask.sum()


def nan_after_60(outputs, targets):
    calls.append(1)
    return (outputs - targets).square().mean() * (float("nan") if len(calls) > 60 else 1)
"""

STUDY = {
    "study": "tiny",
    "model": {"size_param": "width", "sizes": [2, 4, 8]},
    "dataset": {},
    # N = 5 width + 1 and C = 6 N D: 191, 100 and 51 steps of 8 units
    "plan": {"budgets": [100_800], "min_steps": 50},
    "train": {
        "batch": 8,
        "lr": 0.05,
        "lr_scaling": {"power": -1, "reference_size": 4},
        "weight_decay": 0.1,
        "grad_clip": 0.5,
        "precision": "float64",
    },
}
STEPS = {2: 191, 4: 100, 8: 51}


@pytest.fixture
def planned_tiny(tmp_path, user_module):
    """Return a function that plans a study and returns one job and the module of the user."""
    name = user_module(MODULE)

    def plan(size: int, changes: dict | None = None, **names: str):
        paths = {
            "model.target": f"{name}:{names.get('model', 'Model')}",
            "dataset.target": f"{name}:{names.get('dataset', 'Data')}",
            "loss": f"{name}:{names.get('loss', 'mean_square')}",
        }
        study = Study.from_config(
            changed(STUDY, {**paths, **(changes or {})}), tmp_path / "tiny.yaml"
        )
        data_folder = tmp_path / "data"
        prepare(study, data_folder / "meta.json")
        meta = DatasetMeta.load(data_folder / "meta.json")
        made = make_plan(study, measure_sizes(study, data_folder), meta)
        jobs = plan_jobs(made, study, data_folder=str(data_folder), search_folder=str(tmp_path))
        (run_id,) = (row.id for row in made.experiments if row.size == size)
        module = importlib.import_module(name)
        module.seen.clear()
        module.calls.clear()
        return jobs[run_id], module

    return plan


def train(job: Job) -> dict:
    return train_experiment(job, gpus=0).to_json()
