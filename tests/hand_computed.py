"""A small study in which everything can be computed by hand: N equals the size, 6 N FLOPs per unit.

With a budget of 6e6 FLOPs, D = 1e6 / N and, at 10 units a step, 1e5 / N steps.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.plan import Plan, experiment_spec, make_plan
from flops_fit.records.run_record import RunRecord
from flops_fit.study.identity import fingerprint
from flops_fit.study.spec import Spec
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
        "warmup_steps": 4,
        "grad_clip": 2.0,
        "schedule": "constant",
        "final_lr_fraction": 0.5,
        "decay_fraction": 0.4,
        "decay_shape": "1-sqrt",
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
        "E": 1.5,
        "noise": "by_compute",
        "exclude": ["abc"],
        "allow_mixed_code": True,
    },
    "predict": {"budgets": [1e9]},
}

# The keys that FULL cannot have: a design, with its budgets and half of the data's repetitions.
DESIGNED = {
    **SMALL,
    "study": "designed",
    "model": SMALL["model"] | {"sizes": {"min": 10, "max": 90, "multiple_of": 5}},
    "plan": {
        "budgets": [1e5, 3e5, 1e6, 3e6, 1e7],
        "target": 1e10,
        "spend": 1e8,
        "prior": 30,
        "truth": {"E": 1.0, "A": 20, "B": 30, "alpha": 0.3, "beta": 0.4, "noise": 0.02},
        "max_epochs": 2,
        "lr_pilot": True,
        "hardware": {"flops_per_second": 1e12},
        "price_per_gpu_hour": 2.5,
    },
    "simulate": {"studies": 20, "seed": 3, "spends": [1e7, 1e8]},
}

# The spec of the largest size of SMALL.
SPEC_OF_400 = {
    "recipe": 1,
    "model": {"target": "mine:Model", "kwargs": {}, "version": 1, "size_param": "width"},
    "size": 400,
    "dataset": {
        "target": "mine:Data",
        "kwargs": {},
        "version": 1,
        "content": "0123456789ab",
        "units_per_sample": 5,
    },
    "loss": {"target": "mine:loss", "version": 1},
    "D": 2500,
    "batch": 10,
    "lr": 0.01,
    "lr_scaling": {"power": 0.0, "reference_size": 1.0, "apply": "none"},
    "optimizer": {"target": "adamw", "version": 1},
    "weight_decay": 0.1,
    "warmup_fraction": 0.1,
    "grad_clip": 1.0,
    "schedule": "cosine",
    "final_lr_fraction": 0.1,
    "precision": "no",
    "eval_units": 1000,  # the validation split holds no more
    "seed": 0,
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
    """N is the whole size (at least 1), 1000 more in lookup tables, 6 FLOPs per N and unit."""
    return {
        size: SimpleNamespace(
            n_params=N + 1000, n_params_non_embedding=N, flops_per_unit=6.0 * size
        )
        for size in study.model.sizes
        for N in [max(1, int(size))]
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


def planned(changes: dict[str, Any] | None = None, **meta: Any) -> Plan:
    study = small_study(changes)
    return make_plan(study, measures(study), dataset_meta(**meta))


def spec_of(row: PlannedExperiment) -> Spec:
    """The spec of an experiment of the small study, whatever its grid is."""
    study = small_study({"plan.budgets": [row.budget]})
    cell = Cell(budget=row.budget, size=row.size, steps=row.steps, batch=row.batch)
    spec = experiment_spec(study, dataset_meta(), cell, lr=row.lr, seed=row.seed)
    assert fingerprint(spec.to_json()) == row.id
    return spec


def run_record(row: PlannedExperiment, **changes: Any) -> RunRecord:
    """What a trainer measures of a planned experiment."""
    return RunRecord.from_json(record_of(row, **changes), row.id)


def record_of(row: PlannedExperiment, **changes: Any) -> dict[str, Any]:
    """The same as plain objects, as one without a checksum lies in its file."""
    return {
        "id": row.id,
        "study": "small",
        "spec": spec_of(row).to_json(),
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
