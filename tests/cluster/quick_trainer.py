"""A trainer for tests of what goes on around it, a thousand times if need be."""

from __future__ import annotations

from cluster_site import Site, change

# In place of accelerate and the trainer: it says which GPU it was given, holds it like the trainer,
# waits so that experiments overlap, and stores a record. Without torch 50 of them are affordable.
COMMAND = "return [*command, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_COMMAND = "return [sys.executable, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_TRAINER = """
import json, os, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flops_fit.plan.files import read_job
from flops_fit.launch.leases import hold_use
from flops_fit.records.run_record import RunRecord, store_record

begin = time.time()
hold_use(os.environ)
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder, run_id = Path(options["study-folder"]), options["id"]
job = read_job(folder / "specs.json", run_id)
gpus = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
assert len(gpus) == int(options["gpus"]) == job.processes
time.sleep(0.5)
record = RunRecord.from_json(
    {
        "id": run_id, "study": job.study, "spec": job.spec.to_json(), "status": "completed",
        "loss": 1.0, "loss_std_err": 0.1, "n_params": job.n_params,
        "n_params_non_embedding": job.n_params_non_embedding, "D": job.spec.D,
        "steps": job.steps, "C": job.flops_per_unit * job.spec.D, "C_6nd": None, "curve": [],
        "throughput": {}, "world": {}, "provenance": {},
    },
    run_id,
)
store_record(record, folder)
use = {"job": os.environ["SLURM_JOB_ID"], "id": run_id, "gpus": gpus, "begin": begin}
(Path("uses") / f"{run_id}.json").write_text(json.dumps(use | {"end": time.time()}))
"""


def with_quick_trainer(site: Site, change_study) -> None:
    """Change the study of a site, and train it so."""
    scripts = site.checkout.path / "workflow" / "scripts"
    (scripts / "train.py").write_text(QUICK_TRAINER)
    launcher = site.checkout.path / "workflow" / "flops_fit" / "launch" / "launcher.py"
    change(launcher, (COMMAND, QUICK_COMMAND))
    site.checkout.configure(change_study)
