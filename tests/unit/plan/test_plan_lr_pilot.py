"""A learning-rate pilot of the small study, whose losses follow a law with a known best rate."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict

import pytest
from flops_fit.errors import UserError
from flops_fit.files.rows import csv_text, row_of_texts
from flops_fit.plan.layouts import isoflop_grid
from flops_fit.plan.lr_pilot import (
    PilotExperiment,
    decide,
    decision_text,
    nearest_sizes,
    pilot_key,
    plan_of_pilot,
    quartiles,
    wave,
)
from flops_fit.plan.plan import make_plan
from flops_fit.study.identity import fingerprint
from hand_computed import FILE, dataset_meta, measures, small_study

PILOT = {
    "plan.lr_pilot": True,
    "plan.budgets": [6e6, 18e6, 54e6],
    "plan.tokens_per_param": [1, 5000],
}
DATA = dataset_meta()


def best_lr(N: float, D: float) -> float:
    return 0.02 * (N / 100) ** -0.5 * (D / 1e4) ** 0.25


def loss_of(row: PilotExperiment) -> float:
    N, D = row.n_params_non_embedding, row.D
    return 3 * math.exp(0.05 * math.log(row.lr / best_lr(N, D)) ** 2)


def piloted(study, loss=loss_of):
    """All experiments of a pilot, wave by wave, and their losses."""
    sizes = measures(study)
    layout = isoflop_grid.lay_out(study, sizes, units_per_sample=DATA.units_per_sample)
    cells = []
    for budget in study.plan.budgets[:2]:
        at_budget = [cell for cell in layout.cells if cell.budget == budget]
        cells += nearest_sizes(at_budget, sizes, quartiles(at_budget, sizes))
    losses, waves = defaultdict(dict), []
    while rows := wave(study, DATA, sizes, cells, losses):
        waves.append(rows)
        for row in rows:
            losses[row.budget, row.size][row.factor] = loss(row)
    return waves, losses


def test_a_pilot_tries_three_rates_at_two_sizes_of_two_budgets():
    study = small_study(PILOT)
    first = piloted(study)[0][0]
    # Of N = 50 to 400, the sizes nearest to 84 and 238, the quartiles of log N.
    assert [(row.budget, row.size, row.lr) for row in first] == [
        (budget, size, lr)
        for budget, pair in ((6e6, (100, 200)), (18e6, (100, 200)))
        for size in pair
        for lr in (0.00333333, 0.01, 0.03)
    ]
    plan = plan_of_pilot(study, DATA, first)
    for row in plan.experiments:
        assert row.id == fingerprint(plan.specs[row.id].to_json())
        assert row.D == row.steps * row.batch
    # In the middle of the rates they are experiments of the grid.
    grid = {row.id for row in make_plan(study, measures(study), DATA).experiments}
    assert len(grid & set(plan.specs)) == 4


def test_the_sweep_gets_the_rates_of_a_law_that_the_pilot_saw_at_four_places():
    study = small_study(PILOT)
    waves, losses = piloted(study)
    rows = [row for one in waves for row in one]
    decision = decide(study, rows, losses)
    assert decision.power_n[0] == pytest.approx(-0.5, abs=1e-3)
    assert decision.power_d[0] == pytest.approx(0.25, abs=1e-3)
    tuned = dataclasses.replace(study, lr_factor=decision.rule)
    plan = make_plan(tuned, measures(study), DATA)
    assert len(plan.experiments) > 8
    for row in plan.experiments:
        assert row.lr == pytest.approx(best_lr(row.n_params_non_embedding, row.D), rel=1e-3)
    text = decision_text(study, decision, rows, losses, (50, 400))
    assert "N^(-0.50 +- " in text
    assert "in the rule), D^(0.25 +- " in text
    assert "edge" not in text


def test_a_minimum_beyond_all_rates_is_said():
    study = small_study({**PILOT, "plan.budgets": [6e6]})
    waves, losses = piloted(study, lambda row: 3 - math.log(row.lr) / 100)
    rows = [row for one in waves for row in one]
    assert len(waves) == 4  # three more steps upwards
    text = decision_text(study, decide(study, rows, losses), rows, losses, (50, 400))
    assert text.count("is the highest of 6 tried: its minimum lies above them") == 2


def test_a_pilot_of_which_all_runs_diverge_is_a_sentence():
    study = small_study(PILOT)
    waves, losses = piloted(study, lambda row: None)
    with pytest.raises(UserError) as caught:
        decide(study, [row for one in waves for row in one], losses)
    assert str(caught.value) == (
        f"{FILE}: train.lr: every run of the learning-rate pilot at size 100 and budget 6e+06 "
        "diverged, down to the rate 0.000123457; expected a lower rate to begin with"
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"plan.budgets": [6e6, 1e9]}, True),
        ({"plan.seeds": [3]}, True),
        ({"model.sizes": [60, 100, 200]}, True),
        ({"train.lr": 0.02}, False),
        ({"train.batch": 20}, False),
        ({"model.version": 2}, False),
        ({"train.schedule": "constant"}, False),
    ],
)
def test_a_pilot_belongs_to_a_recipe(changes, same):
    key = pilot_key(small_study(PILOT), DATA)
    assert (pilot_key(small_study({**PILOT, **changes}), DATA) == key) is same


def test_rows_survive_their_file():
    rows = piloted(small_study(PILOT))[0][0]
    header, *lines = csv_text(PilotExperiment, rows).splitlines()
    for line, row in zip(lines, rows, strict=True):
        texts = dict(zip(header.split(","), line.split(","), strict=True))
        assert row_of_texts(PilotExperiment, texts, exact=True) == row


@pytest.mark.parametrize("lr", [[0.01, 0.02], {6e6: [0.01, 0.02], 18e6: 0.1, 54e6: 0.1}])
def test_a_pilot_of_a_grid_of_rates_is_refused(lr):
    with pytest.raises(UserError) as caught:
        small_study({**PILOT, "train.lr": lr})
    assert str(caught.value) == (
        f"{FILE}: train.lr: found a list, expected one rate: plan.lr_pilot tries rates around it"
    )
