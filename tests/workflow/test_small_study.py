"""The whole chain on a small study, with real processes."""

from __future__ import annotations

import csv
import json
import math

import pytest

PLAN_COLUMNS = (
    "id,budget,size,n_params,n_params_non_embedding,flops_per_unit,D,steps,C,units_per_param,"
    "epochs,seed,lr,batch,processes"
).split(",")
RECORD_FIELDS = set(
    "id study spec status loss loss_std_err n_params n_params_non_embedding D steps C C_6nd curve "
    "throughput world provenance".split()
)


def plan_of(checkout):
    with open(checkout.study / "plan.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_each_planned_experiment_has_one_record_that_spent_what_was_planned(trained):
    checkout, _ = trained
    plan = plan_of(checkout)
    assert list(plan[0]) == PLAN_COLUMNS
    assert len(plan) == 6
    records = checkout.records()
    assert set(records) == {row["id"] for row in plan}
    for row in plan:
        record = records[row["id"]]
        assert RECORD_FIELDS <= set(record)
        width = int(row["size"])
        n_params = width * (8 + 1) + 4 * (width + 1)
        # The first layer's input needs no gradient: 4 FLOPs per weight there, 6 in the second.
        flops_per_unit = 4 * 8 * width + 6 * 4 * width
        steps = round(float(row["budget"]) / (flops_per_unit * 32))
        assert record["n_params"] == n_params
        assert record["steps"] == steps == record["curve"][-1][0]
        assert record["D"] == steps * 32 == int(row["D"])
        assert record["C"] == pytest.approx(flops_per_unit * steps * 32, rel=1e-12)
        assert record["C_6nd"] is None  # its unit is no token
        assert record["status"] == "completed"
        assert 0 < record["loss"] < math.log(4)  # better than guessing among 4 classes
        assert len(record["curve"]) <= 200


def test_runs_fit_table_and_figures_are_there(trained):
    checkout, _ = trained
    with open(checkout.study / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    records = checkout.records()
    assert [row["id"] for row in rows] == [row["id"] for row in plan_of(checkout)]
    for row in rows:
        assert float(row["loss"]) == records[row["id"]]["loss"]
        assert int(row["N"]) == records[row["id"]]["n_params_non_embedding"]
    fit = json.loads((checkout.study / "fit.json").read_text())
    assert fit["n_runs"] == 6
    assert fit["recommended"]["approach"] == fit["answer"]["method"] == "path"
    with open(checkout.study / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["C"]) for row in rows] == [2e6, 4e6, 1e8]
    assert [float(row["N_opt"]) for row in rows] == [
        row["N_opt"] for row in fit["answer"]["predictions"]
    ]
    for name in ("isoflop_profiles", "optimum_scaling"):
        assert (checkout.study / "figures" / f"{name}.svg").read_text().startswith("<?xml")
        assert (checkout.study / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_every_experiment_is_one_accelerate_launch_and_one_benchmark(trained):
    checkout, output = trained
    # Two experiments at a time may write into one line
    launches = output.split("/accelerate launch ")[1:]
    assert len(launches) == 6
    # --resources gpu=4 on a machine without any
    assert output.count("no GPU is visible, it trains on the CPU") == 6
    for run_id in checkout.records():
        assert sum(f"--id={run_id}" in line.split("\n")[0] for line in launches) == 1
        log = (checkout.study / "logs" / f"{run_id}.log").read_text()
        assert "accelerate launch" in log
        assert f"{run_id}: completed, loss" in log
        assert (checkout.study / "benchmarks" / f"{run_id}.tsv").exists()


def test_nothing_is_left_behind(trained):
    checkout, _ = trained
    left = [path for path in checkout.study.rglob("*") if path.name.endswith(".tmp")]
    assert left == []
    assert list((checkout.study / "state").glob("*/record.json")) == []  # merged, so cleared


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.succeed("--cores", "2")


def test_the_plan_is_shown_each_time_it_is_asked_for_and_trains_nothing(checkout):
    for _ in range(2):
        output = checkout.succeed("plan")
        assert "6 experiments at 2 budgets" in output
        assert "tokens" not in output  # its unit is a sample
        assert not (checkout.study / "runs").exists()
