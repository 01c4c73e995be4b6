"""Runs that repeat data, on a surface in effective data."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs
from flops_fit.laws.data.effective_data import effective_units, fresh_curves
from flops_fit.laws.data.table import read_runs
from flops_fit.laws.evidence.repeated_data import PUBLISHED_R_STAR, find_R_star
from judged import codes, only
from known_laws import ALPHA, BETA, parabolic_runs, surface, surface_N_opt


def repeated_runs(R_star, *, most=12.0, U=2e9, noise=0.0):
    """A sweep of the Chinchilla surface on U distinct units; C = 6 N D."""
    C = np.repeat(np.logspace(18, 20.5, 6), 7)
    N = surface_N_opt(C) * np.exp(np.tile(np.linspace(-1.5, 1.5, 7), 6))
    D = C / (6 * N)
    D = np.minimum(D, most * U)
    C = 6 * N * D
    repeats = np.maximum(D / U - 1, 0)
    L = surface(N, D) if R_star is None else surface(N, U_effective(D, U, repeats, R_star))
    L = L * np.exp(noise * np.random.default_rng(1).normal(size=L.shape))
    return {"N": N, "D": D, "C": C, "loss": L, "unique": np.full(N.size, U)}


def U_effective(D, U, repeats, R_star):
    return np.where(repeats > 0, U + U * R_star * (1 - np.exp(-repeats / R_star)), D)


def fit(runs, **options):
    options = {"approaches": ["3"], "bootstrap": 0, "holdout_budgets": 0} | options
    return fit_runs(runs, study="s", params="total", **options)


def test_effective_units_against_their_integral():
    # Each further repetition is worth exp(-1/R*) of the one before, continuously
    passes = np.linspace(0, 6, 100_001)
    worth = np.exp(-passes / 5.0)
    integral = 1e9 * (1 + np.sum((worth[1:] + worth[:-1]) / 2) * (passes[1] - passes[0]))
    assert effective_units(7e9, 1e9, 5.0) == pytest.approx(integral, rel=1e-8)
    assert effective_units([5e8, 1e9, 3e9], [1e9, 1e9, np.nan], 5.0).tolist() == [5e8, 1e9, 3e9]


@pytest.mark.parametrize("R_star", [6.0, 15.387756, 40.0])
def test_R_star_and_the_surface_are_recovered(R_star):
    result = fit(repeated_runs(R_star, U=4e8))
    values = only(result, "repeated_data", None)
    assert values["identified"]
    assert values["R_star"] == pytest.approx(R_star, rel=0.01)
    found = result["approaches"]["3"]["surface"]
    assert found["alpha"] == pytest.approx(ALPHA, rel=0.01)
    assert found["beta"] == pytest.approx(BETA, rel=0.01)


def test_a_few_repeats_in_noise_keep_R_star_near_the_published():
    runs = repeated_runs(PUBLISHED_R_STAR, U=8e9, noise=0.01)
    values = only(fit(runs), "repeated_data", None)
    assert not values["identified"]
    assert abs(np.log(values["R_star"] / PUBLISHED_R_STAR)) < 1


def test_too_few_runs_take_the_published_R_star():
    runs = {name: values[:5] for name, values in repeated_runs(5.0, U=1e8).items()}
    assert find_R_star(read_runs(runs)[0]) == (PUBLISHED_R_STAR, False)


def test_epochs_say_the_same_as_unique():
    runs = repeated_runs(9.0, U=4e8)
    named = {name: values for name, values in runs.items() if name != "unique"}
    named["epochs"] = runs["D"] / runs["unique"]
    surfaces = [fit(table)["approaches"]["3"]["surface"] for table in (runs, named)]
    assert surfaces[0]["alpha"] == pytest.approx(surfaces[1]["alpha"], rel=1e-6)


def test_runs_beyond_the_form_are_set_aside():
    runs = repeated_runs(9.0, U=4e8)
    further = {"N": 1e8, "D": 40e8, "C": 24e17, "loss": 9.0, "unique": 1e8}
    risen = [{"N": 1e8, "D": D, "C": 6e8 * D, "loss": L, "unique": 1e9}
             for D, L in ((2e9, 3.4), (4e9, 3.5))]  # fmt: skip
    rows = [further, *risen]
    table = {name: [*values, *(row[name] for row in rows)] for name, values in runs.items()}
    result = fit(table)
    assert only(result, "repeats_set_aside", None)["n"] == 2
    assert [item["id"] for item in result["excluded"]] == ["row 43", "row 45"]
    assert "40 times" in result["excluded"][0]["reason"]
    assert "risen again" in result["excluded"][1]["reason"]


@pytest.mark.parametrize("epochs", [1.0, 0.3])
def test_single_epochs_change_no_number(epochs):
    runs = parabolic_runs(np.logspace(18, 22, 5), noise=1e-3)
    options = {"approaches": None, "bootstrap": 20, "holdout_budgets": 1}
    plain, told = fit(runs, **options), fit(runs | {"epochs": [epochs] * 25}, **options)
    assert plain == told


def test_optima_that_need_more_data_than_there_is():
    runs = parabolic_runs(np.logspace(18, 20, 4))
    runs["epochs"] = np.asarray(runs["D"]) / 1e12
    result = fit(runs, approaches=["2"], predict_budgets=[1e27])
    values = only(result, "data_run_out", None)
    assert values["C"] == [1e27]
    assert values["units"] == pytest.approx(1e12)
    assert "data_run_out" not in codes(fit(runs, approaches=["2"]))


def test_training_curves_count_in_effective_units():
    table, _ = read_runs(repeated_runs(9.0, U=4e8))
    name = next(i for i, e in zip(table.id, table.epochs, strict=True) if e > 2)
    curve = [[1, 2e8, 4.0, 0.1], [2, 8e8, 3.0, 0.1]]
    fresh = fresh_curves({name: curve, "other": curve}, table, 9.0)
    assert fresh["other"] == curve
    assert fresh[name][:, 1].tolist() == [2e8, pytest.approx(4e8 * (10 - 9 * np.exp(-1 / 9)))]


def test_a_column_that_is_not_positive_is_refused():
    runs = repeated_runs(9.0)
    runs["unique"][3] = 0
    with pytest.raises(Exception, match="unique of run row 4 is 0, but must be positive"):
        fit(runs)
