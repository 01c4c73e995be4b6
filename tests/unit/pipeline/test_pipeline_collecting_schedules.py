"""Runs of one fit share their schedule; those that share their beginning say so."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.records.run_record import RunRecord, store_record
from hand_computed import planned, record_of, run_record

WSD = {"train.schedule": "wsd", "train.warmup_steps": 50}


def store_wsd(folder, changes: dict | None = None) -> list:
    """Store records of the small study under another schedule; return its experiments."""
    plan = planned({**WSD, **(changes or {})})
    for row, like in zip(plan.experiments, planned().experiments, strict=True):
        spec = plan.specs[row.id].to_json()
        plain = {**record_of(like), "id": row.id, "spec": spec}
        store_record(RunRecord.from_json(plain, row.id), folder)
    return list(plan.experiments)


def test_runs_that_share_their_beginning_name_it_however_it_was_trained(tmp_path):
    rows = store_wsd(tmp_path)
    specs = planned(WSD).specs
    found = [run.trunk for run in collect_runs(rows, tmp_path, "total")]
    assert found == [specs[row.id].trunk for row in rows]
    assert len(set(found)) == 4
    others = list(planned().experiments)
    for row in others:
        store_record(run_record(row), tmp_path)
    assert {run.trunk for run in collect_runs(others, tmp_path, "total")} == {None}
    rows = store_wsd(tmp_path, {"train.warmup_steps": None})
    assert {run.trunk for run in collect_runs(rows, tmp_path, "total")} == {None}


@pytest.mark.parametrize(
    ("changes", "course"),
    [
        (None, "schedule cosine to 0.1"),
        ({"train.decay_shape": "1-sqrt"}, "schedule wsd to 0.1, decay 0.2 1-sqrt"),
        ({"train.decay_fraction": 0.3}, "schedule wsd to 0.1, decay 0.3 linear"),
        ({"train.final_lr_fraction": 0}, "schedule wsd to 0, decay 0.2 linear"),
    ],
)
def test_runs_of_different_schedules_are_not_merged(tmp_path, changes, course):
    rows = store_wsd(tmp_path)
    if changes is None:
        others = list(planned().experiments)
        store_record(run_record(others[0]), tmp_path)
    else:
        others = store_wsd(tmp_path, changes)
    with pytest.raises(UserError) as caught:
        collect_runs([*rows, others[0]], tmp_path, "total")
    assert str(caught.value) == (
        f"{tmp_path / 'runs'}: found schedule wsd to 0.1, decay 0.2 linear ({rows[0].id}) and "
        f"{course} ({others[0].id}), expected runs of one schedule: they end at different losses "
        "for the same N and D; leave one kind out of the plan"
    )
