"""Rows of runs.csv, and what tells whether all of them are of the same code and data."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flops_fit.errors import UserError
from flops_fit.files.rows import csv_text
from flops_fit.records.merged_runs import (
    FINGERPRINT_COLUMNS,
    RUNS_COLUMNS,
    MergedRun,
    listed,
    mixed_fingerprints,
    read_merged_runs,
)

RUN = MergedRun(
    id="1e5", status="completed", budget=6e6, size=64, seed=0, lr=0.01, N=400, D=10**15, C=6e6,
    loss=0.1 + 0.2, loss_std_err=0.1, n_params=1400, n_params_non_embedding=400,
    C_6nd=6_000_000, flops_per_unit=2400.0, steps=250, batch=10, units_per_param=6.25,
    epochs=0.25, model_source="m", dataset_source="d", loss_source="l", dataset_content="c",
)  # fmt: skip
DIVERGED = replace(RUN, id="b", status="diverged", loss=None, loss_std_err=None)


def test_the_columns_of_runs_csv():
    """Outside tools read them."""
    assert RUNS_COLUMNS == (
        "id", "status", "budget", "size", "seed", "lr", "N", "D", "C", "loss", "loss_std_err",
        "n_params", "n_params_non_embedding", "C_6nd", "flops_per_unit", "steps", "batch",
        "units_per_param", "epochs", "model_source", "dataset_source", "loss_source",
        "optimizer_source", "dataset_content", "trainer", "torch", "device", "trunk",
    )  # fmt: skip
    assert FINGERPRINT_COLUMNS == RUNS_COLUMNS[-9:-4]


def test_rows_come_back_as_they_were_written(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_text(csv_text(MergedRun, [RUN, DIVERGED]), encoding="utf-8")
    assert read_merged_runs(file) == [RUN, DIVERGED]
    assert [run.completed for run in (RUN, DIVERGED)] == [True, False]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "crashed"}, "1e5: status: found 'crashed'"),
        ({"loss": None}, "1e5: loss: found '', expected a number"),
        ({"N": None}, "1e5: N: found '', expected a number"),
    ],
)
def test_a_row_that_cannot_be_used_makes_room(tmp_path, changes, problem):
    file = tmp_path / "runs.csv"
    file.write_text(csv_text(MergedRun, [replace(RUN, **changes)]), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_merged_runs(file)
    assert str(caught.value).startswith(f"{file}: {problem}; it is runs.csv.damaged now, and a ")
    assert not file.exists()


def test_few_ids_are_listed_and_of_many_the_first():
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"{i}" for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert listed([f"{i}" for i in range(15)]).endswith(", 10, 11 and 3 more")


def test_mixed_fingerprints_are_found():
    def run(name, **changes):
        return replace(RUN, id=name, **changes)

    assert mixed_fingerprints([run("a"), run("b", optimizer_source="")]) == {}
    mixed = [run("a"), run("b", model_source="n"), run("c"), run("d", dataset_content=None)]
    assert mixed_fingerprints(mixed) == {
        "model_source": {"m": ["a", "c", "d"], "n": ["b"]},
        "dataset_content": {"c": ["a", "b", "c"], "": ["d"]},
    }
