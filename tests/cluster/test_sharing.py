"""Experiments that share a job: grouped, or under a Snakemake inside of the job."""

from __future__ import annotations

import re

from checkout import environment
from conftest import Site, wait_until
from test_profile import overlaps

# In place of the trainer: it says which GPU it was given, holds it like the trainer, waits so that
# experiments overlap, and stores a record. Without torch 50 of them are affordable.
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
time.sleep(0.2)
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


def with_quick_trainer(site: Site, seeds: int) -> None:
    (site.checkout.path / "workflow" / "scripts" / "train.py").write_text(QUICK_TRAINER)
    site.checkout.configure(
        lambda c: (
            c["model"].update(sizes=[2, 4, 5, 8, 16]),
            c["plan"].update(budgets=[4e6], seeds=list(range(seeds))),
        )
    )


def test_fifty_grouped_experiments_are_two_submissions_and_no_gpu_is_shared(site):
    with_quick_trainer(site, seeds=10)
    output = site.submit(
        "runs", "--groups", "train=sweep", "--group-components", "sweep=25",
        "--resources", "gpu=4", "--set-resource-scopes", "gpu=local",
    )  # fmt: skip
    assert len(site.checkout.records()) == 50
    assert output.count("has been submitted with SLURM jobid") == 2
    uses = site.uses()
    assert len({use["job"] for use in uses}) == 2
    assert {len(use["gpus"]) for use in uses} == {1}
    assert overlaps(uses) == []
    # A group has the four GPUs that one member's resource was summed up to, and uses them all.
    for job in {use["job"] for use in uses}:
        assert len({gpu for use in uses if use["job"] == job for gpu in use["gpus"]}) == 4


def test_snakemake_inside_of_one_job_leases_its_gpus_to_the_experiments(site):
    """`sbatch --gpus=3` on a node of four; eight experiments of one process and two of two."""
    with_quick_trainer(site, seeds=2)
    site.checkout.configure(
        lambda c: (
            c["model"].update(sizes=[2, 4, 5, 8, 16]),
            c["plan"].update(budgets=[4e6], seeds=[0, 1]),
            c["train"].update(
                processes=[
                    {"from_params": 0, "processes": 1}, {"from_params": 200, "processes": 2}
                ]
            ),
        )
    )  # fmt: skip
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
