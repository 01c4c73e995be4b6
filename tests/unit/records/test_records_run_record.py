"""Run records: written whole, read with checks."""

from __future__ import annotations

import json
import math
import os
import resource
from dataclasses import replace

import pytest
from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.files.fields import FieldError
from flops_fit.files.writing import write_json
from flops_fit.records.experiment_files import clear_stored_records, state_folder
from flops_fit.records.run_record import (
    CurveRow,
    RunRecord,
    Throughput,
    World,
    read_record,
    record_checksum,
    store_record,
    use_stored_record,
)
from flops_fit.study.identity import fingerprint
from hand_computed import planned, record_of, run_record, spec_of

ROW = planned().experiments[0]


def test_a_record_comes_back_as_it_was_stored(tmp_path):
    record = run_record(ROW, loss=1 / 3)
    store_record(record, tmp_path)
    assert read_record(tmp_path / "runs" / f"{ROW.id}.json") == record
    assert read_record(state_folder(tmp_path, ROW.id) / "record.json", ROW.id) == record
    assert os.listdir(tmp_path / "runs") == [f"{ROW.id}.json"]
    assert os.listdir(state_folder(tmp_path, ROW.id)) == ["record.json"]


def test_a_record_holds_values_of_their_types():
    record = run_record(ROW)
    assert record.spec == spec_of(ROW)
    assert (record.id, record.loss, record.D) == (ROW.id, 1.02, ROW.D)
    assert record.curve[0] == CurveRow(step=1, D=10, train_loss=2.5, lr=0.01)
    assert record.throughput.units_per_second == 3.0
    assert record.throughput.mfu is None
    assert record.world.num_processes == 1
    assert record.provenance.source == {"model": "m", "dataset": "d", "loss": "l"}


def test_the_file_holds_the_fields_in_their_order(tmp_path):
    """Outside tools read it: names, nesting and order are a contract."""
    record = replace(
        run_record(ROW),
        throughput=Throughput(
            units_per_second=3.0, flops_per_second=9.0, mfu=None, train_seconds=1.0,
            checkpoint_seconds=0.5, startup_seconds=2.0, eval_seconds=0.1, peak_memory_bytes=7,
        ),
        world=World(
            num_processes=1, device="cpu", precision="no", gradient_accumulation=1,
            micro_batch=10, hosts=["here"], resumed=False,
        ),
    )  # fmt: skip
    store_record(record, tmp_path)
    file = tmp_path / "runs" / f"{ROW.id}.json"
    plain = json.loads(file.read_text(encoding="utf-8"))
    assert list(plain) == [
        "id", "study", "spec", "status", "loss", "loss_std_err", "n_params",
        "n_params_non_embedding", "D", "steps", "C", "C_6nd", "curve", "throughput", "world",
        "provenance", "checksum",
    ]  # fmt: skip
    assert list(plain["throughput"]) == [
        "units_per_second", "flops_per_second", "mfu", "train_seconds", "checkpoint_seconds",
        "startup_seconds", "eval_seconds", "peak_memory_bytes",
    ]  # fmt: skip
    assert list(plain["world"]) == [
        "num_processes", "device", "precision", "gradient_accumulation", "micro_batch", "hosts",
        "resumed",
    ]  # fmt: skip
    assert list(plain["provenance"]) == [
        "python", "torch", "accelerate", "flops_fit", "git", "source", "content_fingerprint",
        "start", "end", "trainer", "packages", "imported", "file_source", "alone",
    ]  # fmt: skip
    assert plain["curve"] == record_of(ROW)["curve"]
    assert plain["checksum"] == stored_of(ROW)["checksum"]
    assert file.read_text(encoding="utf-8") == json.dumps(plain, indent=1) + "\n"


def test_a_diverged_record_is_valid():
    record = run_record(ROW, status="diverged", loss=None, loss_std_err=None)
    assert not record.completed


def test_a_completed_run_trained_what_its_spec_says():
    assert "D: found 10, expected the" in refusal(record_of(ROW, D=10))


def stored_of(row) -> dict:
    """The record as it lies in its file."""
    return record_of(row) | {"checksum": record_checksum(record_of(row))}


def refusal(record: object, run_id: str = ROW.id) -> str:
    """Why an object is no record of the experiment."""
    with pytest.raises(FieldError) as caught:
        RunRecord.from_json(record, run_id)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(record_of(ROW)))
def test_a_missing_field_is_named(name):
    record = record_of(ROW)
    del record[name]
    assert refusal(record).startswith(f"{name}: is missing")


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
        assert message.startswith(f"{name}: found {value!r}, expected "), value


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named(name, value):
    assert refusal(record_of(ROW, **{name: value})).startswith(f"{name}: found {value!r}")


@pytest.mark.parametrize("record", [[], "text", None, 3])
def test_what_is_no_record_is_refused(record):
    message = refusal(record)
    assert message.startswith(f"found {type(record).__name__}, expected an object")


@pytest.mark.parametrize(
    "record",
    [
        record_of(ROW, spec={**spec_of(ROW).to_json(), "D": ROW.D + 1}),  # edited
        record_of(ROW, id="0123456789ab"),
        record_of(planned().experiments[1]),  # a file under another name
    ],
)
def test_an_id_that_does_not_follow_from_the_content_is_refused(record):
    assert refusal(record).startswith(
        f"id: found {record['id']!r} with a spec that gives "
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
    assert refusal(record_of(ROW, **changes)).startswith(f"{sentence}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(record_of(ROW)).encode()[:-9],
        b"\xff\xfe",
        json.dumps(record_of(ROW, spec={**spec_of(ROW).to_json(), "lr": math.nan})).encode(),
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
        store_record(replace(run_record(ROW), loss=None), tmp_path)
    assert list(tmp_path.iterdir()) == []


EDITS = [
    ("loss", 1.03), ("loss_std_err", 0.02), ("n_params", 51), ("n_params_non_embedding", 49),
    ("steps", 7), ("C", 3.0), ("C_6nd", 3.0), ("curve", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), EDITS)
def test_an_edited_number_is_found(name, value):
    edited = stored_of(ROW) | {name: value}
    assert refusal(edited).startswith(
        f"checksum: found {edited['checksum']!r} with a content that gives "
    )


def test_timings_and_the_rest_of_the_provenance_are_no_part_of_the_checksum():
    record = stored_of(ROW)
    later = {"provenance": record["provenance"] | {"end": "2001-01-01T00:00:00Z"}}
    for change in ({"throughput": {}}, {"world": {}}, later):
        read = RunRecord.from_json(record | change, ROW.id)
        assert read.checksum == record["checksum"]


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
    assert RunRecord.from_json(old, ROW.id) == run_record(ROW)
    assert RunRecord.from_json(old | {"study": "another"}, ROW.id).study == "another"
    assert "checksum: found 'fa84d3b8774c6a74'" in refusal(old | {"loss": 1.03})


UNFIT = [
    ("n_params_non_embedding", 0), ("n_params", -5), ("D", 10**400), ("steps", -1),
    ("C", -1.0), ("C", 10**400), ("C_6nd", 10**400),
    ("curve", [[1, 2, 3]]), ("curve", [1]), ("curve", [[1, 10, "2.5", 0.1]]),
    ("spec", {**spec_of(ROW).to_json(), "lr": math.inf}),
    ("spec", {**spec_of(ROW).to_json(), "seed": 10**5000}),
    ("provenance", {"source": None}), ("provenance", {"source": []}),
    ("provenance", {"source": {"model": 3}}), ("provenance", {"content_fingerprint": []}),
    ("provenance", {"content_fingerprint": "\ud800"}), ("throughput", {"\ud800": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), UNFIT)
def test_what_nothing_can_be_computed_with_is_named(name, value):
    message = refusal(record_of(ROW, **{name: value}))
    assert message.startswith((f"{name}: found ", f"{name}.", f"{name}["))
    assert message.isprintable()


def test_a_step_without_any_loss_is_valid():
    (row,) = run_record(ROW, curve=[[1, 10, None, 0.1]]).curve
    assert row.train_loss is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("throughput", {"mfu": "n/a", "peak_memory_bytes": 1.5e9}),
        ("world", {"hosts": "node1", "resumed": 1, "num_processes": 1.0}),
        ("provenance", {"git": "a commit", "python": 3.11}),
    ],
)
def test_information_of_any_form_costs_no_training(tmp_path, name, value):
    """Other programs write records, too; no number rests on these fields."""
    record = {**record_of(ROW), name: {**record_of(ROW)[name], **value}}
    file = tmp_path / "runs" / f"{ROW.id}.json"
    write_json(file, record)
    read = getattr(read_record(file), name)
    assert {key: getattr(read, key) for key in value} == value


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
    store_record(run_record(ROW), tmp_path)
    file = tmp_path / "runs" / f"{ROW.id}.json"
    whole = file.read_bytes()
    informative = {"throughput": Throughput(), "world": World()}
    expected = replace(run_record(ROW), **informative)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(damaged)
        try:
            read = read_record(file)
        except UserError:
            continue
        assert replace(read, **informative) == expected, bit


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

    store_record(run_record(ROW), tmp_path, patience=60, complain=complain)
    assert read_record(tmp_path / "runs" / f"{ROW.id}.json") == run_record(ROW)
    (sentence,) = said
    stored = state_folder(tmp_path, ROW.id) / "record.json"
    assert sentence.startswith("the record cannot be written (")
    assert f"'{stored}'); retrying for 60 s" in sentence


def test_a_record_does_not_wait_for_ever(tmp_path, small_files):
    with pytest.raises(OSError, match=r"record\.json") as caught:
        store_record(run_record(ROW), tmp_path)
    small_files()
    assert is_trouble_of_the_machine(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stored_record_outlives_its_declared_output(tmp_path):
    """Snakemake deletes the output before it runs a job again."""
    output = tmp_path / "runs" / f"{ROW.id}.json"
    assert not use_stored_record(tmp_path, ROW.id)
    assert not output.exists()
    store_record(run_record(ROW), tmp_path)
    output.unlink()
    assert use_stored_record(tmp_path, ROW.id)
    assert read_record(output) == run_record(ROW)
    # once more, with the output in place, and as another content
    assert use_stored_record(tmp_path, ROW.id)
    store_record(run_record(ROW, loss=3.5), tmp_path)
    assert read_record(output).loss == 3.5
    assert os.listdir(output.parent) == [output.name]
    # merged: from now on a deleted output means to train again
    clear_stored_records(tmp_path, [ROW.id, "0123456789ab"])
    assert read_record(output).loss == 3.5
    output.unlink()
    assert not use_stored_record(tmp_path, ROW.id)
    assert not output.exists()


@pytest.mark.parametrize("content", ["", "{}", json.dumps(record_of(ROW, loss=None))])
def test_a_stored_record_that_is_invalid_is_not_linked(tmp_path, content):
    stored = state_folder(tmp_path, ROW.id) / "record.json"
    stored.parent.mkdir(parents=True)
    stored.write_text(content)
    assert not use_stored_record(tmp_path, ROW.id)
    assert not (tmp_path / "runs").exists()
