"""`snakemake simulate` tries a plan out, says so everywhere, and touches nothing else."""

from __future__ import annotations

import csv
import json

import pytest
from checkout import Checkout, jobs_of
from quick_design import make_design

OPTIONS = ("--cores", "2", "--config")


def simulate(checkout: Checkout, **options) -> tuple[str, dict]:
    """Simulate with few studies; return what was printed, and the summary as data."""
    keys = {"studies": 6, **options}
    output = checkout.succeed("simulate", *OPTIONS, f"simulate={json.dumps(keys)}")
    folder = checkout.study / "simulated"
    assert sorted(path.name for path in folder.iterdir()) == [
        "studies.csv",
        "summary.json",
        "summary.md",
    ]
    return output, json.loads((folder / "summary.json").read_text())


def contents(checkout: Checkout) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file of the study that no simulation writes."""
    files = [path for path in checkout.study.rglob("*") if path.is_file()]
    own = {checkout.study / "logs" / "simulate.log", checkout.study / "run.lock"}
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path not in own and path.parent.name != "simulated"
    }


def assert_says_so(checkout: Checkout, output: str) -> None:
    folder = checkout.study / "simulated"
    assert all("SIMULATED" in path.read_text().splitlines()[0] for path in folder.glob("*.md"))
    rows = list(csv.reader((folder / "studies.csv").open()))
    assert all(name.startswith("SIMULATED_") for name in rows[0])
    assert json.loads((folder / "summary.json").read_text())["SIMULATED"] is True
    assert (folder / "summary.md").read_text() in output
    shown = output.split("# SIMULATED")[1]
    assert "SIMULATED studies, one a row" in shown


def test_a_grid_is_simulated_and_its_plan_stays_as_it_is(checkout):
    checkout.succeed("plan", "--cores", "1")
    before = contents(checkout)
    output, found = simulate(checkout)
    assert contents(checkout) == before
    assert not (checkout.study / "runs").exists()
    assert jobs_of(output) == 0
    assert_says_so(checkout, output)
    (trial,) = found["trials"]
    planned = list(csv.DictReader((checkout.study / "plan.csv").open()))
    assert trial["experiments"] == len(planned)
    assert trial["spent"] == pytest.approx(sum(float(row["C"]) for row in planned))
    assert found["target"] == 1e8  # the largest of predict.budgets
    assert trial["studies"] == 6
    texts = {path.name: path.read_text() for path in (checkout.study / "simulated").iterdir()}
    simulate(checkout)
    assert texts == {
        path.name: path.read_text() for path in (checkout.study / "simulated").iterdir()
    }
    # Nothing was said of a training that nobody asked for
    assert "next:" not in output


def test_a_grid_has_no_other_spends_and_a_stated_law_is_the_one_that_is_drawn_from(checkout):
    refused = checkout.refuse("simulate", *OPTIONS, "simulate={spends: [1e6, 1e7]}")
    assert "config/studies/tiny.yaml: simulate.spends: found with a grid" in refused
    truth = {"E": 1, "A": 20, "B": 60, "alpha": 0.35, "beta": 0.37, "noise": 0.01}
    checkout.configure(lambda config: config["plan"].update(truth=truth))
    _, found = simulate(checkout)
    drawn = found["trials"][0]["truth"]
    assert {name: drawn[name] for name in truth} == pytest.approx(truth)


def test_a_design_is_simulated_at_several_spends_without_a_round_being_planned(checkout):
    make_design(checkout)
    output, found = simulate(checkout, spends=[2e9, 8e9])
    assert_says_so(checkout, output)
    for name in ("plan.csv", "specs.json", "runs", "rounds"):
        assert not (checkout.study / name).exists()
    small, large = found["trials"]
    assert (small["spend"], large["spend"]) == (2e9, 8e9)
    assert small["spent"] < 2e9
    assert small["rounds"] >= 4
    for said in ("answer", "if_form_is_exact"):
        assert large[said]["log N_opt"]["half"] < small[said]["log N_opt"]["half"]
    assert small["if_form_is_exact"]["log N_opt"]["half"] == pytest.approx(
        small["foreseen"]["if_form_is_exact"]["log N_opt"], rel=0.5
    )


def test_a_spend_that_holds_no_pilot_ends_in_a_sentence(checkout):
    make_design(checkout, spend=1e4)
    refused = checkout.refuse("simulate", "--cores", "1")
    assert "error: config/studies/tiny.yaml: plan" in refused
    assert "budgets" in refused


def test_a_study_that_brings_its_own_runs_has_nothing_to_simulate(checkout):
    table = checkout.path / "config" / "studies" / "own.csv"
    table.write_text("N,D,C,loss\n1,1,6,3\n")
    text = "study: tiny\nruns_table: own.csv\n"
    checkout.config_file.write_text(text)
    refused = checkout.refuse("simulate", "--cores", "1")
    assert "a study that brings its own runs has nothing to plan or train" in refused
