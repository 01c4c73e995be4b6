"""Every warning is provoked by a study that deserves it, and by no sound one."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs
from known_laws import parabolic_runs

ONLY_2 = {"approaches": ["2"], "bootstrap": 0, "holdout_budgets": 0}


def warnings_of(runs, **options):
    fit = fit_runs(runs, study="s", params="total", **ONLY_2, **options)
    return fit["warnings"] + fit["approaches"]["2"]["warnings"]


def only(warnings, text):
    """Return the one warning with this text."""
    (found,) = [warning for warning in warnings if text in warning]
    return found


FIVE = np.logspace(18, 22, 5)


def test_a_sound_study_has_no_warnings():
    runs = parabolic_runs(FIVE, noise=1e-4)
    runs |= {"epochs": [0.5] * 25, "C_6nd": 1.03 * runs["C"]}
    # Ten times the largest budget, whose N_opt is still among the sizes of the largest profile
    assert warnings_of(runs, predict_budgets=[1e23]) == []


def test_minimum_at_the_edge_inside_and_outside_of_the_sizes():
    warnings = warnings_of(parabolic_runs(FIVE, shift=[0, 0, 2.0, 0, 0]))
    text = only(warnings, "at the edge of its profile")
    assert "C = 1e+20" in text
    assert "the vertex 1e+09" in text
    # Vertex inside the range, but the lowest run is the outermost
    offsets = (-0.1, 1.0, 2.0, 3.0)
    warnings = warnings_of(parabolic_runs(FIVE, offsets=offsets))
    assert sum("at the edge" in warning for warning in warnings) == 5


def test_off_centre_grid():
    # Sizes from -2.4 to 0.6 around the vertex: it lies at 80% of the range
    text = only(warnings_of(parabolic_runs(FIVE, shift=[0, -0.9, 0, 0, 0])), "off-centre")
    assert "C = 1e+19" in text
    assert "80%" in text


def test_drifting_grids():
    runs = parabolic_runs(FIVE, shift=[0.6, 0.3, 0, -0.3, -0.6])
    assert "from 30% to 70%" in only(warnings_of(runs), "drift")
    runs = parabolic_runs(FIVE, shift=[0.6, -0.3, 0.3, 0, -0.6])  # scatter is no drift
    assert not any("drift" in warning for warning in warnings_of(runs))


def test_fewer_than_three_budgets():
    assert "on 2 budgets" in only(warnings_of(parabolic_runs((1e18, 1e19))), "fewer than 3")


def test_few_budgets_cannot_identify_the_offset():
    assert "3 budgets" in only(warnings_of(parabolic_runs((1e18, 1e19, 1e20))), "cannot identify")


def test_curvature_that_may_be_noise():
    warnings = warnings_of(parabolic_runs(FIVE, curvature=0.02, noise=0.1))
    assert any("is not significant (p = 0." in warning for warning in warnings)


def test_three_runs_test_nothing():
    warnings = warnings_of(parabolic_runs(FIVE, offsets=(-1, 0, 1)))
    assert sum("interpolates its 3 runs" in warning for warning in warnings) == 5


def test_budget_with_too_few_sizes():
    runs = parabolic_runs(FIVE)
    runs = {name: values[3:] for name, values in runs.items()}
    assert "has 2 size(s)" in only(warnings_of(runs), "Budget 1e+18")


def test_N_opt_that_falls_with_C():
    warnings = warnings_of(parabolic_runs(FIVE, coefficient=1e12, exponent=-0.1))
    assert "exponent -0.1" in only(warnings, "N_opt falls")


def test_N_opt_that_stays_is_not_said_to_fall():
    warnings = warnings_of(parabolic_runs(FIVE, coefficient=1e9, exponent=0.0))
    assert only(warnings, "N_opt does not change with C") == (
        "N_opt does not change with C (exponent 0)."
    )
    assert not any("falls" in warning for warning in warnings)


@pytest.mark.parametrize("rise", [0.05, 0.0])
@pytest.mark.parametrize("budgets", [FIVE, FIVE[:3]])
def test_losses_that_do_not_fall_with_compute(rise, budgets):
    """Each budget has its valley, so that approach 2 has laws: they are no advice."""
    runs = parabolic_runs(budgets)
    floor = 1 + 100 * runs["C"] ** -0.1
    runs["loss"] = runs["loss"] - floor + 2 + rise * np.log10(runs["C"] / 1e18)
    fit = fit_runs(runs, study="s", params="total", bootstrap=0)
    assert fit["recommended"]["approach"] == "2"
    text = only(fit["approaches"]["2"]["warnings"], "L_opt does not fall with C")
    last = budgets[-1]
    assert f"it is 2 at C = 1e+18 and {2 + rise * np.log10(last / 1e18):.4g} at {last:.3g}" in text


def test_C_that_does_not_go_with_N_and_D():
    """C of other rows: each is possible by itself, and a surface through N and D never asks."""
    runs = parabolic_runs(FIVE)
    del runs["budget"]
    shuffled = np.random.default_rng(0).permutation(runs["C"])
    fit = fit_runs(runs | {"C": shuffled}, study="s", params="total", **ONLY_2)
    assert "of 25 runs" in only(fit["warnings"], "C does not go with N and D")
    one = runs["C"].copy()
    one[7] *= 1.5
    fit = fit_runs(runs | {"C": one}, study="s", params="total", **ONLY_2)
    text = only(fit["warnings"], "C does not go with N and D")
    assert "in 1 of 25 runs" in text
    assert "r007, has 9 where 6 is usual" in text


def test_flops_per_parameter_that_change_with_size_are_no_contradiction():
    # From 26 FLOPs per parameter and unit to 9, as attention and embeddings of small models cost
    runs = parabolic_runs(FIVE / 1e7, flops_per_unit=lambda N: 6 * N + 500 * N**0.6)
    per_parameter = runs["C"] / runs["N"] / runs["D"]
    assert per_parameter.max() / per_parameter.min() > 2
    assert not any("does not go with" in warning for warning in warnings_of(runs))


def test_extrapolation_and_sizes_beyond_the_measured():
    warnings = warnings_of(parabolic_runs(FIVE), predict_budgets=[9e22, 1e25])
    text = only(warnings, "extrapolate")
    assert "C = 1e+25 extrapolate up to 1e+03 times" in text
    assert "C = 1e+25 lies beyond" in only(warnings, "predicted N_opt")


def test_measured_optimum_beyond_all_sizes():
    warnings = warnings_of(parabolic_runs(FIVE, shift=[0, 0, 0, -2.5, -2.5]))
    assert "C = 1e+22" in only(warnings, "beyond all measured sizes")


def test_repeated_data():
    runs = parabolic_runs(FIVE) | {"epochs": [1.0] * 22 + [1.5, 2.0, 4.0]}
    assert "3 of 25 runs repeat data (up to 4 epochs)" in only(warnings_of(runs), "repeat")


@pytest.mark.parametrize(("ratio", "stated"), [(0.7, "-30.0%"), (1.08, "+8.0%")])
def test_C_far_from_6ND(ratio, stated):
    runs = parabolic_runs(FIVE)
    assert stated in only(warnings_of(runs | {"C_6nd": ratio * runs["C"]}), "6ND differs")


def test_6ND_is_not_judged_where_it_is_not_known():
    runs = parabolic_runs(FIVE) | {"C_6nd": [None] * 25}
    assert not any("6ND" in warning for warning in warnings_of(runs))


def test_C_off_its_budget():
    runs = parabolic_runs(FIVE)
    runs["budget"] = runs["budget"] * 1.03
    assert "25 of 25 runs" in only(warnings_of(runs), "differs from its budget")


@pytest.mark.parametrize("change", [lambda L: L - 3.0, lambda L: 30 * L])
def test_losses_that_cannot_be_nats_per_token(change):
    runs = parabolic_runs(FIVE)
    losses = change(runs["loss"])
    text = only(warnings_of(runs | {"loss": losses}), "cannot be nats")
    assert f"{losses.min():.3g} to {losses.max():.3g}" in text


def test_negative_optimal_loss_has_no_law():
    runs = parabolic_runs(FIVE)
    fit = fit_runs(runs | {"loss": runs["loss"] - 3.0}, study="s", params="total", **ONLY_2)
    entry = fit["approaches"]["2"]
    assert entry["L_opt"] is None
    assert {row["L_opt"] for row in entry["predictions"]} == {None}
    assert only(entry["warnings"], "L_opt has no power law")


def grid_of_learning_rates(extra_loss, status=("completed",) * 3):
    """Three learning rates for each run, with these losses above the parabola."""
    runs = {name: np.repeat(values, 3) for name, values in parabolic_runs(FIVE).items()}
    n = len(runs["id"])
    runs["id"] = [f"{name}-{i % 3}" for i, name in enumerate(runs["id"])]
    runs["lr"] = [0.01, 0.02, 0.04] * (n // 3)
    runs["loss"] = runs["loss"] + np.tile(extra_loss, n // 3)
    return runs | {"status": list(status) * (n // 3)}


def test_best_learning_rate_at_the_edge():
    text = only(warnings_of(grid_of_learning_rates([0.2, 0.1, 0.0])), "learning rate")
    assert "in 25 of 25 cells" in text
    assert "0.04 is the largest of 3" in text
    text = only(warnings_of(grid_of_learning_rates([0.0, 0.1, 0.2])), "learning rate")
    assert "0.01 is the smallest of 3" in text


def test_best_learning_rate_between_others_even_if_those_diverged():
    assert warnings_of(grid_of_learning_rates([0.2, 0.0, 0.1])) == []
    runs = grid_of_learning_rates([0.1, 0.0, 0.0], ("completed", "completed", "diverged"))
    assert warnings_of(runs) == []
