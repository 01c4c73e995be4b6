"""A study whose experiments branch off trunks, with real processes."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from checkout import PARTS, ROOT, Checkout, copy_checkout, jobs_of
from made_once import made_once


def share(config: dict, **changes) -> None:
    config["plan"] |= {"budgets": [2e6, 4e6, 8e6], "trunks": True, **changes}
    config["train"] |= {"schedule": "wsd", "warmup_steps": 20}
    config["fit"] = {"bootstrap": 50}


@pytest.fixture(scope="session")
def grown(tmp_path_factory) -> tuple[Checkout, str]:
    """A checkout with the finished study, and what Snakemake printed. Leave it as it is."""

    def train(folder):
        made = copy_checkout(ROOT, folder / "checkout", PARTS)
        made.configure(share)
        return made.succeed("--cores", "2")

    folder, output = made_once(tmp_path_factory, "grown", train)
    return Checkout(folder / "checkout"), output


@pytest.fixture
def changeable(grown, tmp_path) -> Checkout:
    return copy_checkout(grown[0].path, tmp_path / "checkout", None)


def trunks(checkout: Checkout) -> dict[str, dict]:
    folder = checkout.study / "trunks"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_every_experiment_branches_off_its_trunk_and_costs_what_the_plan_says(grown):
    checkout, output = grown
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (3, 9)
    records, found = checkout.records(), trunks(checkout)
    assert len(found) == 3
    for run_id, record in records.items():
        trunk = found[record["world"]["trunk"]]
        (training,) = trunk["trainings"]
        left = training["branches"][run_id] * 32  # units
        assert record["world"]["own_D"] == record["D"] - left
    # What was spent: of each size the longest whole, and of the others a fifth
    spent = sum(one["trainings"][0]["C"] for one in found.values())
    spent += sum(record["world"]["own_C"] for record in records.values())
    assert spent == pytest.approx(3 * (8e6 + 0.2 * 6e6), rel=0.02)
    plan = (checkout.study / "plan.log").read_text()
    assert f"3 trunks: {spent:.3e} training FLOPs instead of" in plan
    assert "(0.66 times as much)" in plan


def test_states_are_gone_once_their_experiments_have_records(grown):
    checkout, _ = grown
    assert not list(checkout.study.rglob("*.safetensors"))


def test_runs_name_their_trunk_and_the_fit_counts_it_as_one_training(grown):
    checkout, _ = grown
    with open(checkout.study / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["trunk"] for row in rows} == set(trunks(checkout))
    records = checkout.records()
    assert all(row["trunk"] == records[row["id"]]["world"]["trunk"] for row in rows)
    fit = json.loads((checkout.study / "fit.json").read_text())
    assert "whole trainings" in fit["interval_method"]


def test_a_rerun_trains_nothing(changeable):
    output = changeable.succeed("--cores", "2")
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (0, 0)
    shutil.rmtree(changeable.path / ".snakemake")
    output = changeable.succeed("--cores", "2")
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (0, 0)


def test_a_deleted_record_is_trained_again_alone(changeable):
    """And has the same numbers, although it trains its beginning itself now."""
    run_id, record = next(iter(changeable.records().items()))
    assert record["world"]["own_D"] < record["D"]
    (changeable.study / "runs" / f"{run_id}.json").unlink()
    output = changeable.succeed("--cores", "2")
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (0, 1)
    again = changeable.records()[run_id]
    assert (again["loss"], again["curve"]) == (record["loss"], record["curve"])
    assert "trunk" not in again["world"]


def test_a_budget_that_is_added_retrains_none(changeable):
    before = changeable.records()
    changeable.configure(lambda c: share(c, budgets=[2e6, 4e6, 8e6, 3e6, 16e6]))
    output = changeable.succeed("runs", "--cores", "2")
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (3, 6)
    after = changeable.records()
    assert {run_id: after[run_id] for run_id in before} == before
    added = [record for run_id, record in after.items() if run_id not in before]
    assert all(record["world"]["trunk"] in trunks(changeable) for record in added)


def test_trunks_may_be_switched_off(changeable):
    changeable.configure(lambda c: share(c, trunks=False))
    output = changeable.succeed("--cores", "2")
    assert (jobs_of(output, "trunk"), jobs_of(output)) == (0, 0)
