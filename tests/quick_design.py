"""Designs that train in moments: the losses are those of a law, and all else is real."""

from __future__ import annotations

import csv
import json
from typing import Any

from checkout import Checkout

# In place of accelerate and the trainer. E, A, B, alpha, beta as below; the noise follows from the
# id, so that a run that is made again has the same loss.
COMMAND = "return [*command, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_COMMAND = "return [sys.executable, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_TRAINER = """
import math, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flops_fit.plan.files import read_job
from flops_fit.records.run_record import RunRecord, store_record

options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder, run_id = Path(options["study-folder"]), options["id"]
job = read_job(folder / "specs.json", run_id)
N, D = job.n_params_non_embedding, job.spec.D
loss = 1.5 + 20 / N**0.35 + 60 / D**0.37
loss *= math.exp(0.002 * (int(run_id, 16) / 16**12 - 0.5))
marks = Path("results/marks")
if (marks / f"crash_{run_id}").exists():
    sys.exit("error: this experiment always fails")
diverged = any((marks / f"diverge_{what}").exists() for what in (run_id, f"{job.budget:.4g}"))
record = RunRecord.from_json(
    {
        "id": run_id, "study": job.study, "spec": job.spec.to_json(),
        "status": "diverged" if diverged else "completed", "loss": None if diverged else loss,
        "loss_std_err": None, "n_params": job.n_params,
        "n_params_non_embedding": job.n_params_non_embedding, "D": D,
        "steps": job.steps, "C": job.flops_per_unit * D, "C_6nd": None, "curve": [],
        "throughput": {}, "world": {}, "provenance": {},
    },
    run_id,
)
store_record(record, folder)
"""

PLAN = {"target": 1e11, "spend": 2e9, "prior": 600, "min_steps": 10, "max_epochs": 1000}
SIZES = {"min": 1, "max": 2000}


def make_design(checkout: Checkout, **plan: Any) -> Checkout:
    """Make the study of a checkout a design that trains in moments."""
    scripts = checkout.path / "workflow" / "scripts"
    (scripts / "train.py").write_text(QUICK_TRAINER)
    launcher = checkout.path / "workflow" / "flops_fit" / "launch" / "launcher.py"
    text = launcher.read_text()
    assert COMMAND in text
    launcher.write_text(text.replace(COMMAND, QUICK_COMMAND))
    design(checkout, **plan)
    return checkout


def design(
    checkout: Checkout,
    *,
    exclude: tuple = (),
    lr: float = 0.01,
    sizes: Any = SIZES,
    **plan: Any,
) -> None:
    """Configure the design, with other keys of its plan, or without those that are None."""

    def change(config: dict[str, Any]) -> None:
        config["model"]["sizes"] = sizes
        config["train"] |= {"batch": 8, "lr": lr}
        config["plan"] = {k: v for k, v in (PLAN | plan).items() if v is not None}
        config["fit"] = {"bootstrap": 50, "exclude": list(exclude)}

    checkout.configure(change)


def rounds_of(checkout: Checkout) -> list[list[dict[str, str]]]:
    """The rows of each round's table; the last round of a complete design has none."""
    folder = checkout.study / "rounds"
    found = []
    while (path := folder / f"{len(found)}.csv").exists():
        found.append(list(csv.DictReader(path.open())))
    return found


def ids_of(rows: list[dict[str, str]]) -> list[str]:
    return [row["id"] for row in rows]


def planned_ids(checkout: Checkout) -> set[str]:
    """The experiments of plan.csv, which are those of specs.json."""
    ids = {row["id"] for row in csv.DictReader((checkout.study / "plan.csv").open())}
    assert ids == set(json.loads((checkout.study / "specs.json").read_text()))
    return ids


def forget_rounds(checkout: Checkout, first: int, *, runs: bool = True) -> None:
    """Delete all that is of a round and of those after it."""
    for rows in rounds_of(checkout)[first:] if runs else []:
        for run_id in ids_of(rows):
            (checkout.study / "runs" / f"{run_id}.json").unlink()
    for path in (checkout.study / "rounds").iterdir():
        if int(path.name.split(".")[0]) >= first:
            path.unlink()
    # They hold the rounds that are decided, and are written again.
    for name in ("plan.csv", "specs.json", "plan.log"):
        (checkout.study / name).unlink()
