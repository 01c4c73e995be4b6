"""Records are merged in the plan's order, or refused by name."""

from __future__ import annotations

import json
import re

import pytest
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.pipeline.status import study_outcomes
from flops_fit.plan.files import plan_csv, read_plan
from flops_fit.records.experiment_files import clear_stored_records
from flops_fit.records.merged_runs import MergedRun
from flops_fit.records.run_record import store_record
from hand_computed import planned, record_of, run_record


@pytest.fixture
def finished(tmp_path):
    """A study folder with a plan and a record for each row."""
    plan = planned()
    write_whole(tmp_path / "plan.csv", plan_csv(plan))
    for row in plan.experiments:
        store_record(run_record(row), tmp_path)
    return tmp_path


def test_the_rows_of_runs_csv(finished):
    plan = read_plan(finished / "plan.csv")
    (finished / "runs" / "0123456789ab.json").write_text("of an earlier plan, and not even JSON")
    rows = collect_runs(plan[::-1], finished, "non_embedding")
    assert [row.size for row in rows] == [400, 200, 100, 50]  # the plan's order
    assert rows[0] == MergedRun(
        id=plan[3].id, status="completed", budget=6e6, size=400, seed=0,
        lr=0.01, N=400, D=2500, C=6e6, loss=1.0025, loss_std_err=0.1,
        n_params=1400, n_params_non_embedding=400, C_6nd=6_000_000,
        flops_per_unit=2400.0, steps=250, batch=10, units_per_param=6.25,
        epochs=0.25, model_source="m", dataset_source="d", loss_source="l",
        optimizer_source=None, dataset_content="0123456789ab",
    )  # fmt: skip


def test_the_study_says_which_count_is_n(finished):
    plan = read_plan(finished / "plan.csv")
    rows = collect_runs(plan, finished, "total")
    assert [row.N for row in rows] == [1050, 1100, 1200, 1400]
    assert [row.units_per_param for row in rows] == [400, 100, 25, 6.25]  # as planned


def test_a_diverged_run_counts_what_it_really_trained(finished):
    row = planned().experiments[3]
    record = run_record(
        row, status="diverged", loss=None, loss_std_err=None, D=500, steps=50, C=2400.0 * 500
    )
    store_record(record, finished)
    last = collect_runs(read_plan(finished / "plan.csv"), finished, "total")[3]
    assert (last.status, last.loss, last.D, last.C) == ("diverged", None, 500, 1.2e6)
    assert (last.flops_per_unit, last.units_per_param, last.epochs) == (2400, 1.25, 0.05)


def test_a_missing_record_is_a_sentence(finished):
    plan = read_plan(finished / "plan.csv")
    missing = finished / "runs" / f"{plan[2].id}.json"
    missing.unlink()
    with pytest.raises(UserError) as caught:
        collect_runs(plan, finished, "total")
    assert str(caught.value) == f"{missing}: is missing; run snakemake again to train it"


DAMAGE = {"empty": b"", "truncated": b'{"id": "01', "binary": b"\x00\xff" * 40}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_written_anew_from_the_stored_record(finished, capfd, damage):
    plan = read_plan(finished / "plan.csv")
    whole = collect_runs(plan, finished, "total")
    file = finished / "runs" / f"{plan[2].id}.json"
    content = file.read_bytes()
    file.write_bytes(damage)
    assert collect_runs(plan, finished, "total") == whole
    assert file.read_bytes() == content
    assert f"{file}: is no JSON file (" in capfd.readouterr().err


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_without_a_stored_record_makes_room_for_another(finished, damage):
    plan = read_plan(finished / "plan.csv")
    clear_stored_records(finished, [row.id for row in plan])
    file = finished / "runs" / f"{plan[2].id}.json"
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
    file = finished / "runs" / f"{plan[2].id}.json"
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
        store_record(run_record(row, **changes), finished)
        file = finished / "runs" / f"{row.id}.json"
        for content in (file.read_text(), json.dumps(record_of(row, **changes))):
            file.write_text(content)
            with pytest.raises(UserError, match=re.escape(f"{file}: {name}: found ")):
                collect_runs(plan, finished, "total", "small")
            (outcome,) = study_outcomes([plan[2]], finished, "small")
            assert outcome.state == "failed"
    store_record(run_record(row), finished)
    assert len(collect_runs(plan, finished, "total", "small")) == 4


def test_records_without_a_checksum_are_taken_and_named(finished, capfd):
    plan = read_plan(finished / "plan.csv")
    whole = collect_runs(plan, finished, "total", "small")
    assert capfd.readouterr().err == ""
    for row in planned().experiments[1:3]:
        write_json(finished / "runs" / f"{row.id}.json", record_of(row))
    assert collect_runs(plan, finished, "total", "small") == whole
    assert capfd.readouterr().err == (
        f"{finished / 'runs'}: records without a checksum, so nothing shows whether they were "
        f"edited: {plan[1].id}, {plan[2].id}\n"
    )


def test_an_id_that_stands_twice_is_refused(finished):
    plan = read_plan(finished / "plan.csv")
    with pytest.raises(UserError, match=f"plan.csv: the id {plan[0].id} occurs twice"):
        collect_runs([*plan, plan[0]], finished, "total")


def test_a_record_under_a_wrong_name_is_refused(finished):
    plan = read_plan(finished / "plan.csv")
    file, other = (finished / "runs" / f"{row.id}.json" for row in plan[:2])
    file.unlink()
    file.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=f"id: found '{plan[1].id}'"):
        collect_runs(plan, finished, "total")
