"""Which runs belong to a design: its own, and those of the same recipe that lie in its folder."""

from __future__ import annotations

import json

import pytest
from flops_fit.errors import UserError
from flops_fit.files.rows import csv_text
from flops_fit.pipeline.own_runs import has_begun, is_recipe_of, losses_of, runs_along
from flops_fit.pipeline.to_train import ids_of_rounds, needs_no_record, rounds_to_come, runs_to_have
from flops_fit.plan.decision import Asked, ChosenExperiment, Decision, round_csv
from flops_fit.plan.experiment import PlannedExperiment
from hand_computed import dataset_meta, measures, planned, record_of, small_study

META = dataset_meta()


def rows_of(plan) -> list[ChosenExperiment]:
    names = PlannedExperiment.__dataclass_fields__
    return [
        ChosenExperiment(**{name: getattr(row, name) for name in names}, why="here")
        for row in plan.experiments
    ]


@pytest.fixture
def rows() -> list[ChosenExperiment]:
    return rows_of(planned())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path


def record(folder, row, **changes) -> None:
    path = folder / "runs" / f"{row.id}.json"
    path.write_text(json.dumps(record_of(row.planned, **changes)))


def test_losses_are_those_of_the_records_unless_excluded_or_diverged(rows, folder):
    study = small_study({"fit.exclude": [rows[2].id, rows[3].id]})
    record(folder, rows[0])
    record(folder, rows[1], status="diverged", loss=None)
    record(folder, rows[2])
    assert losses_of(rows, study, folder) == {
        rows[0].id: 1.0 + 1 / rows[0].size,
        rows[1].id: None,
        rows[2].id: None,  # its record is there, and excluded
        rows[3].id: None,  # never trained, and excluded
    }
    assert not needs_no_record(rows[2].id, study, folder)
    assert needs_no_record(rows[3].id, study, folder)
    with pytest.raises(UserError, match="is missing; run snakemake again"):
        losses_of(rows, small_study(), folder)


def test_a_loss_below_zero_is_none_of_a_design(rows, folder):
    record(folder, rows[0], loss=-0.5)
    with pytest.raises(UserError, match=r"loss: found -0.5, expected one above zero"):
        losses_of(rows[:1], small_study(), folder)


@pytest.mark.parametrize(
    "name", ["runs/{id}.json", "state/{id}/record.json", "state/{id}/checkpoint.safetensors"]
)
def test_a_round_has_begun_with_the_first_trace_of_a_run(rows, folder, name):
    assert not has_begun(rows, folder)
    path = folder / name.format(id=rows[1].id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert has_begun(rows, folder)
    assert not has_begun(rows[2:], folder)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"fit.ci": 0.9, "train.processes": 2, "plan.seeds": [4]}, True),
        ({"plan.budgets": [7e6]}, True),
        ({"train.lr": 0.02}, False),
        ({"train.lr": {7e6: 0.01}, "plan.budgets": [7e6]}, False),
        ({"train.batch": 20}, False),
        ({"train.weight_decay": 0.2}, False),
        ({"model.version": 2}, False),
    ],
)
def test_a_recipe_is_all_but_size_data_and_seed(rows, changes, same):
    assert {is_recipe_of(small_study(changes), META, row) for row in rows} == {same}


def test_runs_of_the_recipe_are_taken_along_with_their_budgets(rows, folder):
    study = small_study()
    (folder / "plan.csv").write_text(csv_text(PlannedExperiment, planned().experiments))
    for row in rows:
        record(folder, row)
    others = rows_of(planned({"plan.budgets": [9e6]}))
    for row in others:
        record(folder, row)
    record(folder, rows_of(planned({"train.lr": 0.5}))[0])  # another recipe
    record(folder, others[2], status="diverged", loss=None)
    (folder / "runs" / "0123456789ab.json").write_text("damaged")
    found = runs_along(study, META, measures(study), folder, budgets=[9.05e6], known={rows[0].id})
    assert {row.id for row in found} == {row.id for row in [*rows[1:], *others[:2]]}
    # Of the grid that was planned there, and of the design's budget that they come near to.
    assert {row.budget for row in found} == {6e6, 9.05e6}
    assert {row.why for row in found} == {"trained already"}
    assert [row.C for row in found if row.budget == 6e6] == [row.C for row in rows[1:]]


def decision(number, rows, kind="pilot") -> Decision:
    asked = Asked(target=1e10, spend=1e8, precision=None, budgets=[6e6])
    return Decision(round=number, kind=kind, why="", checks={}, asked=asked, chosen=tuple(rows))


def test_a_round_without_rows_ends_the_design(rows, folder):
    table = folder / "0.csv"
    table.write_text(round_csv(decision(0, rows)))
    study = small_study({"fit.exclude": [rows[1].id]})
    runs, done = runs_to_have(str(table), study, str(folder))
    assert runs == [f"{folder}/runs/{row.id}.json" for row in rows if row is not rows[1]]
    assert not done
    table.write_text(round_csv(decision(1, [], "done")))
    assert runs_to_have(str(table), study, str(folder)) == ([], True)


def test_there_are_rounds_to_come_until_one_is_done(rows, folder):
    text = small_study({"plan.target": 1e10, "plan.spend": 1e8}).to_json()
    assert not rounds_to_come(folder)
    decision(0, rows[:2]).write(folder / "rounds")
    assert not rounds_to_come(folder)  # what was planned last is a grid
    (folder / "planned_study.json").write_text(text)
    assert rounds_to_come(folder)
    decision(1, rows[2:]).write(folder / "rounds")
    decision(2, [], "done").write(folder / "rounds")
    assert not rounds_to_come(folder)
    assert ids_of_rounds(folder) == {row.id for row in rows}
