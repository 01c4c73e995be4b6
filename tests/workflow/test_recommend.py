"""From the answer to the run: what `flops-fit recommend` writes is trained as it promised."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from checkout import Checkout, environment, jobs_of
from flops_fit.files.writing import write_json
from forged_study import best_width, law, recommendable, record_of_job

FINAL = "config/studies/tiny_final.yaml"
BUDGET = 6.4e7
"""Twice the largest one of the study."""


def finish_on_the_law(checkout: Checkout) -> None:
    """Finish the study: its experiments are those of a trainer that left records on a known law."""
    checkout.configure(recommendable)
    checkout.succeed("plan")
    jobs = json.loads((checkout.study / "specs.json").read_text())
    for run_id, job in jobs.items():
        loss = float(law(job["n_params_non_embedding"], job["spec"]["D"]))
        stored = checkout.study / "state" / run_id / "record.json"
        write_json(stored, record_of_job(run_id, job, loss))
    checkout.succeed("--cores", "2")
    assert set(checkout.records()) == set(jobs)


def recommend(checkout: Checkout, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flops_fit.cli", "recommend", "results/tiny", *arguments],
        cwd=checkout.path, env=environment() | {"PYTHONPATH": str(checkout.path / "workflow")},
        text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_recommended_training_is_trained_as_promised(checkout):
    finish_on_the_law(checkout)
    assert f"--configfile {FINAL}" in recommend(checkout, "--budget", f"{BUDGET:g}")
    promised = json.loads((checkout.path / FINAL).with_suffix(".json").read_text())["training"]
    assert promised["size"] == pytest.approx(best_width(BUDGET), rel=0.1)
    assert yaml.safe_load((checkout.path / FINAL).read_text())["study"] == "tiny_final"

    assert jobs_of(checkout.succeed("--cores", "2", config=FINAL)) == 1
    final = checkout.path / "results" / "tiny_final"
    (record_file,) = (final / "runs").glob("*.json")
    record = json.loads(record_file.read_text())
    assert record["status"] == "completed"
    for name in ("id", "steps", "D", "C", "n_params", "n_params_non_embedding"):
        assert record[name] == promised[name], name
    for name in ("size", "D", "batch", "lr", "seed"):
        assert record["spec"][name] == promised[name], name
    assert abs(record["C"] / BUDGET - 1) < 0.01
    assert (final / "weights" / f"{record['id']}.safetensors").exists()

    assert "would tell" not in (final / "plan.log").read_text()

    # A single run ends as well as a sweep: with a report that says why there is no answer.
    fit = json.loads((final / "fit.json").read_text())
    assert (fit["answer"]["method"], fit["n_runs"]) == (None, 1)
    assert "1 run is too few for a law" in (final / "table.md").read_text()
    assert (final / "runs.csv").exists()
    assert jobs_of(checkout.succeed("--cores", "2", config=FINAL)) == 0
