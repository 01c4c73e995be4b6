"""Runs that come to nothing, and plans that no longer hold."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.records.run_record import RunRecord, store_record
from flops_fit.train import curve, loop
from tiny_training import STEPS, train

pytestmark = pytest.mark.usefixtures("fresh_process")


# Runs that come to nothing -----------------------------------------------------------------------


def check_diverged(record: dict, steps: int, tmp_path: Path) -> None:
    assert record["status"] == "diverged"
    assert (record["loss"], record["loss_std_err"]) == (None, None)
    assert (record["steps"], record["D"]) == (steps, 8 * steps)
    assert record["C"] == 6 * (5 * record["spec"]["size"] + 1) * 8 * steps
    assert record["spec"]["D"] == 8 * STEPS[record["spec"]["size"]]  # what was planned
    store_record(RunRecord.from_json(record, record["id"]), tmp_path)  # it is a valid record


def test_a_rate_that_is_too_large_ends_the_run_where_it_breaks(planned_tiny, tmp_path):
    """After one step of 1e30 the outputs are of that order, and their squares overflow float32."""
    job, _ = planned_tiny(
        4, {"train.lr": 1e30, "train.precision": "no", "train.warmup_fraction": 0}
    )
    record = train(job)
    check_diverged(record, 2, tmp_path)
    assert [row[:2] for row in record["curve"]] == [[1, 8], [2, 16]]
    assert 0 < record["curve"][0][2] < 10
    assert record["curve"][1][2] is None


@pytest.fixture
def only_training_counts(monkeypatch):
    """Forget the calls of the loss that come before the first step: trials of what fits."""
    original = loop.Trainer.__init__

    def counted(self, job, *arguments):
        original(self, job, *arguments)
        importlib.import_module(job.spec.loss.target.partition(":")[0]).calls.clear()

    monkeypatch.setattr(loop.Trainer, "__init__", counted)


@pytest.mark.usefixtures("only_training_counts")
def test_a_loss_that_becomes_nan_is_seen_at_the_next_row(planned_tiny, tmp_path):
    job, module = planned_tiny(2, loss="nan_after_60")
    record = train(job)
    expected = min(step for step in curve.curve_steps(191) if step > 60)
    check_diverged(record, expected, tmp_path)
    assert len(module.calls) == expected < 70
    assert [row[2] is None for row in record["curve"]] == [False] * (len(record["curve"]) - 1) + [
        True
    ]
    assert record["curve"][-1][:2] == [expected, 8 * expected]


@pytest.mark.usefixtures("only_training_counts")
def test_a_loss_that_becomes_nan_between_far_rows_is_seen_after_100_steps(
    planned_tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(curve, "CURVE_ROWS", 2)
    job, _ = planned_tiny(2, loss="nan_after_60")
    record = train(job)
    check_diverged(record, 100, tmp_path)
    assert [row[0] for row in record["curve"]] == [1, 100]


def test_a_loss_that_is_nan_in_the_end_only_is_a_divergence(planned_tiny, tmp_path):
    job, _ = planned_tiny(4, model="BlindModel")
    record = train(job)
    check_diverged(record, 100, tmp_path)
    assert all(row[2] is not None for row in record["curve"])


# What was planned and is there no more -----------------------------------------------------------


def test_another_model_than_planned_is_refused(planned_tiny):
    job, _ = planned_tiny(4)
    with pytest.raises(UserError) as caught:
        train(replace(job, n_params=22, n_params_non_embedding=20))
    assert str(caught.value).startswith(
        "model: width=4 C=1.01e+05 has 21 parameters (21 without lookup tables), but 22 (20) were "
        "planned; the model's code changed since: raise model.version"
    )


def test_another_number_of_processes_than_asked_for_is_refused(planned_tiny):
    job, _ = planned_tiny(4)
    with pytest.raises(UserError, match=r"2 processes were asked for, but 1 work together"):
        train(replace(job, processes=2))
