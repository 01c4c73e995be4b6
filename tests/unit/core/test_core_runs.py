"""Run records: written whole, read with checks, merged in the plan's order, one trainer per id."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from core_study import planned, record_of
from flops_fit import runs as runs_module
from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.plan import plan_csv, read_plan
from flops_fit.runs import (
    LAUNCH_LOCK,
    RUNS_COLUMNS,
    TRAINING_LOCK,
    check_record,
    clear_checkpoints,
    clear_stored_records,
    collect_runs,
    held_experiment,
    listed,
    mixed_fingerprints,
    read_record,
    record_checksum,
    runs_csv,
    state_folder,
    store_record,
    use_stored_record,
    write_json,
    write_whole,
)
from flops_fit.status import is_held, study_outcomes
from flops_fit.study import fingerprint
from flops_fit.train.interruption import Interrupted

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent


ROW = planned().experiments[0]


# Writing -----------------------------------------------------------------------------------------


def test_write_whole_creates_folders_and_leaves_nothing_else(tmp_path):
    file = tmp_path / "a" / "b.txt"
    write_whole(file, "first\n")
    write_whole(file, "zweitens: ü\n")
    assert file.read_bytes() == "zweitens: ü\n".encode()
    assert os.listdir(file.parent) == ["b.txt"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    file = tmp_path / "b.txt"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "half of it, then \ud800")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.txt"]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_json_that_is_not_json_is_not_written(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert os.listdir(tmp_path) == []


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A process writes files of very different lengths while this one reads."""
    file = tmp_path / "record.json"
    write_json(file, {"n": 0, "ballast": []})
    code = """
import sys
from flops_fit.runs import write_json

for n in range(1, 301):
    write_json(sys.argv[1], {"n": n, "ballast": list(range(5000 * (n % 2)))})
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
    )
    seen = []
    while writer.poll() is None:
        content = json.loads(file.read_text(encoding="utf-8"))
        assert len(content["ballast"]) == 5000 * (content["n"] % 2)
        seen.append(content["n"])
    assert writer.returncode == 0
    assert json.loads(file.read_text(encoding="utf-8"))["n"] == 300
    assert seen == sorted(seen)
    assert len(set(seen)) > 2  # else this has read nothing while something was written
    assert os.listdir(tmp_path) == ["record.json"]


# Records -----------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_stored(tmp_path):
    record = record_of(ROW, loss=1 / 3)
    store_record(record, tmp_path)
    assert read_record(tmp_path / "runs" / f"{ROW.id}.json") == record
    assert read_record(state_folder(tmp_path, ROW.id) / "record.json", ROW.id) == record
    assert os.listdir(tmp_path / "runs") == [f"{ROW.id}.json"]
    assert os.listdir(state_folder(tmp_path, ROW.id)) == ["record.json"]


def test_a_diverged_record_is_valid():
    check_record(record_of(ROW, status="diverged", loss=None, loss_std_err=None), ROW.id, "a.json")


def test_a_completed_run_trained_what_its_spec_says():
    assert "D: found 10, expected the" in refusal(record_of(ROW, D=10))


def stored_of(row) -> dict:
    """The record as it lies in its file."""
    return record_of(row) | {"checksum": record_checksum(record_of(row))}


def refusal(record: object, run_id: str = ROW.id) -> str:
    with pytest.raises(UserError) as caught:
        check_record(record, run_id, "a.json")
    message = str(caught.value)
    assert message.endswith("; delete it, and a rerun trains this experiment again")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", sorted(record_of(ROW)))
def test_a_missing_field_is_named(name):
    record = record_of(ROW)
    del record[name]
    assert refusal(record).startswith(f"a.json: {name}: is missing, expected ")


NULLABLE = {"loss", "loss_std_err", "C_6nd"}
NUMBERS = {"C", *NULLABLE}
WHOLE = {"n_params", "n_params_non_embedding", "D", "steps"}


@pytest.mark.parametrize("name", sorted(record_of(ROW)))
def test_a_field_of_the_wrong_type_is_named(name):
    wrong = [True, {1}]
    if name not in NULLABLE:
        wrong.append(None)
    if name not in {"id", "study", "status"}:
        wrong.append("text")
    if name in WHOLE:
        wrong.append(1.5)
    if name not in WHOLE | NUMBERS:
        wrong.append(3)
    for value in wrong:
        message = refusal(record_of(ROW, **{name: value}))
        assert message.startswith(f"a.json: {name}: found {value!r}, expected "), value


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named(name, value):
    assert refusal(record_of(ROW, **{name: value})).startswith(f"a.json: {name}: found {value!r}")


@pytest.mark.parametrize("record", [[], "text", None, 3])
def test_what_is_no_record_is_refused(record):
    message = refusal(record)
    assert message.startswith(f"a.json: found {type(record).__name__}, expected a run record")


@pytest.mark.parametrize(
    "record",
    [
        record_of(ROW, spec={**ROW.spec, "D": ROW.D + 1}),  # edited
        record_of(ROW, id="0123456789ab"),
        record_of(planned().experiments[1]),  # a file under another name
    ],
)
def test_an_id_that_does_not_follow_from_the_content_is_refused(record):
    assert refusal(record).startswith(
        f"a.json: id: found {record['id']!r} with a spec that gives "
        f"{fingerprint(record['spec'])!r}, expected {ROW.id!r} for both"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": "crashed"}, "status: found 'crashed', expected one of ('completed', 'diverg"),
        ({"loss": None}, "loss: found None with the status 'completed', expected a finite"),
        ({"status": "diverged"}, "loss: found 1.02 with the status 'diverged', expected a finite"),
    ],
)
def test_status_and_loss_belong_together(changes, sentence):
    assert refusal(record_of(ROW, **changes)).startswith(f"a.json: {sentence}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(record_of(ROW)).encode()[:-9],
        b"\xff\xfe",
        json.dumps(record_of(ROW, spec={**ROW.spec, "lr": math.nan})).encode(),
        json.dumps(record_of(ROW, loss_std_err=math.inf)).encode(),
        json.dumps(record_of(ROW, curve=[[1, 10, math.nan, 0.1]])).encode(),
    ],
    ids=["empty", "begun", "cut", "binary", "nan in spec", "infinity", "nan in curve"],
)
def test_a_damaged_file_is_a_sentence(tmp_path, content):
    file = tmp_path / f"{ROW.id}.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_record(file)
    assert str(caught.value).startswith(f"{file}: is no JSON file (")
    assert "; delete it, and a rerun trains " in str(caught.value)


def test_a_record_that_is_no_record_is_not_stored(tmp_path):
    with pytest.raises(UserError, match="loss: found None"):
        store_record(record_of(ROW, loss=None), tmp_path)
    assert list(tmp_path.iterdir()) == []


EDITS = [
    ("loss", 1.03), ("loss_std_err", 0.02), ("n_params", 51), ("n_params_non_embedding", 49),
    ("steps", 7), ("C", 3.0), ("C_6nd", 3.0), ("curve", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), EDITS)
def test_an_edited_number_is_found(name, value):
    edited = stored_of(ROW) | {name: value}
    assert refusal(edited).startswith(
        f"a.json: checksum: found {edited['checksum']!r} with a content that gives "
    )


def test_timings_and_the_rest_of_the_provenance_are_no_part_of_the_checksum():
    record = stored_of(ROW)
    for name in ("throughput", "world"):
        check_record(record | {name: {}}, ROW.id, "a.json")
    check_record(
        record | {"provenance": record["provenance"] | {"end": "2001-01-01T00:00:00Z"}},
        ROW.id, "a.json",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"study": "another"},
        {"provenance": {}},
        {"provenance": record_of(ROW)["provenance"] | {"content_fingerprint": "c"}},
        {"provenance": record_of(ROW)["provenance"] | {"source": {"model": "n"}}},
    ],
)
def test_another_study_code_or_data_is_found(change):
    assert "checksum: found '2-" in refusal(stored_of(ROW) | change)


def test_a_checksum_of_an_earlier_version_still_holds():
    """Sixteen digits of what was measured; a finished sweep outlives an update."""
    assert planned().experiments[0].id == "c515934b1a7d"
    old = record_of(ROW) | {"checksum": "fa84d3b8774c6a74"}
    check_record(old, ROW.id, "a.json")
    check_record(old | {"study": "another"}, ROW.id, "a.json")
    assert "checksum: found 'fa84d3b8774c6a74'" in refusal(old | {"loss": 1.03})


UNFIT = [
    ("n_params_non_embedding", 0), ("n_params", -5), ("D", 10**400), ("steps", -1),
    ("C", -1.0), ("C", 10**400), ("C_6nd", 10**400),
    ("curve", [[1, 2, 3]]), ("curve", [1]), ("curve", [[1, 10, "2.5", 0.1]]),
    ("spec", {**ROW.spec, "lr": math.inf}), ("spec", {**ROW.spec, "seed": 10**5000}),
    ("provenance", {"source": None}), ("provenance", {"source": []}),
    ("provenance", {"source": {"model": 3}}), ("provenance", {"content_fingerprint": []}),
    ("provenance", {"content_fingerprint": "\ud800"}), ("throughput", {"\ud800": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), UNFIT)
def test_what_nothing_can_be_computed_with_is_named(name, value):
    message = refusal(record_of(ROW, **{name: value}))
    assert message.startswith((f"a.json: {name}: found ", f"a.json: {name}.", f"a.json: {name}["))
    assert message.isprintable()


def test_a_step_without_any_loss_is_valid():
    check_record(record_of(ROW, curve=[[1, 10, None, 0.1]]), ROW.id, "a.json")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        json.dumps(stored_of(ROW)).replace("0.01", "1e999").encode(),
        json.dumps(stored_of(ROW)).replace(str(ROW.D), "9" * 5000).encode(),
        json.dumps(record_of(ROW)).replace('"m"', "[" * 500 + "]" * 500).encode(),
    ],
    ids=["deep", "beyond floats", "beyond integers", "deep in provenance"],
)
def test_a_file_with_values_that_no_record_has_is_a_sentence(tmp_path, content):
    file = tmp_path / f"{ROW.id}.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_record(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).isprintable()


def test_a_folder_in_the_place_of_a_record_is_a_sentence(tmp_path):
    file = tmp_path / "runs" / f"{ROW.id}.json"
    file.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_record(file)
    assert not use_stored_record(tmp_path, ROW.id)


def test_every_flipped_bit_of_a_number_is_found_or_changes_nothing(tmp_path):
    store_record(record_of(ROW), tmp_path)
    file = tmp_path / "runs" / f"{ROW.id}.json"
    whole = file.read_bytes()
    kept = ("status", "loss", "D", "C", "n_params", "n_params_non_embedding", "curve", "spec",
            "study", "provenance")  # fmt: skip
    expected = {name: record_of(ROW)[name] for name in kept}
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(damaged)
        try:
            read = read_record(file)
        except UserError:
            continue
        assert {name: read[name] for name in kept} == expected, bit


# The stored record -------------------------------------------------------------------------------


@pytest.fixture
def small_files():
    """Let no file grow above 64 bytes, as a disk would that is full; yield what ends that."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_record_waits_for_room(tmp_path, small_files):
    said = []

    def complain(text: str) -> None:
        small_files()
        said.append(text)

    store_record(record_of(ROW), tmp_path, patience=60, complain=complain)
    assert read_record(tmp_path / "runs" / f"{ROW.id}.json") == record_of(ROW)
    (sentence,) = said
    stored = state_folder(tmp_path, ROW.id) / "record.json"
    assert sentence.startswith("the record cannot be written (")
    assert f"'{stored}'); it is tried again for 60 s" in sentence


def test_a_record_does_not_wait_for_ever(tmp_path, small_files):
    with pytest.raises(OSError, match=r"record\.json") as caught:
        store_record(record_of(ROW), tmp_path)
    small_files()
    assert is_trouble_of_the_machine(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stored_record_outlives_its_declared_output(tmp_path):
    """Snakemake deletes the output before it runs a job again."""
    output = tmp_path / "runs" / f"{ROW.id}.json"
    assert not use_stored_record(tmp_path, ROW.id)
    assert not output.exists()
    store_record(record_of(ROW), tmp_path)
    output.unlink()
    assert use_stored_record(tmp_path, ROW.id)
    assert read_record(output) == record_of(ROW)
    # once more, with the output in place, and as another content
    assert use_stored_record(tmp_path, ROW.id)
    store_record(record_of(ROW, loss=3.5), tmp_path)
    assert read_record(output)["loss"] == 3.5
    assert os.listdir(output.parent) == [output.name]
    # merged: from now on a deleted output means to train again
    clear_stored_records(tmp_path, [ROW.id, "0123456789ab"])
    assert read_record(output)["loss"] == 3.5
    output.unlink()
    assert not use_stored_record(tmp_path, ROW.id)
    assert not output.exists()


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path):
    store_record(record_of(ROW), tmp_path)
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    other = tmp_path / "runs" / ".0123456789ab.json.7.tmp"
    for path in (
        state_folder(tmp_path, ROW.id) / ".record.json.7.tmp",
        state_folder(tmp_path, ROW.id) / ".checkpoint.safetensors.7.tmp",
        tmp_path / "runs" / f".{ROW.id}.json.7.tmp",
        other,
    ):
        path.write_text("{")
    clear_checkpoints(tmp_path, ROW.id)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept | {other}


@pytest.mark.parametrize("content", ["", "{}", json.dumps(record_of(ROW, loss=None))])
def test_a_stored_record_that_is_invalid_is_not_linked(tmp_path, content):
    stored = state_folder(tmp_path, ROW.id) / "record.json"
    stored.parent.mkdir(parents=True)
    stored.write_text(content)
    assert not use_stored_record(tmp_path, ROW.id)
    assert not (tmp_path / "runs").exists()


# The lock ----------------------------------------------------------------------------------------


HOLDER = """
import sys
from flops_fit.runs import held_experiment

with held_experiment(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(*arguments: object) -> subprocess.Popen:
    """A process that takes a lock, says so, and keeps it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("lock", [TRAINING_LOCK, LAUNCH_LOCK])
def test_one_experiment_is_held_once_at_a_time(tmp_path, lock):
    assert not is_held(tmp_path, ROW.id)
    with held_experiment(tmp_path, ROW.id, lock):
        assert is_held(tmp_path, ROW.id)
        assert not is_held(tmp_path, "0123456789ab")
        other = {TRAINING_LOCK: LAUNCH_LOCK, LAUNCH_LOCK: TRAINING_LOCK}[lock]
        with held_experiment(tmp_path, ROW.id, other):
            pass
    assert not is_held(tmp_path, ROW.id)


def test_the_lock_ends_with_a_killed_process(tmp_path):
    killed = holder(tmp_path, ROW.id)
    assert killed.stdout.readline() == "held\n"
    assert is_held(tmp_path, ROW.id)
    killed.kill()
    killed.communicate()
    assert not is_held(tmp_path, ROW.id)


@pytest.mark.parametrize("lock", [TRAINING_LOCK, LAUNCH_LOCK])
def test_who_waits_gets_the_lock_when_it_is_free(tmp_path, lock):
    with held_experiment(tmp_path, ROW.id, lock):
        waiter = holder(tmp_path, ROW.id, lock)
        assert waiter.stderr.readline() == f"waiting for the process that trains {ROW.id} already\n"
        assert waiter.poll() is None
    out, _ = waiter.communicate()
    assert (out, waiter.returncode) == ("held\n", 0)


def test_the_lock_of_a_launch_lasts_as_long_as_a_child_that_inherits_its_files(tmp_path):
    for lock, inherited in ((LAUNCH_LOCK, True), (TRAINING_LOCK, False)):
        with held_experiment(tmp_path, ROW.id, lock):
            child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
        assert is_held(tmp_path, ROW.id) is inherited
        child.communicate()
        assert not is_held(tmp_path, ROW.id)


def test_who_is_asked_to_leave_waits_no_longer(tmp_path):
    with (
        held_experiment(tmp_path, ROW.id),
        pytest.raises(Interrupted, match="stopped while it waited for another process"),
        held_experiment(tmp_path, ROW.id, asked_to_leave=lambda: True),
    ):
        pass


# Merging -----------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    """A study folder with a plan and a record for each row."""
    plan = planned()
    write_whole(tmp_path / "plan.csv", plan_csv(plan))
    for row in plan.experiments:
        store_record(record_of(row), tmp_path)
    return tmp_path


def test_the_rows_of_runs_csv(finished):
    plan = read_plan(finished / "plan.csv")
    (finished / "runs" / "0123456789ab.json").write_text("of an earlier plan, and not even JSON")
    rows = collect_runs(plan[::-1], finished, "non_embedding")
    assert [row["size"] for row in rows] == ["400", "200", "100", "50"]  # the plan's order
    assert rows[0] == {
        "id": plan[3]["id"], "status": "completed", "budget": 6e6, "size": "400", "seed": 0,
        "lr": 0.01, "N": 400, "D": 2500, "C": 6e6, "loss": 1.0025, "loss_std_err": 0.1,
        "n_params": 1400, "n_params_non_embedding": 400, "C_6nd": 6_000_000,
        "flops_per_unit": 2400.0, "steps": 250, "batch": 10, "units_per_param": 6.25,
        "epochs": 0.25, "model_source": "m", "dataset_source": "d", "loss_source": "l",
        "optimizer_source": None, "dataset_content": "0123456789ab",
    }  # fmt: skip
    assert tuple(rows[0]) == RUNS_COLUMNS


def test_the_study_says_which_count_is_n(finished):
    plan = read_plan(finished / "plan.csv")
    rows = collect_runs(plan, finished, "total")
    assert [row["N"] for row in rows] == [1050, 1100, 1200, 1400]
    assert [row["units_per_param"] for row in rows] == [400, 100, 25, 6.25]  # as planned


def test_a_diverged_run_counts_what_it_really_trained(finished):
    row = planned().experiments[3]
    record = record_of(
        row, status="diverged", loss=None, loss_std_err=None, D=500, steps=50, C=2400.0 * 500
    )
    store_record(record, finished)
    last = collect_runs(read_plan(finished / "plan.csv"), finished, "total")[3]
    assert (last["status"], last["loss"], last["D"], last["C"]) == ("diverged", None, 500, 1.2e6)
    assert (last["flops_per_unit"], last["units_per_param"], last["epochs"]) == (2400, 1.25, 0.05)


def test_a_missing_record_is_a_sentence(finished):
    plan = read_plan(finished / "plan.csv")
    missing = finished / "runs" / f"{plan[2]['id']}.json"
    missing.unlink()
    with pytest.raises(UserError) as caught:
        collect_runs(plan, finished, "total")
    assert str(caught.value) == f"{missing}: is missing; run snakemake again to train it"


DAMAGE = {"empty": b"", "truncated": b'{"id": "01', "binary": b"\x00\xff" * 40}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_written_anew_from_the_stored_record(finished, capfd, damage):
    plan = read_plan(finished / "plan.csv")
    whole = collect_runs(plan, finished, "total")
    file = finished / "runs" / f"{plan[2]['id']}.json"
    content = file.read_bytes()
    file.write_bytes(damage)
    assert collect_runs(plan, finished, "total") == whole
    assert file.read_bytes() == content
    assert f"{file}: is no JSON file (" in capfd.readouterr().err


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_without_a_stored_record_makes_room_for_another(finished, damage):
    plan = read_plan(finished / "plan.csv")
    clear_stored_records(finished, [row["id"] for row in plan])
    file = finished / "runs" / f"{plan[2]['id']}.json"
    file.write_bytes(damage)
    with pytest.raises(UserError) as caught:
        collect_runs(plan, finished, "total")
    assert str(caught.value).startswith(f"{file}: is no JSON file (")
    assert str(caught.value).endswith(
        f"; it is {file.name}.damaged now, and a rerun trains this experiment again"
    )
    assert not file.exists()
    assert file.with_name(f"{file.name}.damaged").read_bytes() == damage


def test_an_edited_file_is_refused_and_stays(finished):
    plan = read_plan(finished / "plan.csv")
    file = finished / "runs" / f"{plan[2]['id']}.json"
    edited = file.read_text().replace('"loss": 1.0', '"loss": 0.9')
    file.write_text(edited)
    for _ in range(2):
        with pytest.raises(UserError, match="the file was edited or damaged"):
            collect_runs(plan, finished, "total")
    assert file.read_text() == edited


def test_a_record_is_that_of_its_row_and_of_its_study(finished):
    """With a checksum or without: what was planned says what may stand there."""
    plan = read_plan(finished / "plan.csv")
    row = planned().experiments[2]
    for changes, name in (
        ({"n_params": row.n_params + 1}, "n_params"),
        ({"n_params_non_embedding": row.n_params_non_embedding + 1}, "n_params_non_embedding"),
        ({"steps": row.steps - 1}, "steps"),
        ({"C": row.C * 1.001}, "C"),
        ({"study": "another"}, "study"),
        ({"status": "diverged", "loss": None, "D": 2 * row.D, "steps": 2 * row.steps,
          "C": 2 * row.C}, "steps"),
        ({"status": "diverged", "loss": None, "D": row.D // 2, "steps": row.steps // 2}, "C"),
    ):  # fmt: skip
        store_record(record_of(row, **changes), finished)
        file = finished / "runs" / f"{row.id}.json"
        for content in (file.read_text(), json.dumps(record_of(row, **changes))):
            file.write_text(content)
            with pytest.raises(UserError, match=re.escape(f"{file}: {name}: found ")):
                collect_runs(plan, finished, "total", "small")
            (outcome,) = study_outcomes([plan[2]], finished, "small")
            assert outcome.state == "failed"
    store_record(record_of(row), finished)
    assert len(collect_runs(plan, finished, "total", "small")) == 4


def test_records_without_a_checksum_are_taken_and_named(finished, capfd):
    plan = read_plan(finished / "plan.csv")
    whole = collect_runs(plan, finished, "total", "small")
    assert capfd.readouterr().err == ""
    for row in planned().experiments[1:3]:
        write_json(finished / "runs" / f"{row.id}.json", record_of(row))
    assert collect_runs(plan, finished, "total", "small") == whole
    assert capfd.readouterr().err == (
        f"{finished / 'runs'}: records without a checksum, so that nothing tells whether they were "
        f"edited: {plan[1]['id']}, {plan[2]['id']}\n"
    )


def test_few_ids_are_listed_and_of_many_the_first():
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"{i}" for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert listed([f"{i}" for i in range(15)]).endswith(", 10, 11 and 3 more")


def test_an_id_that_stands_twice_is_refused(finished):
    plan = read_plan(finished / "plan.csv")
    with pytest.raises(UserError, match=f"plan.csv: the id {plan[0]['id']} stands twice"):
        collect_runs([*plan, plan[0]], finished, "total")


def test_a_record_under_a_wrong_name_is_refused(finished):
    plan = read_plan(finished / "plan.csv")
    file, other = (finished / "runs" / f"{row['id']}.json" for row in plan[:2])
    file.unlink()
    file.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=f"id: found '{plan[1]['id']}'"):
        collect_runs(plan, finished, "total")


def test_runs_csv_keeps_every_digit():
    row = dict.fromkeys(RUNS_COLUMNS) | {"id": "1e5", "loss": 0.1 + 0.2, "D": 10**15, "size": "64"}
    text = runs_csv([row])
    assert "\r" not in text
    (read,) = csv.DictReader(io.StringIO(text))
    assert tuple(read) == RUNS_COLUMNS
    assert float(read.pop("loss")) == 0.1 + 0.2
    assert {name: value for name, value in read.items() if value} == {
        "id": "1e5", "D": "1000000000000000", "size": "64",
    }  # fmt: skip


def test_mixed_fingerprints_are_found():
    def row(name, **changes):
        same = {"model_source": "m", "dataset_source": "d", "loss_source": "l"}
        return {"id": name, **same, "optimizer_source": None, "dataset_content": "c", **changes}

    assert mixed_fingerprints([row("a"), row("b", optimizer_source="")]) == {}
    mixed = [row("a"), row("b", model_source="n"), row("c"), row("d", dataset_content=None)]
    assert mixed_fingerprints(mixed) == {
        "model_source": {"m": ["a", "c", "d"], "n": ["b"]},
        "dataset_content": {"c": ["a", "b", "c"], "": ["d"]},
    }


def test_every_source_fingerprint_is_compared():
    assert runs_module.FINGERPRINT_COLUMNS == (
        "model_source", "dataset_source", "loss_source", "optimizer_source", "dataset_content",
    )  # fmt: skip
