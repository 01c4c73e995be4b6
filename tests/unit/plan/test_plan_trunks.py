"""What experiments share, and what that saves, against sums done by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError
from flops_fit.files.writing import write_json
from flops_fit.plan.calibration import Trial
from flops_fit.plan.files import plan_jobs, plan_specs, read_trunk, trunks_of
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan
from flops_fit.plan.summary import plan_summary
from flops_fit.plan.trunks import flops_with_trunks, steps_with_trunks, trunks
from hand_computed import FILE, dataset_meta, measures, planned, small_study

GRID = {
    "model.sizes": [50, 100, 200],
    "plan.budgets": [3e6, 6e6, 12e6],
    "plan.tokens_per_param": [1, 1e6],
    "plan.seeds": [0, 1],
    "train.schedule": "wsd",
    "train.warmup_steps": 50,
}
TRUNKS = {**GRID, "plan.trunks": True}


def specs_of(changes: dict) -> dict:
    study = small_study(changes)
    plan = make_plan(study, measures(study), dataset_meta())
    return plan_specs(plan, study, data_folder="data", search_folder="studies")


def test_trunks_change_no_experiment():
    """And specs.json of other studies does not speak of them."""
    alone, branches = specs_of(GRID), specs_of(TRUNKS)
    assert list(alone) == list(branches)
    for run_id, entry in branches.items():
        trunk = entry.pop("trunk")
        assert Job.from_json(run_id, {**entry, "trunk": trunk}).spec.trunk == trunk
        with pytest.raises(FieldError, match=r"^trunk: found 'ffffffffffff', expected"):
            Job.from_json(run_id, {**entry, "trunk": "f" * 12})
    assert alone == branches


def test_a_trunk_has_the_experiments_of_a_size_and_a_seed(tmp_path):
    plan = planned(TRUNKS)
    found = trunks(plan.specs)
    rows = {row.id: row for row in plan.experiments}
    assert len(found) == 6
    for ids in found.values():
        assert [rows[run_id].budget for run_id in ids] == [3e6, 6e6, 12e6]
        assert len({(rows[run_id].size, rows[run_id].seed) for run_id in ids}) == 1
    path = tmp_path / "specs.json"
    write_json(path, specs_of(TRUNKS))
    for trunk, ids in found.items():
        assert [job.id for job in read_trunk(path, trunk)] == ids
    assert trunks_of(path) == {run_id: spec.trunk for run_id, spec in plan.specs.items()}
    with pytest.raises(UserError, match="has no trunk ffffffffffff"):
        read_trunk(path, "f" * 12)


def test_a_short_trial_of_a_branch_is_none_of_its_trunk():
    study = small_study(TRUNKS)
    plan = make_plan(study, measures(study), dataset_meta())
    jobs = plan_jobs(plan, study, data_folder="data", search_folder="studies")
    trial = Trial(experiment=plan.experiments[0], steps=7, repeat=3)
    job = trial.job(jobs[plan.experiments[0].id])
    assert job.trunk is None
    assert Job.from_json(job.id, job.to_json()) == job


def test_a_budget_more_does_not_rename_a_trunk():
    more = planned({**TRUNKS, "plan.budgets": [3e6, 6e6, 12e6, 24e6]})
    assert set(trunks(more.specs)) == set(trunks(planned(TRUNKS).specs))


def test_the_price_by_hand():
    """Steps of 10 units at 6 N: 1000, 2000, 4000 for N = 50. The last whole, of the others a
    fifth: 12e6 + (3e6 + 6e6) / 5 for each size and seed."""
    plan = planned(TRUNKS)
    steps = steps_with_trunks(plan.specs)
    assert [steps[row.id] for row in plan.experiments if row.size == 50] == [
        200, 200, 400, 400, 4000, 4000,
    ]  # fmt: skip
    assert flops_with_trunks(plan.experiments, plan.specs) == 6 * (12e6 + 0.2 * 9e6)
    summary = plan_summary(plan)
    assert "6 trunks: 8.280e+07 training FLOPs instead of 1.260e+08 (0.66 times as much)" in summary
    assert "N_opt came out 3 to 20% higher" in summary
    assert "trunk" not in plan_summary(planned(GRID))


@pytest.mark.parametrize(
    ("decades", "budgets", "sizes", "expected"), [(0.5, 7, 8, 0.78), (0.25, 13, 12, 0.59)]
)
def test_what_trunks_save_of_the_usual_grids(decades, budgets, sizes, expected):
    """Each budget's sizes lie one step of the grid above those of the budget below, as N_opt does.

    A size is trained at the budgets k whose sizes k .. k + n - 1 hold it.
    """
    rows, specs = [], {}
    for k in range(budgets):
        steps = round(1000 * 10 ** (decades * k))
        for size in range(k, k + sizes):
            run_id = f"{size} {k}"
            rows.append(SimpleNamespace(id=run_id, C=steps, flops_per_unit=0.1))
            specs[run_id] = SimpleNamespace(
                D=10 * steps, batch=10, steps=steps, decay_start=0.8 * steps, trunk=size
            )
    share = flops_with_trunks(rows, specs) / sum(row.C for row in rows)
    by_size = {}
    for k in range(budgets):
        for size in range(k, k + sizes):
            by_size.setdefault(size, []).append(10 ** (decades * k))
    closed = sum(0.8 * max(C) + 0.2 * sum(C) for C in by_size.values())
    assert share == pytest.approx(closed / sum(map(sum, by_size.values())), rel=1e-3)
    assert share == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train.batch": {3e6: 10, 6e6: 20, 12e6: 10}},
            "train.batch: found 10, 20 at the budgets of size 50, expected one batch for all",
        ),
        (
            {"train.lr": {3e6: 0.01, 6e6: 0.02, 12e6: 0.01}},
            "train.lr: found 0.01, 0.02 at the budgets of size 50, expected one learning rate (or",
        ),
        (
            {"train.lr": {"base": 0.01, "power_d": -0.2, "reference": {"n": 100, "d": 1e4}}},
            "train.lr: found ",
        ),
    ],
)
def test_what_differs_along_a_trunk_is_refused(changes, sentence):
    planned({**GRID, **changes})
    with pytest.raises(UserError) as caught:
        planned({**TRUNKS, **changes})
    assert str(caught.value).startswith(f"{FILE}: {sentence}")
    assert "\n" not in str(caught.value)


def test_a_grid_of_learning_rates_has_a_trunk_for_each():
    plan = planned({**TRUNKS, "train.lr": [0.01, 0.02]})
    assert len(trunks(plan.specs)) == 12


def test_one_rate_per_size_is_one_rate_along_each_trunk():
    rule = {"base": 0.01, "power_n": -0.2, "reference": {"n": 100, "d": 1e4}}
    assert len(trunks(planned({**TRUNKS, "train.lr": rule}).specs)) == 6
