"""Experiments that share a job: grouped, or under a Snakemake inside of the job."""

from __future__ import annotations

import re

from checkout import environment
from cluster_site import Site, change, wait_until
from test_profile import overlaps

# In place of accelerate and the trainer: it says which GPU it was given, holds it like the trainer,
# waits so that experiments overlap, and stores a record. Without torch 50 of them are affordable.
COMMAND = "return [*command, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_COMMAND = "return [sys.executable, str(TRAIN_SCRIPT), *script_arguments]"
QUICK_TRAINER = """
import json, os, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flops_fit.launch import read_job
from flops_fit.leases import hold_use
from flops_fit.runs import store_record

begin = time.time()
hold_use(os.environ)
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder, run_id = Path(options["study-folder"]), options["id"]
job = read_job(folder / "specs.json", run_id)
gpus = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
assert len(gpus) == int(options["gpus"]) == job["processes"]
time.sleep(0.5)
spec = job["spec"]
store_record(
    {
        "id": run_id, "study": job["study"], "spec": spec, "status": "completed", "loss": 1.0,
        "loss_std_err": 0.1, "n_params": job["n_params"],
        "n_params_non_embedding": job["n_params_non_embedding"], "D": spec["D"],
        "steps": job["steps"], "C": job["flops_per_unit"] * spec["D"], "C_6nd": None, "curve": [],
        "throughput": {}, "world": {}, "provenance": {},
    },
    folder,
)
use = {"job": os.environ["SLURM_JOB_ID"], "id": run_id, "gpus": gpus, "begin": begin}
(Path("uses") / f"{run_id}.json").write_text(json.dumps(use | {"end": time.time()}))
"""


def with_quick_trainer(site: Site, change_study) -> None:
    scripts = site.checkout.path / "workflow" / "scripts"
    (scripts / "train.py").write_text(QUICK_TRAINER)
    change(site.checkout.path / "workflow" / "flops_fit" / "launch.py", (COMMAND, QUICK_COMMAND))
    site.checkout.configure(change_study)


def test_fifty_grouped_experiments_are_two_submissions_and_no_gpu_is_shared(site):
    def fifty(config):
        config["model"]["sizes"] = [2, 4, 5, 8, 16]
        config["plan"] |= {"budgets": [4e6], "seeds": list(range(10))}

    with_quick_trainer(site, fifty)
    output = site.submit(
        "runs", "--groups", "train=sweep", "--group-components", "sweep=25",
        "--resources", "gpu=1", "nodes=1", "--set-resource-scopes", "gpu=local", "nodes=local",
    )  # fmt: skip
    assert len(site.checkout.records()) == 50
    assert output.count("has been submitted with SLURM jobid") == 2
    uses = site.uses()
    jobs = {use["job"] for use in uses}
    assert len(jobs) == 2
    # A group has one GPU, which its members use one after the other; another group has another.
    for job in jobs:
        assert len({gpu for use in uses if use["job"] == job for gpu in use["gpus"]}) == 1
    assert overlaps(uses) == []


def test_snakemake_inside_of_one_job_leases_its_gpus_to_the_experiments(site):
    """`sbatch --gpus=3` on a node of four; eight experiments of one process and two of two."""

    def ten(config):
        config["model"]["sizes"] = [2, 4, 5, 8, 16]
        config["plan"] |= {"budgets": [4e6], "seeds": [0, 1]}
        config["train"]["processes"] = [
            {"from_params": 0, "processes": 1},
            {"from_params": 200, "processes": 2},
        ]

    with_quick_trainer(site, ten)
    log = site.checkout.path / "job.log"
    variables = environment() | site.checkout.variables
    exports = ",".join(f"{name}={variables[name]}" for name in site.checkout.variables)
    site.cluster.ask(
        "sbatch", "--gpus=3", "--nodes=1", "--cpus-per-task=4", f"--chdir={site.checkout.path}",
        f"--output={log}", f"--export=ALL,{exports}", "--wrap",
        "echo gpus=$CUDA_VISIBLE_DEVICES; snakemake runs --cores 4 --resources gpu=3 "
        "--configfile config/studies/tiny.yaml; echo status=$?",
    )  # fmt: skip
    wait_until(lambda: log.exists() and "status=" in log.read_text(), seconds=300)
    output = log.read_text()
    assert "status=0" in output, output
    assert re.search(r"gpus=(\d,){2}\d\n", output)
    uses = site.uses()
    assert len(uses) == len(site.checkout.records()) == 10
    assert len({use["job"] for use in uses}) == 1
    assert overlaps(uses) == []
    assert len({gpu for use in uses for gpu in use["gpus"]}) == 3
    assert sorted(len(use["gpus"]) for use in uses) == [1] * 8 + [2] * 2
