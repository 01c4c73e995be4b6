"""What a study says before it is finished, and at the end of every run."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

from checkout import bring_records, environment, jobs_of
from test_faults_of_experiments import wait_for

# The trainer starts only once a file is there, and says that it waits.
ANCHOR = "from flops_fit.train.process import main\n"
WAITING = """
from pathlib import Path
import time

Path("results/waiting").touch()
while not Path("results/go").exists():
    time.sleep(0.05)
"""


def test_what_is_finished_is_fitted_and_what_is_missing_is_listed(finished):
    runs = (finished.study / "runs.csv").read_text()
    whole = json.loads((finished.study / "fit.json").read_text())
    before = {p: p.stat().st_mtime_ns for p in finished.study.glob("*.json")}
    finished.configure(lambda c: c["plan"]["budgets"].append(8e6))
    output = finished.succeed("partial", "--cores", "1")
    assert jobs_of(output) == 0
    partial = finished.study / "partial"
    assert (partial / "runs.csv").read_text() == runs
    fit = json.loads((partial / "fit.json").read_text())
    assert fit["approaches"] == whole["approaches"]
    assert fit["warnings"][0] == (
        "The study is not finished: 9 experiments: 6 done, 0 diverged, 0 failed, 3 missing."
    )
    missing = (partial / "missing.txt").read_text()
    planned = {row["id"] for row in csv.DictReader((finished.study / "plan.csv").open())}
    assert {i for i in planned if i in missing} == planned - set(finished.records())
    assert missing.count("it was not started") == 3
    assert (partial / "table.md").exists()
    assert (partial / "figures" / "isoflop_profiles.png").exists()
    assert "tiny: 9 experiments: 6 done, 0 diverged, 0 failed, 3 missing" in output
    assert "`snakemake --cores 1 --configfile config/studies/tiny.yaml` trains" in output
    # The study's own results are those of before.
    for name in ("fit.json",):
        assert (finished.study / name).stat().st_mtime_ns == before[finished.study / name]


def test_too_little_to_fit_is_one_sentence_and_the_list_is_written(finished):
    for path in list((finished.study / "runs").glob("*.json"))[2:]:
        path.unlink()
    (finished.study / "partial").mkdir()
    (finished.study / "partial" / "fit.json").write_text("an old one")
    output = finished.refuse("partial", "--cores", "1")
    assert "error:" in output
    assert "2 runs" in output
    assert (finished.study / "partial" / "missing.txt").read_text().count("size=") == 4
    assert not (finished.study / "partial" / "fit.json").exists()


def test_a_study_that_is_edited_or_started_twice_while_it_runs_keeps_what_was_planned(
    checkout, trained
):
    """The running study's results are those of the configuration that it started with."""
    bring_records(trained[0], checkout.study)
    trainer = checkout.path / "workflow" / "scripts" / "train.py"
    text = trainer.read_text()
    assert ANCHOR in text
    trainer.write_text(text.replace(ANCHOR, ANCHOR + WAITING))
    command = ["snakemake", "--cores", "2", "--configfile", "config/studies/tiny.yaml"]
    log = checkout.path / "first.log"
    with log.open("w") as file:
        first = subprocess.Popen(
            command, cwd=checkout.path, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for((checkout.path / "results" / "waiting").exists, 300)
        checkout.configure(lambda c: c.update(fit={"params": "total"}))
        assert checkout.snakemake("--dry-run").returncode == 0
        # With Snakemake's own lock and, where a run of another study has removed that, with ours
        sentence = "tiny: another snakemake runs this study; wait until it ends"
        assert sentence in checkout.refuse("--cores", "1")
        shutil.rmtree(checkout.path / ".snakemake" / "locks")
        assert sentence in checkout.refuse("--cores", "1")
    finally:
        Path(checkout.path / "results" / "go").touch()
        first.wait(timeout=300)
    assert first.returncode == 0, log.read_text()
    rows = list(csv.DictReader((checkout.study / "runs.csv").open()))
    assert len(rows) == 6
    assert all(row["N"] == row["n_params_non_embedding"] for row in rows)
    assert json.loads((checkout.study / "fit.json").read_text())["params"] == "non_embedding"
    # The edit counts from the next run on, and trains nothing again.
    output = checkout.succeed("--cores", "2")
    assert jobs_of(output) == 0
    assert json.loads((checkout.study / "fit.json").read_text())["params"] == "total"


# Prepares only once a file is there, and says that it waits.
PATIENT = """
from pathlib import Path
import time

from teacher import TeacherLabels


class Patient(TeacherLabels):
    @classmethod
    def prepare(cls, folder, note, **kwargs):
        Path("results/preparing").touch()
        while not Path("results/go").exists():
            time.sleep(0.05)
        super().prepare(folder, **kwargs)

    def __init__(self, split, folder, note, **kwargs):
        super().__init__(split, folder, **kwargs)
"""


def test_a_dataset_that_is_edited_while_it_is_prepared_is_not_mixed_with_the_old_one(checkout):
    checkout.config_file.with_name("patient.py").write_text(PATIENT)

    def note(text):
        def change(config):
            config["dataset"]["target"] = "patient:Patient"
            config["dataset"]["kwargs"]["note"] = text

        return change

    checkout.configure(note("A"))
    command = ["snakemake", "plan", "--cores", "1", "--configfile", "config/studies/tiny.yaml"]
    log = checkout.path / "first.log"
    with log.open("w") as file:
        first = subprocess.Popen(
            command, cwd=checkout.path, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for((checkout.path / "results" / "preparing").exists, 300)
        checkout.configure(note("B"))
        assert checkout.snakemake("--dry-run").returncode == 0
    finally:
        Path(checkout.path / "results" / "go").touch()
        first.wait(timeout=300)
    assert first.returncode != 0
    assert "dataset: was edited while snakemake ran" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (checkout.study / "planned_study.json").exists()
    assert not (checkout.study / "specs.json").exists()
    checkout.succeed("plan", "--cores", "1")
    jobs = json.loads((checkout.study / "specs.json").read_text()).values()
    for job in jobs:
        assert job["spec"]["dataset"]["kwargs"]["note"] == "B"
        meta = json.loads((checkout.path / job["data_folder"] / "meta.json").read_text())
        assert meta["kwargs"]["note"] == "B"
    assert len(jobs) == 6


def closing(output: str) -> list[str]:
    """The three lines that end a run."""
    lines = output.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("tiny: ")]
    return lines[at : at + 3]


def test_a_run_with_nothing_to_do_says_how_far_the_study_is_and_a_dry_run_does_not(finished):
    output = finished.succeed("--cores", "1")
    assert "Nothing to be done" in output
    first, second, third = closing(output)
    assert first == "tiny: 6 experiments: 6 done, 0 diverged, 0 failed, 0 missing"
    assert second.startswith("  all records are in results/tiny/runs")
    assert third.startswith("  next: read results/tiny/table.md")
    assert "tiny: " not in finished.succeed("--dry-run")


def test_a_run_that_ends_before_a_plan_says_so(checkout):
    checkout.configure(lambda c: c["dataset"]["kwargs"].update(unknown=1))
    first, second, third = closing(checkout.refuse("--cores", "1"))
    assert first == "tiny: no experiment is planned: 0 done, 0 diverged, 0 failed, 0 missing"
    assert second.startswith("  failed: error: config/studies/tiny.yaml: dataset")
    assert "unknown" in second
    assert second.endswith("/prepare.log)")
    assert third == (
        "  next: do what that sentence asks for, then `snakemake --cores 1 --configfile "
        "config/studies/tiny.yaml` goes on from there"
    )


def test_a_fit_that_was_refused_is_not_just_repeated(finished):
    finished.configure(lambda c: c.update(fit={"exclude": ["nobody"]}))
    first, second, third = closing(finished.refuse("--cores", "1"))
    assert first == "tiny: 6 experiments: 6 done, 0 diverged, 0 failed, 0 missing"
    assert second == (
        "  failed: error: config/studies/tiny.yaml: fit.exclude: found 'nobody', expected ids of "
        "results/tiny/runs.csv (results/tiny/logs/fit.log)"
    )
    assert third == (
        "  next: do what that sentence asks for, then `snakemake --cores 1 --configfile "
        "config/studies/tiny.yaml` goes on from there"
    )
