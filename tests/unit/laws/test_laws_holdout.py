"""Hold-out scores, the recommendation that rests on them, and disagreements."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import Surface, approach_named, fit_runs
from flops_fit.laws.holdout import HoldoutScore
from flops_fit.laws.recommendation import disagreements, recommend
from flops_fit.laws.results import ApproachResult
from judged import codes, found, only
from known_laws import chinchilla_runs, columns, nine_sizes, parabolic_runs, surface, surface_N_opt

FIVE = np.array([1e18, 1e19, 1e20, 1e21, 1e22])
OFFSETS = np.linspace(-1.2, 1.2, 9)


def fit(runs, **options):
    return fit_runs(runs, study="s", params="total", **({"bootstrap": 0} | options))


def scores(runs, names, **options):
    scored = fit(runs, approaches=names, **options)["holdout"]
    return {(e["approach"], e["kind"], tuple(e["budgets"])): e for e in scored}


def test_a_true_surface_predicts_what_was_held_out():
    found = scores(chinchilla_runs(FIVE, OFFSETS), ["2", "3", "vpnls"])
    assert len(found) == 3 * 6  # the largest, and each of five
    for name in ("3", "vpnls"):
        entry = found[name, "largest", (1e22,)]
        assert entry["per_run_error"] < 1e-8
        assert entry["n_runs"] == 36
        # The target is a parabola's vertex, which is off by its known bias
        assert entry["mean_abs_relative_error"] < 1e-3
        assert entry["N_opt_ratio"] == pytest.approx(1.0, abs=0.05)
    assert "fewer than 5" in found["2", "largest", (1e22,)]["offset"]


def test_scores_are_what_a_refit_by_hand_gives():
    # Literal: the last of np.logspace(17, 23, 7) is not 1e23 on every machine
    budgets = (1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23)
    runs = parabolic_runs(budgets, offsets=(-1.2, -0.6, 0, 0.6, 1.2))
    entry = scores(runs, ["2"])["2", "largest", (1e23,)]
    # N_opt = 0.1 C^0.5 and L_opt = 1 + 100 C^-0.1 exactly, so that nothing is missed
    assert entry["offset"] == "fitted"
    assert entry["N_opt_ratio"] == pytest.approx(1.0, rel=1e-6)
    assert entry["mean_abs_relative_error"] < 1e-6
    runs["loss"] = np.where(runs["C"] > 5e22, 1.1 * runs["loss"], runs["loss"])
    entry = scores(runs, ["2"])["2", "largest", (1e23,)]
    assert entry["mean_abs_relative_error"] == pytest.approx(1 - 1 / 1.1, rel=1e-4)


def test_several_budgets_may_be_held_out_or_none():
    runs = chinchilla_runs(FIVE, OFFSETS)
    found = scores(runs, ["3"], holdout_budgets=2)
    assert found["3", "largest", (1e21, 1e22)]["n_runs"] == 27
    assert scores(runs, ["3"], holdout_budgets=0) == {}
    assert all(key[1] != "largest" for key in scores(runs, ["3"], holdout_budgets=4))


def test_scattered_compute_is_scored_per_run():
    rng = np.random.default_rng(0)
    N, C = np.exp(rng.uniform(17, 20, 60)), 10 ** rng.uniform(18, 22, 60)
    runs = columns(C, N, surface(N, C / (6 * N)))
    del runs["budget"]
    for entry in scores(runs, ["3"]).values():
        assert entry["per_run_error"] < 1e-6
        if entry["kind"] == "largest":
            assert entry["n_runs"] < 60


def test_a_well_behaved_sweep_gets_a_surface_and_outliers_the_robust_one():
    runs, _ = nine_sizes(noise=0.005, seed=4)
    assert fit(runs)["answer"]["if_form_is_exact"]["approach"] == "vpnls"
    runs["loss"][[3, 20]] *= 1.1
    result = fit(runs)
    assert result["answer"]["if_form_is_exact"]["approach"] == "3"
    assert found(result, "outliers")


def test_a_form_that_does_not_fit_gets_approach_2_and_says_why():
    C = np.repeat(FIVE, 9)
    N = surface_N_opt(C) * np.tile(np.exp(OFFSETS), 5)
    bent = surface(N, C / (6 * N)) * (1 + 0.05 * np.sin(2.5 * np.log(N / surface_N_opt(C))))
    noise = np.exp(0.001 * np.random.default_rng(0).normal(size=45))
    recommended = fit(columns(C, N, bent * noise))["answer"]["if_form_is_exact"]
    assert recommended["approach"] == "2"
    assert "lack of fit" in recommended["why"]


@pytest.mark.parametrize(
    ("surface_error", "chosen"), [(0.005, "3"), (0.015, "3"), (0.0239, "3"), (0.025, "2")]
)
def test_a_surface_gives_way_where_it_predicts_clearly_worse(surface_error, chosen):
    """Twice the error of approach 2 and more than 1% of L is clearly worse."""
    fitted = [(approach_named(name), ApproachResult(status="ok")) for name in ("2", "3")]

    def recommended(**errors):
        holdout = [
            HoldoutScore(
                approach=name.removeprefix("approach_"),
                kind="largest",
                budgets=(1e22,),
                mean_abs_relative_error=error,
                n_runs=36,
            )
            for name, error in errors.items()
        ]
        return recommend(fitted, holdout)

    found = recommended(approach_2=0.012, approach_3=surface_error)
    assert found.approach == chosen
    assert (f"misses the held-out loss by {surface_error:.2%}" in found.why) == (chosen == "2")
    # Below 1% of L both are as good as can be told
    assert recommended(approach_2=0.001, approach_3=0.009).approach == "3"


def test_approaches_that_disagree_beyond_their_intervals():
    isoflop, vpnls = approach_named("2"), approach_named("vpnls")
    apart = [(isoflop, 0.6, [0.58, 0.62]), (vpnls, 0.5, [0.48, 0.52])]
    values = only(disagreements(apart), "approaches_disagree")
    assert values["approaches"] == ["2", "vpnls"]
    assert values["exponents"] == [0.6, 0.5]
    assert values["intervals"] == [[0.58, 0.62], [0.48, 0.52]]
    assert disagreements([apart[0], (vpnls, 0.57, [0.55, 0.59])]) == []


def test_the_optimum_under_measured_flops_is_set_against_6ND():
    def flops_per_unit(N):
        return 6 * N + 3e5 * N**0.6

    C = np.repeat(FIVE / 1e4, 9)
    N = surface_N_opt(C) * np.tile(np.exp(OFFSETS), 5)
    runs = columns(C, N, surface(N, C / flops_per_unit(N)), flops_per_unit=flops_per_unit)
    result = fit(runs, approaches=["3"])
    ratio = result["k"]["N_opt_ratio_to_6ND"]
    assert ratio < 0.95 or ratio > 1.05
    assert only(result, "optimum_differs_from_6nd")["difference"] == ratio - 1
    same = fit(chinchilla_runs(FIVE, OFFSETS), approaches=["3"])
    assert same["k"]["N_opt_ratio_to_6ND"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("half_width", [1.2, np.log(6)])
@pytest.mark.parametrize("ratio", [1 / 3, 0.6, 1.0, 1.7, 3.0])
def test_centred_grids_raise_no_alarm(ratio, half_width):
    """alpha/beta of every kind, whose valleys lean to either side, in narrow and wide grids."""
    beta = 0.3 / np.sqrt(ratio)
    alpha = beta * ratio
    # Equal terms at the middle budget, at 1e9 parameters
    A, B = 0.2 * 1e9**alpha, 0.2 * ratio * (1e20 / 6e9) ** beta
    truth = Surface(E=1.7, A=A, B=B, alpha=alpha, beta=beta)
    C = np.repeat(FIVE, 9)
    N = truth.G * (C / 6) ** truth.a * np.tile(np.exp(np.linspace(-1, 1, 9) * half_width), 5)
    result = fit(columns(C, N, truth.loss(N, C / (6 * N))), approaches=["2", "3", "vpnls"])
    alarms = {"minimum_at_edge", "off_centre_grid", "drifting_grids", "curvature_not_significant"}
    alarms |= {"lack_of_fit", "parameters_on_bound", "offset_at_lowest", "offset_is_zero"}
    assert not alarms & set(codes(result))
