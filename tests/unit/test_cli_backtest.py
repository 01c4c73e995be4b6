"""`flops-fit backtest`, and what a fit finds out about its own largest budgets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flops_fit.cli import main
from flops_fit.laws import FlopsPerUnit, Surface, fit_runs

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def sweep(n_budgets, spread=(-1.5, 1.5)):
    C = (1e18 * 10 ** (0.5 * np.arange(n_budgets)))[:, np.newaxis]
    N = TRUTH.G * (C / 6) ** TRUTH.a * np.exp(np.linspace(*spread, 7))
    L = TRUTH.loss(N, C / (6 * N)) * np.exp(0.002 * np.random.default_rng(0).normal(size=N.shape))
    C = np.broadcast_to(C, N.shape)
    runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    return {key: values.ravel() for key, values in runs.items()}


def grid():
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 3e9, 7), np.geomspace(1e9, 2e11, 7)))
    L = TRUTH.loss(N, D) * np.exp(0.002 * np.random.default_rng(0).normal(size=N.shape))
    return {"N": N, "D": D, "C": 6 * N * D, "loss": L}


def fitted(runs, **options):
    options = {"bootstrap": 0, "holdout_budgets": 0, "ci": 0.9} | options
    return fit_runs(runs, study="own", params="total", **options)


@pytest.mark.parametrize("runs", [sweep(5), grid()], ids=["budgets", "strata"])
def test_a_fit_predicts_its_own_largest_budgets_near_the_truth(runs):
    fit = fitted(runs, predict_budgets=[1e24])
    test = fit["backtest"]
    flops = FlopsPerUnit.from_runs(runs["N"], runs["D"], runs["C"])
    assert test["ci"] == 0.9
    assert len(test["rows"]) >= 3
    for row in test["rows"]:
        N = float(TRUTH.N_opt(row["C"], flops))
        assert row["times"] > 1
        assert row["N_opt"]["found"] == pytest.approx(N, rel=0.3)
        assert row["N_opt"]["predicted"] == pytest.approx(N, rel=0.5)
        assert row["L_opt"]["found"] == pytest.approx(TRUTH.loss(N, row["C"] / (6 * N)), rel=0.01)
        low, high = row["N_opt"]["ci"]
        assert low < row["N_opt"]["predicted"] < high
    assert test["covered"]["N_opt"]["of"] == len(test["rows"])
    assert "further ahead than these runs can test" in test["text"]


def test_a_hidden_budget_does_not_know_its_own_runs():
    runs = sweep(4)
    before = fitted(runs)["backtest"]["rows"]
    top = runs["C"] == runs["C"].max()
    changed = runs | {"loss": np.where(top, 0.97 * runs["loss"], runs["loss"])}
    (after,) = fitted(changed)["backtest"]["rows"]
    assert len(before) == 1
    assert after["N_opt"]["predicted"] == before[0]["N_opt"]["predicted"]
    assert after["L_opt"]["predicted"] == before[0]["L_opt"]["predicted"]
    assert after["L_opt"]["found"] == pytest.approx(0.97 * before[0]["L_opt"]["found"])


def test_the_command_prints_the_rows_of_fit_json(tmp_path, capsys):
    fit = fitted(sweep(5))
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    assert main(["backtest", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for row in fit["backtest"]["rows"]:
        assert f"{row['N_opt']['predicted']:.4g} [" in printed
        assert f"{row['N_opt']['found']:.4g}" in printed
        assert f"{row['L_opt']['predicted']:.4f} [" in printed
        assert f"{row['L_opt']['found']:.4f}" in printed
    assert fit["backtest"]["text"] in printed


def test_three_budgets_print_why_there_is_none(tmp_path, capsys):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fitted(sweep(3))))
    assert main(["backtest", str(path)]) == 0
    assert "Fewer than 4 budgets" in capsys.readouterr().out


def test_a_fit_of_an_earlier_version_is_one_sentence(tmp_path, capsys):
    fit = fitted(sweep(3))
    del fit["backtest"]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit))
    assert main(["backtest", str(path)]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {path}: holds no backtest")
    assert printed.count("\n") == 1
