"""What a study will train, to be priced."""

from __future__ import annotations

from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.outlook import outlook_of
from flops_fit.pipeline.pricing import Call, price_of_plan, summary_of
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.trunks import flops_with_trunks
from hand_computed import planned, small_study

TRUNKS = {
    "plan.budgets": [6e6, 12e6],
    "train.schedule": "wsd",
    "train.warmup_steps": 5,
    "plan.trunks": True,
    "plan.hardware": {"flops_per_second": 1e6},
}


def written(folder: Path, changes: dict):
    """The files of a plan, and its outlook. Its dataset is not looked at."""
    study, plan = small_study(changes), planned(changes)
    specs = plan_specs(plan, study, data_folder="d", search_folder="s")
    write_json(folder / "specs.json", specs)
    write_whole(folder / "plan.csv", plan_csv(plan))
    return study, plan, outlook_of(study, folder, folder / "none.json", folder / "none")


def test_a_grid_is_priced_by_budget(tmp_path):
    changes = {"plan.budgets": [6e6, 12e6], "plan.hardware": {"flops_per_second": 1e6}}
    study, plan, outlook = written(tmp_path, changes)
    assert [part.name for part in outlook.parts] == ["C = 6e+06", "C = 1.2e+07"]
    assert outlook.rows == list(plan.experiments)
    assert not outlook.in_rounds
    text = price_of_plan(study, outlook, Call(cores=2))
    (total,) = [line for line in text.splitlines() if line.startswith("in total")]
    assert int(total.split()[2]) == len(plan.experiments)
    assert "1e+06 FLOP/s for each process (plan.hardware)" in text


def test_what_trunks_share_is_paid_once(tmp_path):
    study, plan, outlook = written(tmp_path, TRUNKS)
    text = price_of_plan(study, outlook, Call(cores=2))
    (total,) = [line for line in text.splitlines() if line.startswith("in total")]
    shared = flops_with_trunks(plan.experiments, plan.specs)
    assert shared < sum(row.C for row in plan.experiments)
    assert float(total.split()[3]) == pytest.approx(shared, rel=0.005)


@pytest.mark.parametrize(("budget", "timed"), [(6e6, False), (6e12, True)])
def test_only_a_study_that_trains_for_long_is_timed_without_being_asked(
    tmp_path, monkeypatch, budget, timed
):
    calls = []
    monkeypatch.setattr("flops_fit.pipeline.pricing.calibrate", lambda bench, tell: calls.append(1))
    changes = {"plan.budgets": [budget], "plan.tokens_per_param": [1e-9, 1e12]}
    study, _, outlook = written(tmp_path, changes)
    text = price_of_plan(study, outlook, Call(cores=2))
    assert len(calls) == timed
    assert ("snakemake calibrate" in text) != timed
    # Elsewhere than on this machine only when asked.
    price_of_plan(study, outlook, Call(cores=2, jobs=9, on_cluster=True))
    assert len(calls) == timed


def test_the_text_of_a_plan_that_is_missing_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"plan\.log: is missing, expected the text .*0\.csv"):
        summary_of(tmp_path)
    (tmp_path / "plan.log").write_text("Plan")
    assert summary_of(tmp_path) == "Plan"
