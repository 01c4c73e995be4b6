"""What `flops-fit explain` says of a study that Snakemake ran, and of a plan that has changed."""

from __future__ import annotations

import csv
import json
import re

import pytest
from checkout import Checkout
from flops_fit.cli import main


@pytest.fixture
def explain(capsys, monkeypatch):
    def run(checkout: Checkout, *arguments: str) -> str:
        monkeypatch.chdir(checkout.path)
        assert main(["explain", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_each_experiment_is_explained_with_what_it_was_trained_with(trained, explain):
    checkout, _ = trained
    rows = {row["id"]: row for row in csv.DictReader((checkout.study / "plan.csv").open())}
    for run_id, record in checkout.records().items():
        said = explain(checkout, run_id)
        assert re.search(rf"size +width = {rows[run_id]['size']}\n", said)
        assert re.search(rf"loss +{record['loss']:.6g} \+- {record['loss_std_err']:.2g} nats", said)
        assert re.search(rf"C +{re.escape(format(record['C'], '.6g'))} FLOPs\n", said)
        assert re.search(r"state +done\n", said)
        assert re.search(rf"record +results/tiny/runs/{run_id}\.json\n", said)
        for name in ("python", "torch", "accelerate", "start", "end"):
            assert re.search(rf"  {name} +{re.escape(record['provenance'][name])}[\n ]", said)
        assert re.search(rf"  content_fingerprint +{record['spec']['dataset']['content']} ", said)
    first, second, *_ = checkout.records()
    said = explain(checkout, first, second)
    a, b = (checkout.records()[run_id]["loss"] for run_id in (first, second))
    assert re.search(rf"  loss +{a:.6g} +{b:.6g} +\{b - a:+.4g}\n", said)


def test_a_trained_experiment_that_is_planned_no_more_is_explained(finished, explain):
    rows = csv.DictReader((finished.study / "plan.csv").open())
    of_first = [row["id"] for row in rows if float(row["budget"]) == 2e6]
    finished.configure(lambda config: config["plan"].update(budgets=[4e6]))
    finished.succeed("plan", "--cores", "1")
    specs = json.loads((finished.study / "specs.json").read_text())
    assert not set(of_first) & set(specs)
    said = explain(finished, of_first[0])
    assert re.search(r"state +done\n", said)
    assert "planned no more: the plan of results/tiny does not name it\n" in said
    assert re.search(r"\n  lr_scaling.power +0.0 ", said)
    assert "planned no more" not in explain(finished, next(iter(specs)))
