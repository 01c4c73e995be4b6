"""Only what is missing runs again."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from checkout import jobs_of


def stamps(checkout):
    return {path: path.stat().st_mtime_ns for path in (checkout.study / "runs").glob("*.json")}


def test_a_new_budget_runs_its_own_experiments_alone(finished):
    before = stamps(finished)
    finished.configure(lambda c: c["plan"]["budgets"].append(8e6))
    output = finished.succeed("runs", "--cores", "2")
    assert jobs_of(output) == 3
    assert len(finished.records()) == 9
    assert {path: stamp for path, stamp in stamps(finished).items() if path in before} == before


def test_a_new_seed_runs_its_own_experiments_alone_even_without_snakemakes_memory(finished):
    shutil.rmtree(finished.path / ".snakemake")
    finished.configure(lambda c: c["plan"].update(seeds=[0, 7]))
    finished.succeed("plan", "--cores", "1")
    output = finished.succeed("--dry-run")
    assert jobs_of(output) == 6
    made = re.findall(r"^    output: results/tiny/runs/(\w+)\.json$", output, re.MULTILINE)
    assert len(made) == 6
    assert not set(made) & set(finished.records())


def test_a_deleted_record_is_trained_again_alone_and_gives_the_same_numbers(finished):
    run_id, record = next(iter(finished.records().items()))
    (finished.study / "runs" / f"{run_id}.json").unlink()
    before = stamps(finished)
    output = finished.succeed("--cores", "2")
    assert jobs_of(output) == 1
    again = finished.records()[run_id]
    assert (again["loss"], again["curve"]) == (record["loss"], record["curve"])
    assert {path: stamp for path, stamp in stamps(finished).items() if path in before} == before


def test_a_stored_record_is_linked_and_not_trained_again(finished):
    run_id, record = next(iter(finished.records().items()))
    path = finished.study / "runs" / f"{run_id}.json"
    stored = finished.study / "state" / run_id / "record.json"
    record["provenance"]["end"] = "2001-01-01T00:00:00Z"  # no training of today could write this
    stored.write_text(json.dumps(record))
    path.unlink()
    assert "its stored record is used" in finished.succeed("--cores", "2")
    assert json.loads(path.read_text()) == record
    assert not stored.exists()


def test_a_new_learning_rate_makes_new_experiments_and_keeps_the_old_records(finished):
    old = set(finished.records())
    finished.configure(lambda c: c["train"].update(lr=0.02))
    finished.succeed("plan")
    planned = set(json.loads((finished.study / "specs.json").read_text()))
    assert len(planned) == 6
    assert not planned & old
    assert set(finished.records()) == old


def test_touching_files_and_comments_retrains_nothing(finished):
    for path in (finished.config_file, finished.study / "plan.csv", finished.study / "specs.json"):
        os.utime(path)
    append(finished.config_file, "\n# a comment\n")
    workflow = finished.path / "workflow"
    append(workflow / "rules" / "train.smk", "\n\n# a comment\n")
    append(workflow / "scripts" / "train.py", "\n# a comment\n")
    append(workflow / "flops_fit" / "train" / "loop.py", "\n\nUNRELATED = 1\n")
    append(workflow / "flops_fit" / "launch.py", "\n# a comment\n")
    append(finished.config_file.with_name("teacher.py"), "\n# a comment\n")
    output = finished.succeed("--cores", "2")
    assert jobs_of(output) == 0


def test_a_changed_shell_line_retrains_nothing_under_any_profile_with_the_documented_keys(finished):
    rules = finished.path / "workflow" / "rules" / "train.smk"
    text = rules.read_text()
    assert "python -m flops_fit.launch" in text
    rules.write_text(text.replace("python -m flops_fit.launch", "python -u -m flops_fit.launch"))
    assert jobs_of(finished.succeed("--cores", "2")) == 0
    other = finished.path / "profiles" / "other" / "config.yaml"
    other.parent.mkdir()
    kept = (finished.path / "profiles" / "default" / "config.yaml").read_text()
    other.write_text(kept + "\njobs: 3\nlatency-wait: 1\n")
    output = finished.succeed("--cores", "2", "--workflow-profile", "profiles/other")
    assert jobs_of(output) == 0


def test_deleting_snakemakes_memory_retrains_nothing(finished):
    shutil.rmtree(finished.path / ".snakemake")
    assert jobs_of(finished.succeed("--cores", "2")) == 0


def test_a_moved_checkout_keeps_its_study(finished):
    moved = finished.path.with_name("moved")
    finished.path.rename(moved)
    finished.path = moved
    assert "Nothing to be done" in finished.succeed("--cores", "2")


def test_processes_are_no_part_of_the_id(finished):
    finished.configure(lambda c: c["train"].update(processes=2))
    finished.succeed("plan", "--cores", "1")
    assert jobs_of(finished.succeed("--dry-run")) == 0


def append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)
