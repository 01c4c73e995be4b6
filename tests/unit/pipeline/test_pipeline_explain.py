"""What an id means: every number against the files of a real study, and every state."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.explain import Explained, duration, explain
from flops_fit.pipeline.explain_difference import lines_of_two
from flops_fit.pipeline.explain_text import lines_of_one
from flops_fit.pipeline.finding import find_experiments
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.records.experiment_files import CHECKPOINT, state_folder
from flops_fit.records.run_record import Provenance, World, store_record
from flops_fit.study.identity import fingerprint
from hand_computed import planned, record_of, run_record, small_study, spec_of

# Trained by version 0.1.0
REAL = Path(__file__).parents[2] / "data" / "study_of_version_0.1.0" / "results"
RECORDS = {p.stem: json.loads(p.read_text()) for p in sorted(REAL.glob("points/runs/*.json"))}
with open(REAL / "points" / "plan.csv", encoding="utf-8") as file:
    ROWS = {row["id"]: row for row in csv.DictReader(file)}
NOW = 1_000_000.0
PLAN = planned()


def about(results: Path, *texts: str) -> list[Explained]:
    return [explain(found, NOW) for found in find_experiments(texts, results)]


def blocks(lines: list[str]) -> dict[str, dict[str, str]]:
    """Rows by block and name, with the further lines of a value; a table's head has no name."""
    found: dict[str, dict[str, str]] = {}
    block, name = found.setdefault("", {}), ""
    for line in lines:
        if line and not line.startswith("  "):
            block, name = found.setdefault(line, {}), ""
        elif line.startswith("   "):
            block[name] = f"{block.get(name, '')}\n{line.strip()}".strip()
        elif line:
            name, _, value = line.strip().partition("  ")
            block[name] = f"{block[name]}\n{value.strip()}" if name in block else value.strip()
    return found


def one(results: Path, text: str) -> dict[str, dict[str, str]]:
    return blocks(lines_of_one(*about(results, text)))


def standing(results: Path, text: str) -> dict[str, str]:
    return one(results, text)["where it stands"]


def flattened(plain, prefix=""):
    if isinstance(plain, dict) and plain:
        return {k: v for n in plain for k, v in flattened(plain[n], f"{prefix}{n}.").items()}
    return {prefix[:-1]: plain}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def real(tmp_path) -> Path:
    """A results folder with the real study, to be changed."""
    return shutil.copytree(REAL, tmp_path / "results")


@pytest.fixture
def small(tmp_path) -> Path:
    """A planned study of which nothing is trained."""
    folder = tmp_path / "results" / "small"
    write_whole(folder / "plan.csv", plan_csv(PLAN))
    specs = plan_specs(PLAN, small_study(), data_folder="results/data/1", search_folder=".")
    write_json(folder / "specs.json", specs)
    return folder


@pytest.mark.parametrize("run_id", RECORDS)
def test_every_number_is_that_of_the_files(run_id):
    before = snapshot(REAL)
    shown, record, row = one(REAL, run_id), RECORDS[run_id], ROWS[run_id]
    assert snapshot(REAL) == before
    overview = next(block for block in shown.values() if "budget C" in block)
    assert overview["study"] == "points"
    assert float(overview["budget C"].split()[0]) == float(row["budget"])
    assert overview["size"] == f"width = {row['size']}"
    assert overview["N"].split()[0] == row["n_params_non_embedding"]
    assert overview["N"].split()[-3] == row["n_params"]
    assert overview["D"] == f"{int(row['D']):,} samples"
    assert overview["steps"] == f"{int(row['steps']):,}, with {row['batch']} samples in each"
    assert float(overview["epochs"]) == pytest.approx(float(row["epochs"]), rel=1e-3)

    spec = shown["the spec, from which the id follows"]
    truth = flattened(record["spec"])
    assert list(spec) == list(truth)
    for name, value in truth.items():
        text = spec[name].partition(" (")[0]
        assert text == (value if isinstance(value, str) else json.dumps(value)), name
    assert spec["D"].endswith(" (samples)")
    assert spec["weight_decay"].endswith(" (1 / learning rate)")
    assert spec["lr_scaling.reference_size"].endswith(" (value of width)")

    assert shown["where it stands"] == {
        "state": "done", "record": str(REAL / "points" / "runs" / f"{run_id}.json")
    }  # fmt: skip
    measured = shown["what it measured"]
    loss, error = measured["loss"].removesuffix(" nats per sample").split(" +- ")
    assert float(loss) == pytest.approx(record["loss"], rel=1e-5)
    assert float(error) == pytest.approx(record["loss_std_err"], rel=0.05)
    assert measured["D"] == f"{record['D']:,} samples in {record['steps']:,} steps"
    assert float(measured["C"].split()[0]) == pytest.approx(record["C"], rel=1e-5)
    throughput = record["throughput"]
    assert float(measured["train_seconds"].split()[0]) == pytest.approx(
        throughput["train_seconds"], rel=1e-2
    )
    assert float(measured["units_per_second"].split()[0]) == pytest.approx(
        throughput["units_per_second"], rel=1e-3
    )
    assert measured["mfu"] == "not known"
    memory = float(measured["peak_memory_bytes"].removesuffix(" GiB"))
    assert memory * 2**30 == pytest.approx(throughput["peak_memory_bytes"], rel=1e-2)

    trained = shown["what it was trained with"]
    for name, value in flattened({**record["provenance"], **record["world"]}).items():
        text = ", ".join(value) if isinstance(value, list) else value
        text = text if isinstance(text, str) else json.dumps(text)
        assert trained[name].partition(" (")[0] == ("not recorded" if value is None else text)


def test_every_field_of_the_records_types_is_shown():
    trained = one(REAL, "27a21803c6a8")["what it was trained with"]
    shown = {name.partition(".")[0] for name in trained}
    assert shown == {field.name for kind in (Provenance, World) for field in fields(kind)}


def test_the_first_digits_and_paths_name_an_id(monkeypatch):
    whole = lines_of_one(*about(REAL, "27a21803c6a8"))
    for text in ("27a2", "27A21803", str(REAL / "points" / "runs" / "27a21803c6a8.json")):
        assert lines_of_one(*about(REAL, text)) == whole
    monkeypatch.chdir(REAL / "points")
    (near,) = about(Path("nowhere"), "runs/27a21803c6a8.json")
    assert (near.id, near.place.study, near.place.state) == ("27a21803c6a8", "points", "done")


def test_a_record_that_lies_elsewhere_is_explained_by_itself(tmp_path):
    path = tmp_path / "from a colleague.json"
    shutil.copy(REAL / "points" / "runs" / "27a21803c6a8.json", path)
    (found,) = about(tmp_path, str(path))
    assert found.derived == found.id == "27a21803c6a8"
    text = "\n".join(lines_of_one(found))
    assert "size=16" in text
    assert "0.386575 +- 0.011" in text
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="with a spec that gives"):
        about(tmp_path, str(path))


def test_every_state_is_told_from_the_others(small):
    results = small.parent
    done, diverged, failed, waiting = PLAN.experiments
    write_json(small / "runs" / f"{done.id}.json", record_of(done))
    ended = record_of(diverged, status="diverged", loss=None, steps=100, D=1000, C=6e5, C_6nd=6e5)
    write_json(small / "runs" / f"{diverged.id}.json", ended)
    assert standing(results, diverged.id)["state"] == "diverged: after step 100 of 1000"
    said = "2026-01-01 00:00:00 C=6e+06: ends after step 100 of 1000: the loss is nan\nbye\n"
    write_whole(small / "logs" / f"{diverged.id}.log", f"x launch y\n{said}")
    write_whole(small / "logs" / f"{failed.id}.log", "x launch y\n\x1b[31mone\nerror: no memory\n")

    assert standing(results, done.id)["state"] == "done"
    state = standing(results, diverged.id)["state"]
    assert state == "diverged: after step 100 of 1000: the loss is nan"
    assert one(results, diverged.id)["what it measured"]["loss"] == "none, it diverged"
    found = standing(results, failed.id)
    assert found["state"] == "failed"
    assert found["log ends"] == "\\x1b[31mone\nerror: no memory"
    assert standing(results, waiting.id) == {"state": "not started"}
    overview = next(block for block in one(results, waiting.id).values() if "N" in block)
    N, total = waiting.n_params_non_embedding, waiting.n_params
    assert (N, total) == (400, 1400)
    assert overview["N"] == "400 non-embedding parameters, 1,400 in total"
    assert "what it measured" not in one(results, waiting.id)

    folder = state_folder(small, waiting.id)
    write_whole(folder / CHECKPOINT, b"any")
    os.utime(folder / CHECKPOINT, (NOW, NOW - 600))
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = standing(results, waiting.id)
        assert found["state"] == "running: it is training, or about to"
        assert found["remark"] == "its newest checkpoint was saved 10 min ago"
    found = standing(results, waiting.id)
    assert found["state"] == "interrupted"
    assert found["remark"].endswith("saved 10 min ago, and a rerun goes on from there")
    assert found["checkpoint"] == str(folder / CHECKPOINT)


def test_a_record_that_is_written_while_the_files_are_read_is_taken(small, monkeypatch):
    row = PLAN.experiments[0]

    def write_and_let_go(folder, run_id):
        write_json(folder / "runs" / f"{run_id}.json", record_of(row))
        return False

    monkeypatch.setattr("flops_fit.pipeline.status.is_held", write_and_let_go)
    shown = one(small.parent, row.id)
    assert shown["where it stands"]["state"] == "done"
    assert "what it measured" in shown


def test_an_experiment_that_is_planned_no_more_says_so(small):
    results = small.parent
    first, second, *_ = PLAN.experiments
    store_record(run_record(first), small)
    write_whole(small / "logs" / f"{second.id}.log", "error: no memory\n")
    for name in ("plan.csv", "specs.json"):
        (small / name).unlink()
    assert "no plan lies in" in standing(results, first.id)["remark"]
    others = planned({"plan.budgets": [1.2e7]})
    write_whole(small / "plan.csv", plan_csv(others))
    found = one(results, first.id)
    assert found["where it stands"]["state"] == "done"
    assert found["where it stands"]["remark"].startswith("planned no more")
    assert "lr_scaling.power" in found["the spec, from which the id follows"]
    assert standing(results, second.id)["log ends"] == "error: no memory"
    assert "no file holds the spec of" in "\n".join(lines_of_one(*about(results, second.id)))


def test_an_id_of_several_studies_names_all_of_them(real):
    other = shutil.copytree(real / "points", real / "other")
    write_whole(other / "runs" / "27a21803c6a8.json", json.dumps(RECORDS["27a21803c6a8"]))
    (found,) = about(real, "27a2")
    assert [place.study for place in found.places] == ["other", "points"]
    shown = blocks(lines_of_one(found))
    assert shown["where it stands (points)"]["state"] == "done"
    # That record says that it belongs to the study points
    assert "study: found 'points'" in shown["where it stands (other)"]["state"]
    assert "what it measured (other)" in shown
    (found,) = about(real, str(real / "points" / "runs" / "27a21803c6a8.json"))
    assert [place.study for place in found.places] == ["points", "other"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (864_000, "10 days")],
)
def test_a_time_is_told_in_the_unit_that_it_is_read_in(seconds, text):
    assert duration(seconds) == text


def test_what_differs_is_listed_and_the_rest_is_counted():
    shown = blocks(lines_of_two(*about(REAL, "27a2", "7af4")))
    first, second = RECORDS["27a21803c6a8"], RECORDS["7af4ff39489a"]
    a, b = flattened(first["spec"]), flattened(second["spec"])
    spec = shown["what the id depends on"]
    assert spec.pop("").split() == ["27a21803c6a8", "7af4ff39489a"]
    different = {name: f"{a[name]} {b[name]}" for name in a if a[name] != b[name]}
    count = f"{len(a) - len(different)} other fields of the spec are equal"
    assert {name: " ".join(value.split()) for name, value in spec.items()} == (
        different | {count: ""}
    )
    trained = shown["what it was trained with"]
    a, b = (flattened({**one["provenance"], **one["world"]}) for one in (first, second))
    assert {name for name in a if a[name] != b[name]} == set(trained) & set(a)
    measured = shown["what came out"]
    assert float(measured["loss"].split()[0]) == pytest.approx(first["loss"], rel=1e-5)
    assert float(measured["loss"].split()[1]) == pytest.approx(second["loss"], rel=1e-5)
    difference = second["loss"] - first["loss"]
    assert float(measured["loss"].split()[2]) == pytest.approx(difference, rel=1e-3)
    assert "C" not in measured  # both spent 1996800 FLOPs
    assert measured["D"].split() == ["4160", "8320", "x", "2"]


def test_values_differ_as_they_are_spelled_and_what_one_lacks_is_marked(tmp_path):
    row = PLAN.experiments[0]
    kwargs = ({}, {"depth": None, "block": {"heads": 2, "kind": "1"}})
    git = (None, {"commit": "c0ffee", "dirty": True})
    paths, records = [], []
    for i, power in enumerate((0.0, 0)):
        spec = spec_of(row).to_json()
        spec["lr_scaling"]["power"] = power
        spec["model"] |= {"kwargs": kwargs[i], "version": (1, "1")[i]}
        provenance = {"git": git[i], "torch": (None, "2.6.0")[i], "python": "3.11.7"}
        changes = {"spec": spec, "id": fingerprint(spec), "provenance": provenance}
        paths.append(str(tmp_path / f"{i}.json"))
        write_json(tmp_path / f"{i}.json", record_of(row, **changes))
        records.append(record_of(row, **changes))
    shown = blocks(lines_of_two(*about(tmp_path, *paths)))
    rows = {n: v.split() for n, v in shown["what the id depends on"].items() if " " in v}
    assert rows == {
        "": [records[0]["id"], records[1]["id"]],
        "lr_scaling.power": ["0.0", "0"],
        "model.version": ["1", '"1"'],
        "model.kwargs.depth": ["-", "null"],
        "model.kwargs.block.heads": ["-", "2"],
        "model.kwargs.block.kind": ["-", '"1"'],
    }
    rows = {n: v.split() for n, v in shown["what it was trained with"].items() if " " in v}
    assert list(rows.values())[1:] == [["-", "2.6.0"], ["-", "c0ffee"], ["-", "true"]]
    assert "9 fields are equal" in "\n".join(lines_of_two(*about(tmp_path, *paths)))


def test_one_id_trained_in_two_studies_differs_in_nothing_of_the_spec(small):
    row = PLAN.experiments[0]
    other = shutil.copytree(small, small.parent / "other")
    for folder, changes in (
        (small, {"world": {"hosts": ["a"], "device": "cpu"}}),
        (other, {"loss": 2.0, "world": {"hosts": ["b"], "device": "gpu"}}),
    ):
        write_json(folder / "runs" / f"{row.id}.json", record_of(row, study=folder.name, **changes))
    paths = [str(folder / "runs" / f"{row.id}.json") for folder in (small, other)]
    for texts in (paths[::-1], [row.id, row.id]):
        lines = lines_of_two(*about(small.parent, *texts))
        assert f"both are {row.id}: nothing in the spec differs" in lines
        trained = list(blocks(lines)["what it was trained with"])
        assert trained[1:3] == ["device", "hosts"]  # where it ran comes last
        assert blocks(lines)["what came out"]["loss"].split()[:2] == ["2", "1.02"]
    shutil.rmtree(other)
    lines = lines_of_two(*about(small.parent, row.id, PLAN.experiments[1].id))
    without = f"{PLAN.experiments[1].id} has no usable record, so nothing more can be compared"
    assert lines[-1] == without
    same = lines_of_two(*about(small.parent, paths[0], row.id))
    assert same[-1] == f"both are {row.id}: nothing in the spec differs"
