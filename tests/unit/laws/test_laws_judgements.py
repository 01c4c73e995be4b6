"""Every judgement is provoked by a study that deserves it, and by no sound one."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs
from judged import codes, found, only
from known_laws import parabolic_runs

ONLY_2 = {"approaches": ["2"], "bootstrap": 0, "holdout_budgets": 0}


def judged(runs, **options):
    return fit_runs(runs, study="s", params="total", **ONLY_2, **options)


FIVE = np.logspace(18, 22, 5)


def test_a_sound_study_has_no_judgements():
    runs = parabolic_runs(FIVE, noise=1e-4)
    runs |= {"epochs": [0.5] * 25, "C_6nd": 1.03 * runs["C"]}
    # Ten times the largest budget, whose N_opt is still among the sizes of the largest profile
    assert codes(judged(runs, predict_budgets=[1e23])) == []


def test_minimum_at_the_edge_inside_and_outside_of_the_sizes():
    values = only(judged(parabolic_runs(FIVE, shift=[0, 0, 2.0, 0, 0])), "minimum_at_edge")
    assert values["C"] == pytest.approx(1e20)
    assert values["vertex"] == pytest.approx(1e9)
    assert values["lowest"] == values["smallest"] == pytest.approx(1e9 * np.exp(0.5))
    # Vertex inside the range, but the lowest run is the outermost
    fit = judged(parabolic_runs(FIVE, offsets=(-0.1, 1.0, 2.0, 3.0)))
    assert len(found(fit, "minimum_at_edge")) == 5


def test_off_centre_grid():
    # Sizes from -2.4 to 0.6 around the vertex: it lies at 80% of the range
    values = only(judged(parabolic_runs(FIVE, shift=[0, -0.9, 0, 0, 0])), "off_centre_grid")
    assert values == pytest.approx({"C": 1e19, "position": 0.8})


def test_drifting_grids():
    runs = parabolic_runs(FIVE, shift=[0.6, 0.3, 0, -0.3, -0.6])
    assert only(judged(runs), "drifting_grids") == pytest.approx({"first": 0.3, "last": 0.7})
    runs = parabolic_runs(FIVE, shift=[0.6, -0.3, 0.3, 0, -0.6])  # scatter is no drift
    assert not found(judged(runs), "drifting_grids")


def test_few_budgets():
    fit = judged(parabolic_runs((1e18, 1e19)))
    assert only(fit, "few_budgets", "2") == {"n": 2, "needed": 3}
    fit = judged(parabolic_runs((1e18, 1e19, 1e20)))
    assert not found(fit, "few_budgets")
    assert only(fit, "offset_few_budgets") == {"n": 3, "needed": 4}


def test_curvature_that_may_be_noise():
    values = found(
        judged(parabolic_runs(FIVE, curvature=0.02, noise=0.1)), "curvature_not_significant"
    )
    assert values
    assert all(0.05 < value["p_value"] < 1 for value in values)


def test_three_runs_test_nothing():
    fit = judged(parabolic_runs(FIVE, offsets=(-1, 0, 1)))
    assert [values["n"] for values in found(fit, "curvature_untested")] == [3] * 5


def test_budget_with_too_few_sizes():
    runs = {name: values[3:] for name, values in parabolic_runs(FIVE).items()}
    assert only(judged(runs), "too_few_sizes") == {"budget": 1e18, "n": 2, "needed": 3}


def test_N_opt_that_falls_with_C():
    values = only(judged(parabolic_runs(FIVE, coefficient=1e12, exponent=-0.1)), "law_falls")
    assert values["quantity"] == "N_opt"
    assert values["exponent"] == pytest.approx(-0.1)


def test_N_opt_that_stays_is_not_said_to_fall():
    fit = judged(parabolic_runs(FIVE, coefficient=1e9, exponent=0.0))
    assert only(fit, "law_is_constant") == {"quantity": "N_opt"}
    assert not found(fit, "law_falls")


@pytest.mark.parametrize("rise", [0.05, 0.0])
@pytest.mark.parametrize("budgets", [FIVE, FIVE[:3]])
def test_losses_that_do_not_fall_with_compute(rise, budgets):
    """Each budget has its valley, so that approach 2 has laws: they are no advice."""
    runs = parabolic_runs(budgets)
    floor = 1 + 100 * runs["C"] ** -0.1
    runs["loss"] = runs["loss"] - floor + 2 + rise * np.log10(runs["C"] / 1e18)
    fit = fit_runs(runs, study="s", params="total", bootstrap=0)
    assert fit["answer"]["if_form_is_exact"]["approach"] == "2"
    last = budgets[-1]
    expected = {"first_C": 1e18, "first_L": 2, "last_C": last}
    expected["last_L"] = 2 + rise * np.log10(last / 1e18)
    assert only(fit, "loss_does_not_fall", "2") == pytest.approx(expected)


def test_C_that_does_not_go_with_N_and_D():
    """C of other rows: each is possible by itself, and a surface through N and D never asks."""
    runs = parabolic_runs(FIVE)
    del runs["budget"]
    shuffled = np.random.default_rng(0).permutation(runs["C"])
    assert only(judged(runs | {"C": shuffled}), "inconsistent_compute")["of"] == 25
    one = runs["C"].copy()
    one[7] *= 1.5
    values = only(judged(runs | {"C": one}), "inconsistent_compute")
    assert (values["n"], values["worst"]) == (1, "r007")
    assert (values["found"], values["usual"]) == pytest.approx((9, 6))


def test_flops_per_parameter_that_change_with_size_are_no_contradiction():
    # From 26 FLOPs per parameter and unit to 9, as attention and embeddings of small models cost
    runs = parabolic_runs(FIVE / 1e7, flops_per_unit=lambda N: 6 * N + 500 * N**0.6)
    per_parameter = runs["C"] / runs["N"] / runs["D"]
    assert per_parameter.max() / per_parameter.min() > 2
    assert not found(judged(runs), "inconsistent_compute")


def test_extrapolation_and_sizes_beyond_the_measured():
    fit = judged(parabolic_runs(FIVE), predict_budgets=[9e22, 1e25])
    values = only(fit, "extrapolation", "2")
    assert values == {"C": [1e25], "times": pytest.approx(1000), "largest": 1e22}
    assert only(fit, "prediction_beyond_sizes")["C"] == [1e25]


def test_measured_optimum_beyond_all_sizes():
    fit = judged(parabolic_runs(FIVE, shift=[0, 0, 0, -2.5, -2.5]))
    assert only(fit, "optimum_beyond_sizes")["C"] == pytest.approx([1e22])


def test_repeated_data():
    runs = parabolic_runs(FIVE) | {"epochs": [1.0] * 22 + [1.5, 2.0, 4.0]}
    values = only(judged(runs), "repeated_data", None)
    assert (values["n"], values["of"], values["most"]) == (3, 25, 4.0)


@pytest.mark.parametrize(("ratio", "difference"), [(0.7, -0.3), (1.08, 0.08)])
def test_C_far_from_6ND(ratio, difference):
    runs = parabolic_runs(FIVE)
    values = only(judged(runs | {"C_6nd": ratio * runs["C"]}), "compute_differs_from_6nd")
    assert values["difference"] == pytest.approx(difference)


def test_6ND_is_not_judged_where_it_is_not_known():
    runs = parabolic_runs(FIVE) | {"C_6nd": [None] * 25}
    assert not found(judged(runs), "compute_differs_from_6nd")


def test_C_off_its_budget():
    runs = parabolic_runs(FIVE)
    runs["budget"] = runs["budget"] * 1.03
    values = only(judged(runs), "compute_off_budget")
    assert (values["n"], values["of"]) == (25, 25)
    assert values["largest"] == pytest.approx(1 - 1 / 1.03)


@pytest.mark.parametrize("change", [lambda L: L - 3.0, lambda L: 30 * L])
def test_losses_that_cannot_be_nats_per_token(change):
    runs = parabolic_runs(FIVE)
    losses = change(runs["loss"])
    values = only(judged(runs | {"loss": losses}), "losses_not_nats")
    assert (values["lowest"], values["highest"]) == (losses.min(), losses.max())


def test_negative_optimal_loss_has_no_law_where_three_budgets_cannot_fit_an_offset():
    runs = parabolic_runs(FIVE[:3])
    fit = judged(runs | {"loss": runs["loss"] - 3.0})
    entry = fit["approaches"]["2"]
    assert entry["L_opt"] is None
    assert {row["L_opt"] for row in entry["predictions"]} == {None}
    assert only(fit, "no_law_of_loss", "2")["lowest"] < 0


def grid_of_learning_rates(extra_loss, status=("completed",) * 3):
    """Three learning rates for each run, with these losses above the parabola."""
    runs = {name: np.repeat(values, 3) for name, values in parabolic_runs(FIVE).items()}
    n = len(runs["id"])
    runs["id"] = [f"{name}-{i % 3}" for i, name in enumerate(runs["id"])]
    runs["lr"] = [0.01, 0.02, 0.04] * (n // 3)
    runs["loss"] = runs["loss"] + np.tile(extra_loss, n // 3)
    return runs | {"status": list(status) * (n // 3)}


@pytest.mark.parametrize(
    ("extra_loss", "best", "side"),
    [([0.2, 0.1, 0], 0.04, "largest"), ([0, 0.1, 0.2], 0.01, "smallest")],
)
def test_best_learning_rate_at_the_edge(extra_loss, best, side):
    values = only(judged(grid_of_learning_rates(extra_loss)), "learning_rate_at_edge")
    assert (values["n"], values["of"]) == (25, 25)
    assert {(cell["best"], cell["side"], cell["tried"]) for cell in values["cells"]} == {
        (best, side, 3)
    }


def test_best_learning_rate_between_others_even_if_those_diverged():
    assert codes(judged(grid_of_learning_rates([0.2, 0.0, 0.1]))) == []
    runs = grid_of_learning_rates([0.1, 0.0, 0.0], ("completed", "completed", "diverged"))
    assert codes(judged(runs)) == []
