"""A trunk is trained if two experiments wait for it, and stops none if it fails."""

from __future__ import annotations

import json

import pytest
from flops_fit.files.writing import write_json
from flops_fit.launch import launcher as launch
from flops_fit.launch.signals import INTERRUPTED
from flops_fit.plan.files import plan_specs, trunks_of
from flops_fit.plan.plan import make_plan
from flops_fit.records.experiment_files import CHECKPOINT, TRUNK_STATE, state_folder
from hand_computed import dataset_meta, measures, small_study

TRUNKS = {
    "model.sizes": [50, 100, 200],
    "plan.budgets": [3e6, 6e6, 12e6],
    "plan.tokens_per_param": [1, 1e6],
    "train.schedule": "wsd",
    "train.warmup_steps": 50,
    "plan.trunks": True,
}


@pytest.fixture
def branches(tmp_path):
    """The folder of a planned study, one of its trunks, and the ids of its branches."""
    study = small_study(TRUNKS)
    plan = make_plan(study, measures(study), dataset_meta())
    specs = plan_specs(plan, study, data_folder="data", search_folder=".")
    write_json(tmp_path / "specs.json", specs)
    of = trunks_of(tmp_path / "specs.json")
    trunk = of[plan.experiments[0].id]
    return tmp_path, trunk, [row.id for row in plan.experiments if of[row.id] == trunk]


@pytest.fixture
def launches(monkeypatch):
    """Have no training run; return the commands, and a list with the status of each."""
    found, status = [], []

    def supervise(command, environment):
        found.append(command)
        return status[0]

    monkeypatch.setattr(launch, "supervise", supervise)
    monkeypatch.setattr(launch, "visible_gpus", lambda environment: [])
    return found, status


def start(folder, trunk: str) -> int:
    log = folder / "logs" / f"{trunk}.log"
    arguments = [f"--plan={folder / 'plan.csv'}", f"--id={trunk}", "--trunk", f"--log={log}"]
    return launch.main(arguments)


def store(folder, run_id: str, name: str) -> None:
    path = state_folder(folder, run_id) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"state")


def test_a_trunk_is_launched_like_its_longest_branch(branches, launches):
    folder, trunk, _ = branches
    launches[1].append(0)
    assert start(folder, trunk) == 0
    (command,) = launches[0]
    assert {f"--id={trunk}", "--trunk", f"--study-folder={folder}"} <= set(command)


def test_nothing_is_trained_unless_two_wait(branches, launches):
    folder, trunk, ids = branches
    store(folder, ids[0], TRUNK_STATE)
    store(folder, ids[1], "record.json")
    assert start(folder, trunk) == 0
    assert launches[0] == []
    record = json.loads((folder / "trunks" / f"{trunk}.json").read_text())
    assert (record["branches"], record["trainings"]) == (ids, [])
    # One that was begun goes on
    store(folder, trunk, CHECKPOINT)
    launches[1].append(0)
    assert start(folder, trunk) == 0
    assert len(launches[0]) == 1


@pytest.mark.parametrize(
    ("status", "returned"), [(1, 0), (INTERRUPTED, INTERRUPTED), (137, 137), (143, 143)]
)
def test_a_trunk_that_fails_stops_none_of_its_branches(branches, launches, status, returned):
    """One that was stopped or killed goes on later."""
    folder, trunk, _ = branches
    launches[1].append(status)
    assert start(folder, trunk) == returned
    assert (folder / "trunks" / f"{trunk}.json").exists() is (status == 1)
