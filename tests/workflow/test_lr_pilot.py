"""A study whose learning rates are decided by a pilot, for real: waves, decision, sweep."""

from __future__ import annotations

import csv
import json

import pytest
import quick_design
from checkout import jobs_of
from quick_design import design, make_design

RESOURCES = ("--cores", "2", "--resources", "gpu=4")


def one_budget(config: dict) -> None:
    config["plan"] |= {"budgets": [2e6], "lr_pilot": True}
    # At the larger of the two sizes the best rate is a third of this one.
    config["train"]["lr"] = 0.09


def rows_of(file) -> list[dict[str, str]]:
    with open(file, newline="") as text:
        return list(csv.DictReader(text))


def test_a_pilot_decides_the_rates_of_the_sweep_and_stays(checkout):
    checkout.configure(one_budget)
    pilot = checkout.study / "lr_pilot"
    output = checkout.succeed("plan", "--cores", "2")
    assert "Learning-rate pilot, before the sweep: 6 experiments at 1 budgets" in output
    assert "tiny, learning-rate pilot: 6 experiments: 0 done" in output
    assert not (pilot / "runs").exists()

    output = checkout.succeed("runs", *RESOURCES)
    waves = [rows_of(pilot / "waves" / f"{number}.csv") for number in range(3)]
    assert [len(rows) for rows in waves] == [6, 1, 0]
    assert waves[1][0]["factor"] == repr(1 / 9)  # beyond the lower end, where the minimum was not
    assert jobs_of(output, "train_pilot") == 7
    assert jobs_of(output) == 3
    decision = json.loads((pilot / "decision.json").read_text())["decision"]
    rule = decision["rule"]
    for row in rows_of(checkout.study / "plan.csv"):
        N = float(row["n_params_non_embedding"])
        expected = 0.09 * rule["base"] * (N / rule["n"]) ** rule["power_n"]
        assert float(row["lr"]) == pytest.approx(expected, rel=1e-5)
    # The best rate of each size beats the other rates that were tried there.
    for one in decision["optima"]:
        assert one["edge"] is None
    assert "**Learning rate of the sweep: train.lr * " in (pilot / "decision.md").read_text()
    records = checkout.records()
    assert set(records) == {row["id"] for row in rows_of(checkout.study / "plan.csv")}

    assert "Nothing to be done" in checkout.succeed("runs", *RESOURCES)
    # A budget more: the pilot and what is trained stay.
    checkout.configure(lambda config: (one_budget(config), config["plan"]["budgets"].append(4e6)))
    output = checkout.succeed("plan", "--cores", "2")
    assert "6 experiments at 2 budgets" in output
    assert jobs_of(output, "train_pilot") == 0
    assert set(records) < {row["id"] for row in rows_of(checkout.study / "plan.csv")}
    assert json.loads((pilot / "decision.json").read_text())["decision"] == decision


LOSS = "loss = 1.5 + 20 / N**0.35 + 60 / D**0.37"
# The best rate falls with the root of N, and rates that are off by a factor of e cost 5%.
LOSS_BY_LR = (
    LOSS + "\nloss *= math.exp(0.05 * math.log(job.spec.lr / (0.02 * (N / 100) ** -0.5)) ** 2)"
)


def test_a_design_gets_its_rates_from_a_pilot_whose_drift_is_known(checkout, monkeypatch):
    assert LOSS in quick_design.QUICK_TRAINER
    trainer = quick_design.QUICK_TRAINER.replace(LOSS, LOSS_BY_LR)
    monkeypatch.setattr(quick_design, "QUICK_TRAINER", trainer)
    make_design(checkout, lr_pilot=True)
    pilot = checkout.study / "lr_pilot"
    assert "Learning-rate pilot, before the sweep: 12 exp" in checkout.succeed("plan", *RESOURCES)
    assert not (checkout.study / "rounds").exists()

    output = checkout.succeed("runs", *RESOURCES)
    assert jobs_of(output, "train_pilot") == len(list((pilot / "runs").glob("*.json")))
    decision = json.loads((pilot / "decision.json").read_text())["decision"]
    assert decision["power_n"][0] == pytest.approx(-0.5, abs=0.03)
    assert decision["rule"]["power_d"] == 0  # none is there, so none is left
    planned = rows_of(checkout.study / "plan.csv")
    assert len(planned) > 20
    for row in planned:
        best = 0.02 * (float(row["n_params_non_embedding"]) / 100) ** -0.5
        assert float(row["lr"]) == pytest.approx(best, rel=0.15)
    assert set(checkout.records()) == {row["id"] for row in planned}
    assert "Nothing to be done" in checkout.succeed("runs", *RESOURCES)

    # More to spend: the pilot stays, and the rounds so far as well.
    design(checkout, lr_pilot=True, spend=3e9)
    output = checkout.succeed("runs", *RESOURCES)
    assert jobs_of(output, "train_pilot") == 0
    before, after = {row["id"] for row in planned}, set(checkout.records())
    assert before <= after
    assert jobs_of(output) == len(after - before)
    assert json.loads((pilot / "decision.json").read_text())["decision"] == decision
