"""Experiments that are launched as the train rule launches them, without Snakemake around."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from checkout import ROOT, environment
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare

MODULE = '''
import os
import time

import torch
from torch import nn
from torch.utils.data import Dataset


class Perceptron(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3))

    def forward(self, x):
        return self.layers(x)


class Points(Dataset):
    """Labelled points; 103 of them to validate on, which no number of processes divides."""

    units_per_sample = 1

    def __init__(self, split, folder):
        n = {"train": 1000, "validation": 103}[split]
        random = torch.Generator().manual_seed(n)
        self.x = torch.randn(n, 6, generator=random)
        self.y = (self.x[:, :3] * self.x[:, 3:]).argmax(dim=1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def mean_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def masked_loss(outputs, targets):
    """Counts a varying part of the targets, as padding does."""
    kept = outputs.detach().sum(dim=1) * 0 + targets > 0
    losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return (losses * kept).sum(), kept.sum()
'''


@dataclass
class Launchpad:
    """A folder with a planned study; every experiment can be launched by its id."""

    path: Path
    config: dict

    @property
    def study(self) -> Path:
        return self.path / "results" / self.config["study"]

    def plan(self) -> list[str]:
        """Plan the study and return the ids of its experiments."""
        sys.modules.pop("points", None)  # that of another test, or of before a change
        study = Study.from_config(self.config, self.path / "study.yaml")
        data = self.path / "results" / "data" / study.data_fingerprint
        if not (data / "meta.json").exists():
            prepare(study, data / "meta.json")
        meta = DatasetMeta.load(data / "meta.json")
        plan = make_plan(study, measure_sizes(study, data), meta)
        self.study.mkdir(parents=True, exist_ok=True)
        specs = plan_specs(plan, study, data_folder=str(data), search_folder=str(self.path))
        (self.study / "specs.json").write_text(json.dumps(specs))
        (self.study / "plan.csv").write_text(plan_csv(plan))
        return list(specs)

    def command(self, run_id: str, threads: int = 1) -> list[str]:
        return [
            sys.executable, "-m", "flops_fit.launch", f"--plan={self.study / 'plan.csv'}",
            f"--id={run_id}", f"--log={self.study / 'logs' / run_id}.log", f"--threads={threads}",
        ]  # fmt: skip

    def environment(self, **more: str) -> dict[str, str]:
        return environment() | {"PYTHONPATH": str(ROOT / "workflow")} | more

    def start(self, run_id: str, *options: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*self.command(run_id), *options], env=self.environment(**more), cwd=self.path,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True,
        )  # fmt: skip

    def launch(self, run_id: str, **more: str) -> dict:
        """Train an experiment, which has to succeed, and return its record."""
        process = self.start(run_id, **more)
        try:
            output, _ = process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate(timeout=60)
            raise
        assert process.returncode == 0, output
        return self.record(run_id)

    def record(self, run_id: str) -> dict:
        return json.loads((self.study / "runs" / f"{run_id}.json").read_text())


@pytest.fixture
def launchpad(tmp_path, monkeypatch) -> Iterator[Launchpad]:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the search for modules adds folders
    (tmp_path / "points.py").write_text(MODULE)
    config = {
        "study": "points",
        "model": {"target": "points:Perceptron", "size_param": "width", "sizes": [4, 8, 16]},
        "dataset": {"target": "points:Points"},
        "loss": "points:mean_loss",
        "plan": {"budgets": [4e5], "tokens_per_param": [1, 1e6], "min_steps": 2},
        "train": {"batch": 10, "lr": 0.01, "eval_units": 103, "precision": "float64"},
    }
    yield Launchpad(tmp_path, config)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]  # the next test has a folder of its own
    for process in psutil.process_iter(["cmdline"]):
        if any(str(tmp_path) in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.Error):
                process.kill()
