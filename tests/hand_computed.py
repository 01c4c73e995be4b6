"""A small study in which everything can be computed by hand: N equals the size, 6 N FLOPs per unit.

With a budget of 6e6 FLOPs, D = 1e6 / N and, at 10 units a step, 1e5 / N steps.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

FILE = "studies/small.yaml"

SMALL = {
    "study": "small",
    "model": {"target": "mine:Model", "size_param": "width", "sizes": [50, 100, 200, 400]},
    "dataset": {"target": "mine:Data"},
    "loss": "mine:loss",
    "plan": {"budgets": [6e6]},
    "train": {"batch": 10, "lr": 0.01},
}

# Another study that writes every key; each value is valid and differs from SMALL's resolved one.
FULL = {
    "study": "full",
    "model": {
        "target": "mine:OtherModel",
        "size_param": "depth",
        "sizes": {"min": 10, "max": 90, "count": 3, "multiple_of": 5},
        "kwargs": {"heads": 2},
        "version": 7,
    },
    "dataset": {"target": "mine:OtherData", "kwargs": {"length": 9}, "version": "second"},
    "loss": {"target": "mine:other_loss", "version": 3},
    "plan": {
        "budgets": [1e7, 2e7],
        "sizes_per_budget": 4,
        "tokens_per_param": [1, 100],
        "min_steps": 10,
        "flops": "6ND",
        "seeds": [3, 4],
    },
    "train": {
        "batch": {1e7: 20, 2e7: 40},
        "lr": {1e7: [0.1, 0.2], 2e7: 0.3},
        "lr_scaling": {"power": -1, "reference_size": 32, "apply": "all"},
        "optimizer": {"target": "mine:optimizer", "version": 5},
        "weight_decay": 0.2,
        "warmup_fraction": 0.3,
        "grad_clip": 2.0,
        "schedule": "constant",
        "final_lr_fraction": 0.5,
        "precision": "bf16",
        "processes": [{"from_params": 0, "processes": 1}, {"from_params": 1050, "processes": 2}],
        "compile": True,
        "find_unused_parameters": True,
        "accelerate_config": str(ACCELERATE_CONFIG),
        "checkpoint_minutes": 2.5,
        "keep_checkpoint": True,
        "eval_units": 1000,
    },
    "fit": {
        "params": "total",
        "approaches": [2],
        "bootstrap": 200,
        "ci": 0.9,
        "seed": 5,
        "stratify": False,
        "holdout_budgets": 2,
        "tie_exponents": True,
        "exclude": ["abc"],
        "allow_mixed_code": True,
    },
    "predict": {"budgets": [1e9]},
}


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with dotted keys set to other values."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        *sections, last = key.split(".")
        node = config
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = copy.deepcopy(value)
    return config


def without(config: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a copy without a dotted key."""
    config = copy.deepcopy(config)
    *sections, last = key.split(".")
    node = config
    for section in sections:
        node = node[section]
    del node[last]
    return config


def at(config: Any, key: str) -> Any:
    """Return the value of a dotted key."""
    for name in key.split("."):
        config = config[name]
    return config


def resolved(config: dict[str, Any], file: str = FILE) -> dict[str, Any]:
    """Return the plain form of a study, with every default filled in."""
    return Study.from_config(config, file).config


def small_study(changes: dict[str, Any] | None = None, file: str = FILE) -> Study:
    return Study.from_config(changed(SMALL, changes or {}), file)


def measures(study: Study) -> dict[float, Any]:
    """N equal to the size, 1000 more in lookup tables, 6 FLOPs per parameter and unit."""
    return {
        size: SimpleNamespace(
            n_params=size + 1000, n_params_non_embedding=size, flops_per_unit=6.0 * size
        )
        for size in study.model.sizes
    }


def dataset_meta(**changes: Any) -> DatasetMeta:
    values = {
        "target": "mine:Data",
        "kwargs": {},
        "version": 1,
        "unit": "token",
        "units_per_sample": 5,
        "units_train": 10_000,
        "units_validation": 1000,
        "content_fingerprint": "0123456789ab",
    }
    return DatasetMeta(**(values | changes))


def planned():
    study = small_study()
    return make_plan(study, measures(study), dataset_meta())


def record_of(row, **changes) -> dict:
    """What the trainer writes for a planned experiment."""
    return {
        "id": row.id,
        "study": "small",
        "spec": row.spec.to_json(),
        "status": "completed",
        "loss": 1.0 + 1 / row.size,
        "loss_std_err": 0.1,
        "n_params": row.n_params,
        "n_params_non_embedding": row.n_params_non_embedding,
        "D": row.D,
        "steps": row.steps,
        "C": row.C,
        "C_6nd": 6 * row.n_params_non_embedding * row.D,
        "curve": [[1, 10, 2.5, 0.01], [row.steps, row.D, 1.5, 0.001]],
        "throughput": {"units_per_second": 3.0},
        "world": {"num_processes": 1},
        "provenance": {
            "content_fingerprint": "0123456789ab",
            "source": {"model": "m", "dataset": "d", "loss": "l"},
        },
        **changes,
    }
