"""A finished study whose losses lie on a known law: planned and fitted for real, never trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from checkout import ROOT, TINY
from flops_fit.files.reading import parse_json
from flops_fit.files.rows import csv_text
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.pipeline.fitting import fit_study
from flops_fit.pipeline.planning import PlanFiles, plan_study
from flops_fit.plan.files import read_plan
from flops_fit.records.merged_runs import MergedRun
from flops_fit.records.run_record import RunRecord
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.prepare import prepare

E, A, B, ALPHA, BETA = 1.8, 8.0, 60.0, 0.45, 0.4
"""The law, whose optimum lies among the sizes at each budget."""
SIZES = [2, 3, 5, 8, 12, 18, 28, 42]
BUDGETS = [4e6, 8e6, 1.6e7, 3.2e7]


def law(N: Any, D: Any) -> Any:
    return E + A / N**ALPHA + B / D**BETA


def recommendable(config: dict) -> None:
    """Change the small study into one whose answer has a law, when its losses lie on ours."""
    config["model"]["sizes"] = SIZES
    config["plan"] |= {"budgets": BUDGETS, "sizes_per_budget": 8, "tokens_per_param": [0.1, 1e6]}
    config["train"]["batch"] = 8
    config["fit"] = {"bootstrap": 40}


def record_of_job(run_id: str, job: dict[str, Any], loss: float) -> dict[str, Any]:
    """What a trainer would have measured of a job, as a JSON object with its checksum."""
    D = job["spec"]["D"]
    plain = {
        "id": run_id, "study": job["study"], "spec": job["spec"], "status": "completed",
        "loss": loss, "loss_std_err": 0.01, "n_params": job["n_params"],
        "n_params_non_embedding": job["n_params_non_embedding"], "D": D, "steps": job["steps"],
        "C": job["flops_per_unit"] * D, "C_6nd": None, "curve": [], "provenance": {},
        "throughput": {
            # A step takes 10 ms and an hour of startup
            "train_seconds": 0.01 * job["steps"], "startup_seconds": 3600.0, "eval_seconds": 0.0,
        },
        "world": {"num_processes": job["processes"], "device": "cpu", "hosts": ["here"]},
    }  # fmt: skip
    return RunRecord.from_json(plain, run_id).to_json()


def forge(root: Path, change: Callable[[dict], None] = lambda config: None) -> Path:
    """Make a study in a folder, which has to be the working directory, and return its results."""
    config = json.loads(json.dumps(TINY))
    recommendable(config)
    change(config)
    file = Path("config/studies/tiny.yaml")
    (root / file).parent.mkdir(parents=True)
    shutil.copy(ROOT / "config" / "studies" / "teacher.py", (root / file).parent)
    (root / file).write_text(yaml.safe_dump(config))
    study = Study.from_config(config, file)
    data, folder = Path("results/data") / study.data_fingerprint, Path("results") / study.name
    prepare(study, data / "meta.json")
    names = {"study": "planned_study.json", "specs": "specs.json", "summary": "plan.log"}
    paths = {key: folder / name for key, name in names.items()}
    files = PlanFiles(plan=folder / "plan.csv", **paths)
    plan_study(study, DatasetMeta.load(data / "meta.json"), data, files)
    for run_id, job in parse_json(folder / "specs.json").items():
        loss = float(law(job["n_params_non_embedding"], job["spec"]["D"]))
        write_json(folder / "runs" / f"{run_id}.json", record_of_job(run_id, job, loss))
    rows = collect_runs(read_plan(folder / "plan.csv"), folder, study.fit.params, study.name)
    write_whole(folder / "runs.csv", csv_text(MergedRun, rows))
    write_json(folder / "fit.json", fit_study(study, folder / "runs.csv", workers=1))
    return folder


def best_width(C: float) -> int:
    """The width with the lowest loss at C: 56 w FLOPs per sample and 13 w + 4 parameters."""
    width = np.arange(1, 2000)
    return int(width[law(13 * width + 4, C / (56 * width)).argmin()])
