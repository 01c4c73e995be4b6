"""plan.csv, specs.json and plan.log hold what was planned."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict

from flops_fit.plan.files import plan_csv, plan_specs, read_experiment, read_plan
from flops_fit.plan.summary import plan_headline, plan_summary
from flops_fit.user_code.dataset_meta import DatasetMeta
from hand_computed import SPEC_OF_400, dataset_meta, planned, small_study


def test_plan_csv_holds_exactly_what_was_planned(tmp_path):
    plan = planned({"train.lr": [1 / 3, 0.1], "model.sizes": [70.5, 100, 200]})
    file = tmp_path / "plan.csv"
    file.write_text(plan_csv(plan), encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert list(rows[0]) == [
        "id", "budget", "size", "n_params", "n_params_non_embedding", "flops_per_unit", "D",
        "steps", "C", "units_per_param", "epochs", "seed", "lr", "batch", "processes",
    ]  # fmt: skip
    assert len(rows) == len(plan.experiments) == 6
    for row, experiment in zip(rows, plan.experiments, strict=True):
        assert row.pop("id") == experiment.id
        for name, text in row.items():
            assert float(text) == getattr(experiment, name), name
    # whole numbers as such
    assert (rows[2]["size"], rows[2]["D"], rows[2]["processes"]) == ("100", "10000", "1")
    assert read_plan(file) == list(plan.experiments)


def test_numbers_that_are_read_are_of_the_type_that_was_planned(tmp_path):
    plan = planned({"model.sizes": [70.5, 100, 200]})
    file = tmp_path / "plan.csv"
    file.write_text(plan_csv(plan), encoding="utf-8")
    for read, experiment in zip(read_plan(file), plan.experiments, strict=True):
        types = [list(map(type, asdict(row).values())) for row in (read, experiment)]
        assert types[0] == types[1]


def test_one_experiment_is_looked_up_in_the_newest_plan(tmp_path):
    file = tmp_path / "plan.csv"
    for changes in ({}, {"train.processes": 2}):
        plan = planned(changes)
        file.unlink(missing_ok=True)
        file.write_text(plan_csv(plan), encoding="utf-8")
        for row in plan.experiments:
            assert read_experiment(file, row.id) == row


def test_plan_csv_ends_its_lines_as_unix_does():
    text = plan_csv(planned())
    assert "\r" not in text
    assert text.endswith("\n")
    assert len(list(csv.reader(io.StringIO(text)))) == 5


def test_specs_hold_what_the_trainer_needs():
    changes = {"train.processes": 2, "train.compile": True, "train.checkpoint_minutes": 2}
    plan = planned(changes)
    specs = plan_specs(
        plan, small_study(changes), data_folder="results/data/x", search_folder="studies"
    )
    assert list(specs) == [row.id for row in plan.experiments]
    row = plan.experiments[-1]
    assert specs[row.id] == {
        "spec": SPEC_OF_400, "study": "small", "unit": "token", "budget": 6e6, "n_params": 1400,
        "n_params_non_embedding": 400, "flops_per_unit": 2400.0, "steps": 250, "processes": 2,
        "compile": True, "find_unused_parameters": False, "accelerate_config": None,
        "checkpoint_minutes": 2, "keep_checkpoint": False,
        "data_folder": "results/data/x", "search_folder": "studies",
    }  # fmt: skip
    assert json.loads(json.dumps(specs)) == specs


def test_the_summary_shows_cost_and_what_was_dropped():
    plan = planned({"model.sizes": [20, 50, 100, 200], "plan.seeds": [0, 1]}, units_train=5000)
    text = plan_summary(plan)
    assert text.splitlines()[0] == "Plan of the study small"
    shown = [line.split() for line in text.splitlines() if line.startswith(" " * 9 + "6e+06")]
    assert shown == [  # one line per size, whatever the seeds; N, D, D/N, steps, epochs
        ["6e+06", "50", "50", "20,000", "400", "2,000", "4.00"],
        ["6e+06", "100", "100", "10,000", "100", "1,000", "2.00"],
        ["6e+06", "200", "200", "5,000", "25", "500", "1.00"],
    ]
    assert "4 experiments repeat training data" in text
    assert "  budget 6e+06, size 20: D/N = 2.5e+03 is outside of" in text
    assert text.splitlines()[-1] == plan_headline(plan)
    assert plan_headline(plan) == (
        "6 experiments at 1 budgets, 3.600e+07 training FLOPs in total, 1 combinations dropped"
    )


def test_dataset_meta_is_read_as_prepare_wrote_it(tmp_path):
    meta = dataset_meta(kwargs={"length": 3}, version="b")
    file = tmp_path / "meta.json"
    stored = {name: getattr(meta, name) for name in DatasetMeta.__slots__}
    file.write_text(json.dumps({**stored, "more": 1}), encoding="utf-8")
    assert DatasetMeta.load(file) == meta
