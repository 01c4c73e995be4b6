"""The report of a real fit, beside the numbers of its fit.json."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from flops_fit.laws import fit_runs
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.write import write_report
from known_laws import columns, parabolic_runs, surface

BUDGETS = (1e18, 1e19, 1e20, 1e21)


def report(runs, folder, **options):
    fit = fit_runs(runs, study="known", params="total", bootstrap=0, workers=1, **options)
    frame = pd.DataFrame(runs).assign(status="completed")
    written = write_report(fit, frame, folder, "token")
    with open(folder / "table.csv", newline="", encoding="utf-8") as file:
        return fit, list(csv.DictReader(file)), {path.name for path in written}


def test_the_table_is_the_answer_of_fit_json(tmp_path):
    runs = parabolic_runs(BUDGETS, noise=0.002)
    fit, rows, written = report(runs, tmp_path, predict_budgets=[1e23])
    answer = fit["answer"]
    assert [float(row["C"]) for row in rows] == pytest.approx([*BUDGETS, 1e23])
    assert {row["approach"] for row in rows} == {answer["method"]} == {"path"}
    for row, expected in zip(rows, answer["predictions"], strict=True):
        for quantity in ("N_opt", "D_opt", "D_per_N", "L_opt"):
            assert float(row[quantity]) == expected[quantity]
            found = [float(row[f"{quantity}_{end}"]) for end in ("lo", "hi")]
            assert found == expected[f"{quantity}_ci"]
    assert fit["backtest"]["rows"]
    assert "backtest.png" in written
    # Its vertices are 0.1 C^0.5
    read = ReportedFit.from_json(fit)
    value, (low, high) = read.answer.exponent("N_opt")
    assert low < 0.5 < high
    assert value == pytest.approx(0.5, abs=0.02)


def test_a_grid_of_N_and_D_is_reported_by_its_strata(tmp_path):
    random = np.random.default_rng(1)
    N, D = (np.exp(random.uniform(*np.log(ends), 60)) for ends in ((1e7, 1e9), (1e9, 1e11)))
    runs = columns(6 * N * D, N, surface(N, D) * np.exp(random.normal(0, 0.001, 60)))
    del runs["budget"]
    fit, rows, _ = report(runs | {"D": D}, tmp_path, predict_budgets=[1e21])
    assert fit["answer"]["method"] == "strata"
    assert {row["approach"] for row in rows} == {"strata"}
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "The answer (method strata): no budgets of three sizes hold nearly all runs" in text


def test_one_budget_is_reported_by_its_minimum(tmp_path):
    fit, rows, written = report(parabolic_runs((1e18,)), tmp_path, predict_budgets=[1e21])
    assert fit["answer"]["method"] == "minimum"
    assert [row["approach"] for row in rows] == ["minimum"]
    assert float(rows[0]["N_opt"]) == pytest.approx(0.1 * 1e18**0.5, rel=0.02)
    assert "backtest.png" not in written
