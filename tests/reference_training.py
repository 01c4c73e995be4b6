"""Two tiny trainings whose every bit follows from the trainer's arithmetic.

``python tests/reference_training.py FILE`` trains them anew and writes what came out: after
RECIPE_VERSION was raised, with tests/data/reference_training.json as the file.

Additions, products and square roots alone, in float64, with one thread and instructions that every
x86-64 processor has: another machine computes the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parent / "data" / "reference_training.json"
SAME_EVERYWHERE = {
    "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}  # fmt: skip

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.layers(x)

    def flops_per_unit(self):
        return 6 * sum(parameter.numel() for parameter in self.parameters())


class Fractions(torch.utils.data.Dataset):
    units_per_sample = 1

    def __init__(self, split, folder):
        n = {"train": 50, "validation": 31}[split]
        self.x = (torch.arange(6 * n).reshape(n, 6) * 37 % 64 - 32) / 16.0
        self.y = self.x[:, :3] * self.x[:, 3:]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def square(outputs, targets):
    return (outputs - targets).square().mean()


def kept_square(outputs, targets):
    kept = targets[:, 0] > -1
    return ((outputs - targets).square().mean(dim=1) * kept).sum(), kept.sum()
"""

STUDIES = {
    "cosine": {
        "lr_scaling": {"power": -1, "reference_size": 4, "apply": "matrices"},
        "warmup_fraction": 0.2, "schedule": "cosine", "grad_clip": 0.5, "weight_decay": 0.1,
    },
    "constant": {"schedule": "constant", "grad_clip": None, "weight_decay": 0.0},
}  # fmt: skip


def train(name: str, folder: Path) -> dict[str, Any]:
    """Train one of the studies in this process, and return its bits."""
    import torch
    from flops_fit.plan.files import plan_jobs
    from flops_fit.plan.plan import make_plan
    from flops_fit.study.study import Study
    from flops_fit.train.experiment import train_experiment
    from flops_fit.user_code.measure import measure_sizes
    from flops_fit.user_code.prepare import prepare

    (folder / "reference.py").write_text(MODULE, encoding="utf-8")
    settings = {"batch": 8, "lr": 0.01, "eval_units": 31, "precision": "float64"}
    config = {
        "study": "reference",
        "model": {"target": "reference:Net", "size_param": "width", "sizes": [4, 8, 16]},
        "dataset": {"target": "reference:Fractions"},
        "loss": "reference:kept_square" if name == "constant" else "reference:square",
        "plan": {"budgets": [4e5], "tokens_per_param": [1, 1e6], "min_steps": 2},
        "train": settings | STUDIES[name],
    }
    study = Study.from_config(config, folder / "study.yaml")
    meta = prepare(study, folder / "data" / "meta.json")
    plan = make_plan(study, measure_sizes(study, folder / "data"), meta)
    jobs = plan_jobs(plan, study, data_folder=str(folder / "data"), search_folder=str(folder))
    job = next(iter(jobs.values()))
    weights: dict[str, torch.Tensor] = {}
    record = train_experiment(job, gpus=0, weights=weights)
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(weights[key].numpy().tobytes())
    return {
        "id": job.id,
        "loss": record.loss.hex(),
        "curve": [row.train_loss.hex() for row in record.curve],
        "lr": [row.lr.hex() for row in record.curve],
        "weights": digest.hexdigest(),
    }


def run_apart(library: Path) -> dict[str, Any]:
    """Train with the library in a folder, in a process of its own, and return what came out."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        subprocess.run(
            [sys.executable, __file__, str(file)],
            env=os.environ | SAME_EVERYWHERE | {"PYTHONPATH": str(library)}, check=True,
        )  # fmt: skip
        return json.loads(file.read_text(encoding="utf-8"))


def main(file: Path) -> None:
    """Train both studies and write what came out."""
    import torch
    from flops_fit.plan.plan import RECIPE_VERSION

    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "recipe": RECIPE_VERSION,
        "torch": torch.__version__.partition("+")[0],
        "machine": platform.machine(),
    }
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = train(name, Path(folder))
        sys.modules.pop("reference")
        sys.path.remove(str(Path(folder).resolve()))
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if os.environ.items() >= SAME_EVERYWHERE.items():
        main(Path(sys.argv[1]))
    else:
        library = Path(__file__).resolve().parents[1] / "workflow"
        Path(sys.argv[1]).write_text(json.dumps(run_apart(library), indent=1) + "\n")
