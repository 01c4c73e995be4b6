"""The experiment grid against sums done by hand, and ids that mean one experiment for ever."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import flops_fit
import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.plan import plan as plan_module
from flops_fit.plan.plan import (
    DatasetMeta,
    make_plan,
    plan_csv,
    plan_headline,
    plan_specs,
    plan_summary,
    read_plan,
    spread_evenly,
)
from flops_fit.study.study import Study
from hand_computed import FILE, SMALL, changed, dataset_meta, measures, small_study

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent


def make(changes: dict | None = None, **meta):
    study = small_study(changes)
    return make_plan(study, measures(study), dataset_meta(**meta))


def ids(changes: dict | None = None, **meta) -> set[str]:
    return {row.id for row in make(changes, **meta).experiments}


def refusal(changes: dict, **meta) -> str:
    with pytest.raises(UserError) as caught:
        make(changes, **meta)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The grid ----------------------------------------------------------------------------------------


def test_every_number_of_a_plan_by_hand():
    """C = 6 N D = 6e6, so D = 1e6 / N, in steps of 10."""
    plan = make({"train.processes": 2}, units_train=5000)
    assert (plan.study, plan.unit, plan.dropped) == ("small", "token", ())
    found = [
        (r.budget, r.size, r.n_params, r.n_params_non_embedding, r.flops_per_unit, r.D, r.steps,
         r.C, r.units_per_param, r.epochs, r.seed, r.lr, r.batch, r.processes)
        for r in plan.experiments
    ]  # fmt: skip
    assert found == [
        (6e6, 50, 1050, 50, 300, 20_000, 2000, 6e6, 400, 4, 0, 0.01, 10, 2),
        (6e6, 100, 1100, 100, 600, 10_000, 1000, 6e6, 100, 2, 0, 0.01, 10, 2),
        (6e6, 200, 1200, 200, 1200, 5000, 500, 6e6, 25, 1, 0, 0.01, 10, 2),
        (6e6, 400, 1400, 400, 2400, 2500, 250, 6e6, 6.25, 0.5, 0, 0.01, 10, 2),
    ]
    for row in plan.experiments:
        assert (row.spec.D, row.spec.size) == (row.D, row.size)
        assert [type(n) for n in (row.D, row.steps, row.batch)] == [int, int, int]


def test_larger_models_may_have_more_processes():
    """By the total count, which is N + 1000 here; the ids do not know of it."""
    steps = [{"from_params": 0, "processes": 1}, {"from_params": 1200, "processes": 2}]
    plan = make({"train.processes": steps})
    assert [(row.n_params, row.processes) for row in plan.experiments] == [
        (1050, 1), (1100, 1), (1200, 2), (1400, 2),
    ]  # fmt: skip
    assert [row.id for row in plan.experiments] == [row.id for row in make().experiments]


def test_whole_steps_decide_what_is_spent():
    """N = 300: 1e6 / 300 / 10 = 333.3 steps; N = 70: 1428.6 steps."""
    rows = {row.size: row for row in make({"model.sizes": [70, 150, 300]}).experiments}
    assert (rows[300].steps, rows[300].D, rows[300].C) == (333, 3330, 6 * 300 * 3330)
    assert (rows[70].steps, rows[70].D, rows[70].C) == (1429, 14_290, 6 * 70 * 14_290)


def test_budgets_learning_rates_and_seeds_multiply():
    changes = {
        "model.sizes": [100, 200, 400],
        "plan.budgets": [12e6, 6e6],
        "plan.seeds": [1, 0],
        "train.lr": {6e6: [0.2, 0.1], 12e6: 0.3},
        "train.batch": {6e6: 10, 12e6: 20},
    }
    rows = make(changes).experiments
    assert [(r.budget, r.size, r.lr, r.seed, r.batch, r.steps) for r in rows] == [
        *((6e6, n, lr, seed, 10, 100_000 // n)
          for n in (100, 200, 400) for lr in (0.1, 0.2) for seed in (1, 0)),
        *((12e6, n, 0.3, seed, 20, 100_000 // n) for n in (100, 200, 400) for seed in (1, 0)),
    ]  # fmt: skip
    assert len({row.id for row in rows}) == len(rows) == 18


def test_sizes_beyond_the_wanted_number_are_dropped():
    changes = {"model.sizes": [50, 60, 100, 200, 380, 400], "plan.sizes_per_budget": 4}
    plan = make(changes)
    assert [row.size for row in plan.experiments] == [50, 100, 200, 400]
    assert [(row.budget, row.size, row.reason) for row in plan.dropped] == [
        (6e6, 60, "more sizes than plan.sizes_per_budget (4)"),
        (6e6, 380, "more sizes than plan.sizes_per_budget (4)"),
    ]


def test_combinations_that_cannot_be_trained_are_dropped_with_the_reason():
    # D / N = 1e6 / N^2: 2500 at N = 20 and 0.25 at N = 2000, of which only 50 steps remain
    plan = make({"model.sizes": [20, 50, 100, 200, 1000, 2000]})
    assert [row.size for row in plan.experiments] == [50, 100, 200]
    assert {row.size: row.reason for row in plan.dropped} == {
        20: "D/N = 2.5e+03 is outside of tokens_per_param [3, 450]",
        1000: "D/N = 1 is outside of tokens_per_param [3, 450]",
        2000: "50 steps of 10 units are fewer than min_steps 100",
    }


@pytest.mark.parametrize(
    ("key", "kept", "dropped"),
    [
        # 250 steps at N = 400
        ("plan.min_steps", 250, 251),
        # D / N from 6.25 to 400
        ("plan.tokens_per_param", [6.25, 400], [6.26, 400]),
        ("plan.tokens_per_param", [3, 400], [3, 399.9]),
    ],
)
def test_the_bounds_themselves_are_feasible(key, kept, dropped):
    assert len(make({key: kept}).experiments) == 4
    assert len(make({key: dropped}).experiments) == 3


def test_a_budget_missed_by_more_than_one_percent_is_dropped():
    """Steps of 200 units at N = 102: 49.02 of them, so 49 miss by 0.04%; at N = 97, 51.55: 0.87%.

    At N = 220, 22.73 steps become 23, which is 1.2% more.
    """
    changes = {"model.sizes": [97, 100, 102, 220], "train.batch": 200, "plan.min_steps": 1}
    plan = make(changes)
    assert [row.size for row in plan.experiments] == [97, 100, 102]
    assert {row.size: row.reason for row in plan.dropped} == {
        220: "whole steps miss the budget by +1.2%, more than 1%"
    }
    assert max(abs(row.C / row.budget - 1) for row in plan.experiments) < 0.01


def test_measured_flops_and_6nd_plan_by_their_own_account():
    study = small_study({"model.sizes": [50, 100, 200]})
    measured = {
        size: SimpleNamespace(n_params=size, n_params_non_embedding=size, flops_per_unit=8.0 * size)
        for size in study.model.sizes
    }
    rows = make_plan(study, measured, dataset_meta()).experiments
    assert [(r.flops_per_unit, r.D, r.C) for r in rows] == [
        (400, 15_000, 6e6), (800, 7500, 6e6), (1600, 3750, 6e6),
    ]  # fmt: skip
    study = small_study({"model.sizes": [50, 100, 200], "plan.flops": "6ND"})
    rows = make_plan(study, measured, dataset_meta()).experiments
    assert [(r.flops_per_unit, r.D, r.C) for r in rows] == [
        (300, 20_000, 6e6), (600, 10_000, 6e6), (1200, 5000, 6e6),
    ]  # fmt: skip


def test_the_choice_of_n_for_the_fit_changes_no_plan():
    assert make({"fit.params": "total"}).experiments == make().experiments


@pytest.mark.parametrize(
    ("changes", "reasons", "remedies"),
    [
        (
            {"plan.min_steps": 1001},
            ["fewer than min_steps"],
            "lower plan.min_steps or train.batch",
        ),
        (
            {"plan.tokens_per_param": [3, 30]},
            ["outside of tokens_per_param"],
            "widen plan.tokens_per_param",
        ),
        (
            {"plan.min_steps": 1, "train.batch": 3500, "plan.tokens_per_param": [1, 1000]},
            ["miss the budget"],
            "lower train.batch",
        ),
        (
            {"plan.min_steps": 400, "plan.tokens_per_param": [3, 30]},
            ["fewer than min_steps", "outside of tokens_per_param"],
            "lower plan.min_steps or train.batch, widen plan.tokens_per_param",
        ),
    ],
)
def test_too_few_sizes_name_what_would_help(changes, reasons, remedies):
    message = refusal(changes)
    assert message.startswith(f"{FILE}: plan.budgets: the budget 6e+06 is left with ")
    assert "of the 4 sizes, expected at least 3; add model.sizes in between or around, " in message
    assert f"or around, {remedies}, or change the budget. Dropped: " in message
    for reason in reasons:
        assert reason in message


def test_a_size_parameter_that_changes_nothing_is_refused():
    """A model with **kwargs swallows a misspelt size parameter: every size is the same model."""
    study = small_study()
    same = SimpleNamespace(n_params=9, n_params_non_embedding=100, flops_per_unit=600.0)
    with pytest.raises(UserError) as caught:
        make_plan(study, dict.fromkeys(study.model.sizes, same), dataset_meta())
    assert str(caught.value) == (
        f"{FILE}: model.size_param: the 4 sizes of 'width' have 1 different parameter counts "
        "between them, expected at least 3; mine:Model seems to ignore 'width'"
    )


@pytest.mark.parametrize(("batch", "advice"), [(12, 10), (4, 5), (5001, 5000)])
def test_a_batch_of_broken_samples_is_refused(batch, advice):
    assert refusal({"train.batch": batch}) == (
        f"{FILE}: train.batch: found {batch} units at the budget 6e+06, expected a multiple of the "
        f"5 units of a sample, such as {advice}"
    )


def test_a_batch_with_less_than_a_sample_per_process_is_refused():
    assert len(make({"train.processes": 2}).experiments) == 4
    steps = [{"from_params": 0, "processes": 1}, {"from_params": 1200, "processes": 3}]
    assert refusal({"train.processes": steps}) == (
        f"{FILE}: train.batch: 10 units are 2 samples, expected at least one for each of the 3 "
        "processes (train.processes) of a model of 1200 parameters"
    )


def test_budgets_so_close_that_they_are_one_are_refused():
    message = refusal({"plan.budgets": [6e6, 6.0001e6]})
    assert "plan.budgets: 6e+06 and 6.0001e+06 are so close that size 50 is the same" in message


# Spread ------------------------------------------------------------------------------------------


def brute_force(positions: list[float], count: int) -> tuple[float, list[tuple[int, ...]]]:
    """Least sum of squared distances over every subset in every order, and the subsets with it."""
    targets = np.linspace(min(positions), max(positions), count)
    costs: dict[tuple[int, ...], float] = {}
    for subset in itertools.combinations(range(len(positions)), count):
        chosen = np.array([positions[i] for i in subset])
        costs[subset] = min(
            float(((chosen[list(order)] - targets) ** 2).sum())
            for order in itertools.permutations(range(count))
        )
    least = min(costs.values())
    return least, [subset for subset, cost in costs.items() if cost <= least + 1e-12]


@pytest.mark.parametrize(("n", "count"), [(4, 3), (6, 3), (7, 4), (8, 4), (7, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_the_spread_is_the_best_of_all_subsets(n, count, seed):
    rng = np.random.default_rng((n, count, seed))
    positions = np.sort(rng.uniform(0, 5, n)).tolist()
    sizes = rng.permutation(n)  # a size's rank is no clue to its N
    chosen = spread_evenly({int(size): positions[size] for size in sizes}, count)
    _, best = brute_force(positions, count)
    assert tuple(chosen) in best
    assert (chosen[0], chosen[-1]) == (0, n - 1)


def test_spread_of_a_known_case():
    """Of 1, 2, 4, ..., 256 every second is what an even spread of five takes."""
    log_n = {size: math.log(size) for size in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
    assert spread_evenly(log_n, 5) == [1, 4, 16, 64, 256]
    assert spread_evenly(log_n, 9) == spread_evenly(log_n, 20) == list(log_n)
    # Targets 0, 5, 10, 15, 20: squares 0 + 1 + 25 + 9 + 0 make 35; 0, 3, 4, 15, 20 make 40,
    # though its distances sum to less (8 against 9).
    positions = [0.0, 2.0, 3.0, 4.0, 15.0, 18.0, 20.0]
    assert spread_evenly({p: p for p in positions}, 5) == [0, 4, 15, 18, 20]


def test_the_spread_goes_by_n_and_not_by_size():
    assert spread_evenly({1: 3.0, 2: 2.0, 3: 1.0}, 5) == [3, 2, 1]


# Ids ---------------------------------------------------------------------------------------------


SPEC = {
    "recipe": plan_module.RECIPE_VERSION,
    "model": {"target": "mine:Model", "kwargs": {}, "version": 1, "size_param": "width"},
    "size": 400,
    "dataset": {
        "target": "mine:Data",
        "kwargs": {},
        "version": 1,
        "content": "0123456789ab",
        "units_per_sample": 5,
    },
    "loss": {"target": "mine:loss", "version": 1},
    "D": 2500,
    "batch": 10,
    "lr": 0.01,
    "lr_scaling": {"power": 0.0, "reference_size": 1.0, "apply": "none"},
    "optimizer": {"target": "adamw", "version": 1},
    "weight_decay": 0.1,
    "warmup_fraction": 0.1,
    "grad_clip": 1.0,
    "schedule": "cosine",
    "final_lr_fraction": 0.1,
    "precision": "no",
    "eval_units": 1000,  # the validation split holds no more
    "seed": 0,
}


def test_an_id_is_the_hash_of_all_that_changes_the_outcome():
    """Whoever adds a field here has every experiment of every study trained anew: mean it."""
    row = make().experiments[-1]
    assert row.spec.to_json() == SPEC
    text = json.dumps(SPEC, sort_keys=True, separators=(",", ":"))
    assert row.id == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert re.fullmatch("[0-9a-f]{12}", row.id)  # what the workflow's wildcard matches


@pytest.mark.parametrize(
    "changes",
    [
        {"model.target": "mine:Other"},
        {"model.size_param": "depth"},
        {"model.kwargs": {"heads": 2}},
        {"model.version": 2},
        {"dataset.target": "mine:Other"},
        {"dataset.kwargs": {"length": 3}},
        {"dataset.version": 2},
        {"loss": "mine:other"},
        {"loss": {"target": "mine:loss", "version": 2}},
        {"plan.budgets": [6.3e6]},
        {"plan.seeds": [1]},
        {"train.batch": 20},
        {"train.lr": 0.02},
        {"train.lr_scaling.power": -1},
        {"train.lr_scaling": {"power": -1, "reference_size": 32}},
        {"train.lr_scaling": {"power": -1, "apply": "all"}},
        {"train.optimizer": "mine:optimizer"},
        {"train.optimizer": {"target": "mine:optimizer", "version": 2}},
        {"train.weight_decay": 0.2},
        {"train.warmup_fraction": 0.2},
        {"train.grad_clip": 2},
        {"train.grad_clip": None},
        {"train.schedule": "constant"},
        {"train.final_lr_fraction": 0.2},
        {"train.precision": "bf16"},
        {"train.eval_units": 100},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_whatever_changes_the_outcome_changes_every_id(changes):
    changes = {"plan.min_steps": 1, **changes}
    assert len(ids(changes)) == 4
    assert ids(changes).isdisjoint(ids({"plan.min_steps": 1}))


def test_an_optimizer_of_another_version_is_another_optimizer():
    one, two = ({"target": "mine:optimizer", "version": version} for version in (1, 2))
    assert ids({"train.optimizer": one}).isdisjoint(ids({"train.optimizer": two}))
    assert ids({"train.optimizer": one}) == ids({"train.optimizer": "mine:optimizer"})


@pytest.mark.parametrize("meta", [{"content_fingerprint": "f" * 12}, {"units_per_sample": 10}])
def test_other_data_give_other_ids(meta):
    assert ids(**meta).isdisjoint(ids())


def test_another_recipe_gives_other_ids(monkeypatch):
    before = ids()
    monkeypatch.setattr(plan_module, "RECIPE_VERSION", plan_module.RECIPE_VERSION + 1)
    assert ids().isdisjoint(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "renamed"},
        {"plan.budgets": ["6.0e+6"]},
        {"plan.budgets": [6.00001e6]},  # the same whole number of steps
        {"plan.sizes_per_budget": 9},
        {"plan.min_steps": 1},
        {"plan.tokens_per_param": [1, 1000]},
        {"plan.flops": "6ND"},  # here the same number
        {"model.sizes": ["4e2", 200.0, 100, "50"]},
        {"model.version": "1"},
        {"dataset.kwargs": {}},
        {"loss": {"target": "mine:loss"}},
        {"train.batch": {"6e6": "10"}},
        {"train.lr": {6e6: ["1e-2"]}},
        {"train.lr_scaling": {"power": 0, "reference_size": "1", "apply": "matrices"}},
        {"train.precision": False},
        {"train.processes": 2},
        {"train.compile": True},
        {"train.accelerate_config": str(ACCELERATE_CONFIG)},
        {"train.checkpoint_minutes": 1e-3},
        {"train.find_unused_parameters": True},
        {"train.checkpoint_minutes": None},
        {"train.keep_checkpoint": True},
        {"fit.params": "total", "fit.exclude": ["x"], "predict.budgets": [1e12]},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_whatever_changes_nothing_keeps_every_id(changes):
    assert ids(changes) == ids()


def test_what_prepare_counted_keeps_every_id():
    assert ids(unit="image", units_train=7) == ids()


@pytest.mark.parametrize(
    "changes",
    [
        {"train.eval_units": 1_000},
        {"train.eval_units": 1_000_000},
        {"train.lr_scaling": {"power": 0, "reference_size": 7, "apply": "all"}},
        {"train.lr_scaling": {"power": -1, "reference_size": 7, "apply": "none"}},
    ],
)  # fmt: skip
def test_what_cannot_change_the_outcome_keeps_every_id(changes):
    """The validation split holds 1000 units; a scaling with power 0, or of nothing, is none."""
    assert ids(changes) == ids()


def test_a_constant_schedule_has_no_final_learning_rate():
    constant = {"train.schedule": "constant"}
    assert ids({**constant, "train.final_lr_fraction": 0.3}) == ids(constant) != ids()


@pytest.mark.parametrize(
    "changes",
    [
        {"plan.budgets": [3e6, 6e6, 12e6]},
        {"plan.seeds": [5, 0]},
        {"train.lr": [0.001, 0.01, 0.1]},
    ],
)  # fmt: skip
def test_more_experiments_rename_none(changes):
    """An extension of a sweep trains what is new and nothing else."""
    assert ids() < ids(changes)


def test_ids_do_not_depend_on_the_process_or_on_the_order_of_keys():
    code = """
import json, sys
from hand_computed import dataset_meta, measures
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study

study = Study.from_config(json.loads(sys.argv[1]), "elsewhere/other.yaml")
print(" ".join(row.id for row in make_plan(study, measures(study), dataset_meta()).experiments))
"""
    config = changed(SMALL, {"model.kwargs": {"a": 1, "b": {"c": 2, "d": 3}}})
    study = Study.from_config(config, FILE)
    plan = make_plan(study, measures(study), dataset_meta())
    expected = [row.id for row in plan.experiments]

    def backwards(node):
        if isinstance(node, dict):
            return {key: backwards(value) for key, value in reversed(node.items())}
        return node

    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(backwards(config))],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": f"{WORKFLOW}{os.pathsep}{Path(__file__).parents[2]}",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == expected


def test_the_trainer_reads_every_field_of_a_spec():
    """A field that is hashed and then ignored would retrain for nothing.

    All but the recipe, which is the trainer itself, and the versions, which exist to be changed.
    """
    read = set()
    for room in ("user_code", "train"):
        for file in (WORKFLOW / "flops_fit" / room).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and re.search(
                    r"\bspec\.\w+$", ast.unparse(node)
                ):
                    read.add(node.attr)
    assert read - {"to_json"} == set(SPEC) - {"recipe"}


# Files -------------------------------------------------------------------------------------------


def test_plan_csv_holds_exactly_what_was_planned(tmp_path):
    plan = make({"train.lr": [1 / 3, 0.1], "model.sizes": [70.5, 100, 200]})
    file = tmp_path / "plan.csv"
    file.write_text(plan_csv(plan), encoding="utf-8")
    rows = read_plan(file)
    assert list(rows[0]) == [
        "id", "budget", "size", "n_params", "n_params_non_embedding", "flops_per_unit", "D",
        "steps", "C", "units_per_param", "epochs", "seed", "lr", "batch", "processes",
    ]  # fmt: skip
    assert len(rows) == len(plan.experiments) == 6
    for row, planned in zip(rows, plan.experiments, strict=True):
        assert row.pop("id") == planned.id
        for name, text in row.items():
            assert float(text) == getattr(planned, name), name
    # whole numbers as such
    assert (rows[2]["size"], rows[2]["D"], rows[2]["processes"]) == ("100", "10000", "1")


def test_plan_csv_ends_its_lines_as_unix_does():
    text = plan_csv(make())
    assert "\r" not in text
    assert text.endswith("\n")
    assert len(list(csv.reader(io.StringIO(text)))) == 5


def test_specs_hold_what_the_trainer_needs():
    changes = {"train.processes": 2, "train.compile": True, "train.checkpoint_minutes": 2}
    plan = make(changes)
    specs = plan_specs(
        plan, small_study(changes), data_folder="results/data/x", search_folder="studies"
    )
    assert list(specs) == [row.id for row in plan.experiments]
    row = plan.experiments[-1]
    assert specs[row.id] == {
        "spec": SPEC, "study": "small", "unit": "token", "budget": 6e6, "n_params": 1400,
        "n_params_non_embedding": 400, "flops_per_unit": 2400.0, "steps": 250, "processes": 2,
        "compile": True, "find_unused_parameters": False, "accelerate_config": None,
        "checkpoint_minutes": 2, "keep_checkpoint": False,
        "data_folder": "results/data/x", "search_folder": "studies",
    }  # fmt: skip
    assert json.loads(json.dumps(specs)) == specs


def test_the_summary_shows_cost_and_what_was_dropped():
    plan = make({"model.sizes": [20, 50, 100, 200], "plan.seeds": [0, 1]}, units_train=5000)
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
