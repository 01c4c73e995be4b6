"""An id is looked up in all studies, and what is damaged there is said and left where it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.pipeline.explain import explain
from flops_fit.pipeline.explain_text import lines_of_one
from flops_fit.pipeline.finding import find_experiments
from flops_fit.records.experiment_files import state_folder

# Trained by version 0.1.0
REAL = Path(__file__).parents[2] / "data" / "study_of_version_0.1.0" / "results"
ID = "27a21803c6a8"
TITLE = "C=2e+06 size=16 seed=0 lr=0.01"


@pytest.fixture
def results(tmp_path) -> Path:
    return shutil.copytree(REAL, tmp_path / "results")


def text_of(results: Path, run_id: str = ID) -> str:
    """What is said of an experiment; nothing in the folder may change."""
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    text = "\n".join(lines_of_one(explain(find_experiments([run_id], results)[0], 0.0)))
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == before
    return text


def refused(results: Path, *texts: str) -> str:
    with pytest.raises(UserError) as caught:
        find_experiments(texts, results)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


SPEC = "lr_scaling.reference_size  1.0 (value of width)"


@pytest.mark.parametrize("content", [b"", b'{"id": "27a2', b"\xff", b"[" * 100_000, b"[]"])
def test_a_damaged_record_is_said_and_the_plan_explains_the_spec(results, content):
    path = results / "points" / "runs" / f"{ID}.json"
    path.write_bytes(content)
    text = text_of(results)
    assert f"failed: {path}: " in text
    assert "delete it, and a rerun trains this experiment again" in text
    assert SPEC in text
    assert "what it measured" not in text


def test_an_edited_record_is_not_believed(results):
    path = results / "points" / "runs" / f"{ID}.json"
    edit(path, lambda record: record.update(loss=0.1))
    text = text_of(results)
    assert "checksum: found" in text
    assert "what it measured" not in text
    stored = state_folder(results / "points", ID) / "record.json"
    stored.parent.mkdir(parents=True)
    shutil.copy(REAL / "points" / "runs" / path.name, stored)
    text = text_of(results)
    assert "checksum: found" in text
    assert f"{path} cannot be used; its stored copy is whole, and follows here" in text
    assert "0.386575 +- 0.011" in text
    path.unlink()
    text = text_of(results)
    assert f"{path} is missing; its stored copy is whole, and follows here" in text
    assert "state   done" in text
    assert "0.386575 +- 0.011" in text


def test_a_spec_that_gives_another_id_is_damaged(results):
    specs = results / "points" / "specs.json"
    edit(specs, lambda entries: entries[ID]["spec"].update(seed=7))
    text = text_of(results)  # the record's is whole
    assert "seed                       0" in text
    assert f"{specs}: {ID}: spec: gives the id " in text
    (results / "points" / "runs" / f"{ID}.json").unlink()
    text = text_of(results)
    assert "seed                       7" in text
    assert f"the spec of {ID} is damaged: it gives the id " in text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("specs.json", b"{", "is no JSON file"),
        ("specs.json", b"[1]", "found list, expected an object"),
        ("plan.csv", b"id,size\n1,2\n", "column budget: is missing"),
        ("plan.csv", b"\xff", "is no CSV file"),
    ],
)
def test_a_damaged_plan_is_said_and_the_rest_is_explained(results, name, content, reason):
    path = results / "points" / name
    path.write_bytes(content)
    text = text_of(results)
    assert f"{path}: {reason}" in text
    assert TITLE in text
    assert SPEC in text
    assert "state   done" in text
    assert "planned no more" not in text


def test_a_number_of_the_plan_that_does_not_follow_is_said(results):
    plan = results / "points" / "plan.csv"
    lines = plan.read_text().splitlines(keepends=True)
    lines = [line.replace(",115,115,", ",115,116,") if ID in line else line for line in lines]
    plan.write_text("".join(lines))
    assert f"{plan}: {ID}: " in text_of(results)


def test_where_nothing_is_left_whole_the_id_is_still_found(results):
    for name in ("specs.json", "plan.csv", f"runs/{ID}.json"):
        (results / "points" / name).write_text("{")
    text = text_of(results)
    assert f"no file holds the spec of {ID}" in text
    assert "whether it is planned is unknown" in text
    assert "state   failed: " in text


def test_an_unknown_id_names_the_studies_and_the_nearest(results):
    shutil.copytree(results / "points", results / "more")
    (results / "data" / "runs").mkdir()
    message = refused(results, "27a21803c6a9")
    assert f"no experiment of {results} has this id (studies: more, points); " in message
    assert message.endswith(f"the nearest: {ID} (more, points: {TITLE})")
    message = refused(results, "0123456789ab")
    assert message.endswith("none of their 8 ids begins with 0")


def test_digits_that_several_ids_begin_with_name_them(results):
    def add(entries):
        entries["27a2ffffffff"] = entries[ID]

    edit(results / "points" / "specs.json", add)
    message = refused(results, "27a2")
    assert message.startswith(f"27a2: 2 ids begin so: {ID} (points: {TITLE}), 27a2ffffffff (points")
    assert find_experiments(["27a21"], results)[0].id == ID


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("27a", "expected at least 4 of the 12 digits of an id"),
        ("hello", "'hello' is no id: expected 12 hexadecimal digits"),
        (f"{ID}0", "is no id: expected 12 hexadecimal digits"),
        ("", "'' is no id: expected"),
        ("no/where.json", "no/where.json: there is no such file, expected a run record"),
        ("no/where", "no/where: there is no such file, expected a run record"),
    ],
)
def test_what_is_no_id_is_refused(results, text, message):
    assert message in refused(results, text)


def test_paths_that_are_no_record_are_refused(results):
    points = results / "points"
    assert "no plan of" in refused(results, str(points / "runs" / "0123456789ab.json"))
    assert "is no run record: it has no id" in refused(results, str(points / "study.json"))
    assert "is no JSON file" in refused(results, str(points / "plan.csv"))
    assert refused(results, str(points)) == f"{points}: found a folder, expected a run record"
    os.mkfifo(points / "pipe.json")
    assert "found a pipe, expected a run record" in refused(results, str(points / "pipe.json"))
    # It is planned, but not trained: the path is enough
    path = points / "runs" / f"{ID}.json"
    path.unlink()
    assert find_experiments([str(path)], results)[0].id == ID


def test_a_results_folder_that_is_none_is_refused(results, tmp_path):
    assert "there is no such folder" in refused(tmp_path / "nowhere", ID)
    assert refused(results / "points", ID).endswith(f"--results {results} would be")
    assert "cannot be read (Not a directory)" in refused(results / "points" / "plan.csv", ID)
    (tmp_path / "empty").mkdir()
    assert "holds no study" in refused(tmp_path / "empty", ID)


def test_an_imported_run_has_no_spec(results):
    folder = results / "theirs"
    folder.mkdir()
    study = {"config": {"study": "theirs", "runs_table": "t.csv"}, "config_file": "theirs.yaml"}
    (folder / "study.json").write_text(json.dumps(study))
    (folder / "runs.csv").write_text("id,status,N,D,C,loss\nrow 1,completed,1,2,3,4\n")
    message = refused(results, "row 1")
    assert message.startswith(f"row 1: is a row of {folder / 'runs.csv'}, which was imported")
    assert message.endswith("has no spec")
    assert "'row 2' is no id" in refused(results, "row 2")
    assert find_experiments([ID], results)[0].id == ID
