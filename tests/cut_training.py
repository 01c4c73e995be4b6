"""A tiny training that can be cut after any step, with all that a checkpoint has to hold."""

from __future__ import annotations

import importlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from flops_fit.errors import Interrupted
from flops_fit.launch.signals import Warned
from flops_fit.plan.files import plan_jobs
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    state_folder,
)
from flops_fit.study.study import Study
from flops_fit.train.experiment import train_experiment
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare
from hand_computed import changed

MODULE = """
import random

import numpy as np
import torch
from torch import nn

crash_at = [None]
calls = [0]
most = [5]  # samples that fit into memory


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


class Everything(nn.Module):
    '''Dropout, batch normalisation, tied weights, a buffer outside of the state dict, extra state,
    and a batch that must be cut in two.'''

    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.middle = nn.Linear(width, width)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.middle.weight
        self.last = nn.Linear(width, 1)
        self.register_buffer("average", torch.zeros(width), persistent=False)
        self.steps = 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]

    def forward(self, x):
        if len(x) > most[0] and self.training and x.device.type != "meta":
            raise torch.OutOfMemoryError("CUDA out of memory (in a test)")
        y = self.norm(self.first(x)).tanh()
        if self.training:
            self.steps += 1
            with torch.no_grad():
                self.average.mul_(0.9).add_(0.1 * y.mean(dim=0))
        y = nn.functional.dropout(self.tied(self.middle(y) + self.average), 0.3, self.training)
        return self.last(y).squeeze(-1) / (1 + 0.01 * (self.steps % 7))


class Data(torch.utils.data.Dataset):
    def __init__(self, split, folder, noise=0.0):
        rng = np.random.default_rng({"train": 0, "validation": 1}[split])
        length = {"train": 50, "validation": 40}[split]
        self.inputs = torch.tensor(rng.normal(size=(length, 3)), dtype=torch.float32)
        self.targets = self.inputs.prod(dim=1)
        self.noise = noise

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        x = self.inputs[index]
        if self.noise:  # an augmentation that draws from all generators
            x = x * (1 + self.noise * (random.random() + np.random.rand() + torch.rand(())))
        return x, self.targets[index]


def mean_square(outputs, targets):
    if torch.is_grad_enabled() and outputs.device.type != "meta":
        calls[0] += 1
        if calls[0] == crash_at[0]:
            raise ArithmeticError("power cut")
    return (outputs - targets).square().mean()


def masked_square(outputs, targets):
    mean_square(outputs, targets)
    mask = targets > 0
    return ((outputs - targets).square() * mask).sum(), mask.sum()


def momentum(model, lr, weight_decay):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


class Rejecting(torch.optim.SGD):
    pass


def rejecting(model, lr, weight_decay):
    return Rejecting(model.parameters(), lr=lr, momentum=0.9)


class Odd(torch.optim.Optimizer):
    '''Keeps nested state of types that are not the parameters', and one value outside of it.'''

    def __init__(self, model, lr, weight_decay):
        super().__init__(model.parameters(), {"lr": lr, "calls": 0, "names": ("a", None)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["calls"] += 1
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["sum"] = torch.zeros_like(p, dtype=torch.float64)
                    state["history"] = {"lengths": [], 3: torch.zeros(2, dtype=torch.int64)}
                state["sum"].mul_(0.9).add_(p.grad.double() / 3)
                state["history"]["lengths"].append(float(p.grad.norm()))
                state["history"]["lengths"][:] = state["history"]["lengths"][-2:]
                state["history"][3] += 1
                scale = sum(state["history"]["lengths"]) / int(state["history"][3][0])
                p.sub_((group["lr"] * state["sum"] / (1 + scale)).float())
"""

STUDY = {
    "study": "cut",
    "model": {"size_param": "width", "sizes": [3, 4, 5]},
    "dataset": {},
    "plan": {"budgets": [1e6], "min_steps": 1, "tokens_per_param": [1, 1e6], "flops": "6ND"},
    "train": {"batch": 10, "lr": 0.05, "warmup_fraction": 0.3, "eval_units": 40},
}  # fmt: skip
STEPS = 16


def reset() -> None:
    """Start as in a new process, but with random states other than the seed's."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    torch.set_default_dtype(torch.float32)
    torch.set_flush_denormal(False)
    torch.manual_seed(random.randrange(2**31))


@pytest.fixture
def planned_cut(tmp_path, user_module):
    """Return a function that plans a study and returns one job and the module of the user."""
    name = user_module(MODULE)

    def plan(changes: dict | None = None, **names: str):
        paths = {
            "model.target": f"{name}:{names.get('model', 'Model')}",
            "dataset.target": f"{name}:{names.get('dataset', 'Data')}",
            "loss": f"{name}:{names.get('loss', 'mean_square')}",
        }
        if "optimizer" in names:
            paths["train.optimizer"] = f"{name}:{names['optimizer']}"
        config = changed(STUDY, {**paths, **(changes or {})})
        study = Study.from_config(config, tmp_path / "cut.yaml")
        data_folder = tmp_path / "data"
        prepare(study, data_folder / "meta.json")
        meta = DatasetMeta.load(data_folder / "meta.json")
        made = make_plan(study, measure_sizes(study, data_folder), meta)
        jobs = plan_jobs(made, study, data_folder=str(data_folder), search_folder=str(tmp_path))
        job = jobs[made.experiments[0].id]
        job = replace(job, spec=replace(job.spec, D=STEPS * job.spec.batch))
        return job, importlib.import_module(name)

    return plan


class Asked(Warned):
    """Is asked to leave when somebody looks for the n-th time: after every step, and every chunk
    of the evaluation."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def asked(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def train(job: Job, folder: Path, looks: int | None = None) -> dict:
    reset()
    asked = None if looks is None else Asked(looks)
    return train_experiment(job, gpus=0, study_folder=folder, warned=asked).to_json()


def outcome(record: dict) -> dict:
    """Everything but timings, provenance, and that it was resumed."""
    kept = {k: v for k, v in record.items() if k not in ("throughput", "provenance")}
    return {**kept, "world": {**record["world"], "resumed": None}}


CASES = {
    "plain": ({}, {}),
    "masked": ({}, {"loss": "masked_square"}),
    "everything": ({"dataset.kwargs": {"noise": 0.5}},
                   {"model": "Everything", "loss": "masked_square"}),
    "momentum": ({"train.lr_scaling.apply": "all"}, {"optimizer": "momentum"}),
    "odd": ({"train.lr_scaling.apply": "all"}, {"optimizer": "Odd", "model": "Everything"}),
    "float64": ({"train.precision": "float64"}, {}),
    "wsd": ({"train.schedule": "wsd", "train.warmup_steps": 3, "train.decay_fraction": 0.4}, {}),
}  # fmt: skip


def cut(job: Job, folder: Path) -> tuple[Path, Path]:
    """Leave a checkpoint of step 6 and a previous one of step 5."""
    for looks in (4, 0):
        with pytest.raises(Interrupted):
            train(job, folder, looks=looks)
    state = state_folder(folder, job.id)
    return state / CHECKPOINT, state / PREVIOUS_CHECKPOINT
