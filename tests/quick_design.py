"""Designs that train in moments: the losses are those of a law, and all else is real."""

from __future__ import annotations

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
diverged = any(
    path.name == f"diverge_{run_id}" or path.name == f"diverge_from_{job.budget:.4g}"
    for path in marks.glob("diverge_*")
)
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


def design(checkout: Checkout, **plan: Any) -> None:
    """Configure the design, with other keys of its plan, or without those that are None."""

    def change(config: dict[str, Any]) -> None:
        config["model"]["sizes"] = SIZES
        config["train"] |= {"batch": 8}
        config["plan"] = {k: v for k, v in (PLAN | plan).items() if v is not None}
        config["fit"] = {"bootstrap": 50}

    checkout.configure(change)
