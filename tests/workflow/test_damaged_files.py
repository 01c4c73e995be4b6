"""Damaged files are named, and plain reruns make them anew without training what is there."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from checkout import Checkout, jobs_of

NAMED = re.compile(r"(results/\S+): [^\n]*; it is \S+\.damaged now, and a rerun ")
DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
}


def rerun(checkout: Checkout) -> tuple[list[str], int]:
    """Rerun until the study is complete; return the names of the damaged files, and trainings."""
    named: list[str] = []
    trained = 0
    while True:
        done = checkout.snakemake("--cores", "2")
        assert "Traceback" not in done.stdout, done.stdout
        trained += jobs_of(done.stdout)
        if done.returncode == 0:
            return named, trained
        found = re.search(
            r"(results/\S+): [^\n]*; it is \S+\.damaged now, and a rerun ", done.stdout
        )
        assert found, done.stdout
        assert found[1] not in named
        named.append(found[1])


@pytest.mark.parametrize(
    "kinds", [("truncated", "empty"), pytest.param(("empty", "truncated"), marks=pytest.mark.long)]
)
def test_damaged_files_of_a_finished_study_are_made_anew(finished, kinds):
    """Every second file is damaged in one way, the others in the other one."""
    run_id, record = next(iter(finished.records().items()))
    whole = (finished.study / "runs.csv").read_bytes()
    (meta,) = finished.path.glob("results/data/*/meta.json")
    names = ("study.json", "plan.csv", "specs.json", "planned_study.json", "runs.csv", "fit.json")
    derived = [meta, *(finished.study / name for name in names)]
    for path, kind in zip(derived, itertools.cycle(kinds)):
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
    named, trained = rerun(finished)
    assert trained == 0
    assert {finished.path / name for name in named} <= set(derived)
    assert (finished.study / "study.json.damaged").exists()
    assert (finished.study / "runs.csv").read_bytes() == whole

    # A record that is merged has no stored copy any more: it is trained again, and it alone.
    path = finished.study / "runs" / f"{run_id}.json"
    path.write_bytes(DAMAGE[kinds[0]](path.read_bytes()))
    assert rerun(finished) == ([str(path.relative_to(finished.path))], 1)
    assert (finished.study / "runs.csv").read_bytes() == whole
    assert json.loads(path.read_text())["loss"] == record["loss"]


def test_a_flipped_bit_in_a_number_is_refused_until_the_file_is_deleted(finished):
    run_id, record = next(iter(finished.records().items()))
    path = finished.study / "runs" / f"{run_id}.json"
    flip_a_digit(path, '\n "loss": ')
    for _ in range(2):
        output = finished.refuse("--cores", "2")
        assert f"runs/{run_id}.json: checksum: found" in output
        assert "delete it, and a rerun trains this experiment again" in output
    path.unlink()
    assert rerun(finished) == ([], 1)
    assert finished.records()[run_id]["loss"] == record["loss"]


def test_flipped_bits_of_what_was_planned_cost_no_training(finished):
    """They are noticed before anything is trained, and made anew."""
    whole = (finished.study / "runs.csv").read_bytes()
    deleted = finished.study / "runs" / f"{next(iter(finished.records()))}.json"
    for name, after in (
        ("specs.json", '"weight_decay": '), ("specs.json", '"flops_per_unit": '),
        ("plan.csv", f"\n{deleted.stem},"),
    ):  # fmt: skip
        path = finished.study / name
        before = path.read_bytes()
        deleted.unlink()
        flip_a_digit(path, after)
        named, trained = rerun(finished)
        assert named == [f"results/tiny/{name}"]
        assert trained == 1
        assert path.read_bytes() == before
        assert (finished.study / "runs.csv").read_bytes() == whole


def test_a_table_of_runs_with_another_header_is_merged_anew(finished):
    path = finished.study / "runs.csv"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"optimizer_source", b"optimizer_sourcf"))
    (finished.study / "fit.json").unlink()
    assert rerun(finished) == (["results/tiny/runs.csv"], 0)
    assert path.read_bytes() == whole


def flip_a_digit(path: Path, after: str) -> None:
    """Flip the lowest bit of the first digit: 2.13 becomes 3.13."""
    content = bytearray(path.read_bytes())
    content[content.index(after.encode()) + len(after)] ^= 1
    path.write_bytes(content)


def test_records_that_were_damaged_before_the_merge_come_back_from_their_stored_copies(finished):
    whole = (finished.study / "runs.csv").read_bytes()
    (finished.study / "runs.csv").unlink()
    for run_id in finished.records():
        path = finished.study / "runs" / f"{run_id}.json"
        stored = finished.study / "state" / run_id / "record.json"
        stored.write_bytes(path.read_bytes())
        path.write_bytes(b"")
    output = finished.succeed("--cores", "2")
    assert jobs_of(output) == 0
    assert output.count("it was rewritten from its stored copy") == 6
    assert (finished.study / "runs.csv").read_bytes() == whole


def test_a_dataset_whose_measurements_are_gone_is_prepared_again_for_what_is_left_to_train(
    finished,
):
    (meta,) = finished.path.glob("results/data/*/meta.json")
    whole, planned = meta.read_bytes(), (finished.study / "specs.json").read_bytes()
    meta.unlink()
    assert "Nothing to be done" in finished.succeed("--cores", "2")
    run_id, record = next(iter(finished.records().items()))
    (finished.study / "runs" / f"{run_id}.json").unlink()
    assert jobs_of(finished.succeed("-n", "runs"), "prepare") == 1
    meta.write_bytes(DAMAGE["truncated"](whole))
    output = finished.succeed("runs", "--cores", "2")
    assert jobs_of(output, "prepare") == jobs_of(output, "plan_experiments") == 1
    assert NAMED.findall(output) == [str(meta.relative_to(finished.path))]
    assert meta.read_bytes() == whole
    assert (finished.study / "specs.json").read_bytes() == planned
    assert jobs_of(output) == 1
    assert finished.records()[run_id]["loss"] == record["loss"]
    assert "Nothing to be done" in finished.succeed("runs", "--cores", "2")
