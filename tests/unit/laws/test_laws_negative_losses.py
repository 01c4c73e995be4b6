"""Losses at or below zero, as of normalised losses and log-likelihoods: laws, or one reason."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_envelope, fit_runs, read_runs
from flops_fit.laws.optima import loss_law, shift_above_0
from flops_fit.laws.results import Point
from judged import codes, found, only
from known_laws import EXPONENT, E, chinchilla_runs, columns, parabolic_runs, surface, surface_N_opt

pytestmark = pytest.mark.filterwarnings("error")

SIX = np.logspace(18, 23, 6)
SIZES = np.linspace(-1.2, 1.2, 7)
BELOW = 4.0
"""Taken off the losses of Chinchilla's surface: all that the budgets reach are then negative."""


def lowered(*, noise=0.0, by=BELOW, C=SIX):
    runs = chinchilla_runs(C, SIZES)
    scatter = noise * np.random.default_rng(1).normal(size=len(runs["id"]))
    return runs | {"loss": runs["loss"] - by + scatter}


def fitted(runs, **options):
    return fit_runs(runs, study="s", params="total", **{"bootstrap": 200, **options})


def optimal_loss(C):
    return float(surface(surface_N_opt(C), C / 6 / surface_N_opt(C)))


def test_laws_of_negative_losses_are_those_of_the_known_surface():
    fit = fitted(lowered(noise=1e-3), predict_budgets=[1e24])
    found_2 = fit["approaches"]["2"]
    assert found_2["status"] == "ok"
    assert found_2["N_opt"]["exponent"] == pytest.approx(EXPONENT, abs=0.02)
    assert found_2["L_opt"]["offset"] == pytest.approx(E - BELOW, abs=0.1)
    row = found_2["predictions"][-1]
    truth = optimal_loss(1e24) - BELOW
    assert row["L_opt"] == pytest.approx(truth, abs=0.02)
    assert row["L_opt_ci"][0] < truth < row["L_opt_ci"][1] < 0
    assert fit["answer"]["method"] == "path"
    assert "no_law_of_loss" not in codes(fit)


def test_surfaces_of_negative_losses_say_why_there_are_none():
    fit = fitted(lowered(), bootstrap=0)
    for name in ("3", "vpnls"):
        entry = fit["approaches"][name]
        assert entry["status"] == "unsupported"
        assert "needs positive losses" in entry["reason"]


def test_the_envelope_of_compared_sizes_has_the_exact_law_below_zero():
    """The grid holds the optimum of every budget, and L_opt - E is a power of C."""
    runs, _ = read_runs(lowered())
    law = fit_envelope(runs).L_opt
    alpha_beta = 0.34 * 0.28 / (0.34 + 0.28)
    assert law.offset == pytest.approx(E - BELOW, abs=1e-6)
    assert law.exponent == pytest.approx(-alpha_beta, rel=1e-6)


def test_only_the_offset_depends_on_where_zero_lies():
    laws = [fitted(lowered(by=by, noise=1e-3))["approaches"]["2"] for by in (BELOW, 40.0)]
    for name in ("N_opt", "L_opt"):
        for key in ("coefficient", "exponent"):
            values = [law[name][key] for law in laws]
            assert values[0] == pytest.approx(values[1], rel=1e-5)
            bounds = [law[name]["ci"][key] for law in laws]
            np.testing.assert_allclose(*bounds, rtol=1e-4)
    assert laws[0]["L_opt"]["offset"] - laws[1]["L_opt"]["offset"] == pytest.approx(36, abs=1e-5)


def test_losses_that_cross_zero_have_a_law():
    """The losses at the vertices are -1 + 100 C^-0.1, from 0.58 down to -0.37."""
    runs = parabolic_runs(np.logspace(18, 22, 5))
    runs["loss"] = runs["loss"] - 2
    law = fitted(runs, bootstrap=0)["approaches"]["2"]["L_opt"]
    assert law["offset"] == pytest.approx(-1, abs=1e-6)
    assert law["coefficient"] == pytest.approx(100, rel=1e-5)
    assert law["exponent"] == pytest.approx(-0.1, rel=1e-5)


def test_without_budgets_for_an_offset_negative_losses_have_no_law():
    fit = fitted(lowered(C=SIX[:3]), bootstrap=50)
    entry = fit["approaches"]["2"]
    assert entry["N_opt"]["exponent"] == pytest.approx(EXPONENT, abs=0.02)
    assert entry["L_opt"] is None
    assert only(fit, "no_law_of_loss", "2")["lowest"] < 0


def test_losses_that_are_all_one_or_rise_have_no_law_below_zero():
    for L_opt in ([-1.0] * 5, [-3.0, -2.5, -2.2, -2.0, -1.9]):
        points = [
            Point(C=C, N_opt=1e8, D_opt=1e9, L_opt=L, at_edge=False, n=5)
            for C, L in zip(SIX[:5], L_opt, strict=True)
        ]
        law, judgements = loss_law(points)
        assert law is None
        assert len(found(judgements, "no_law_of_loss")) == 1


def test_positive_losses_are_not_shifted():
    assert shift_above_0([2.0, 1.0, 1e-9]) == 0
    assert shift_above_0([2.0, -1.0]) == 301


@pytest.mark.parametrize("by", [0.0, BELOW])
def test_single_runs_without_other_sizes_near_them_are_no_optima(by):
    """Sizes that each saw their own range of D: the largest lead because they spent the most."""
    N = np.repeat(10.0 ** np.arange(7, 11), 6)
    D = np.tile(1e10 * 2.0 ** np.arange(6), 4)
    runs = columns(6 * N * D, N, surface(N, D) - by)
    del runs["budget"]
    fit = fitted(runs, approaches=["1"], bootstrap=50)
    entry = fit["approaches"]["1"]
    assert entry["status"] == "unsupported"
    assert "no smaller and larger size within 10% of their C" in entry["reason"]


def test_one_run_a_budget_is_no_optimum():
    C = np.logspace(18, 22, 5)
    runs, _ = read_runs(
        columns(C, surface_N_opt(C), surface(surface_N_opt(C), C / 6 / surface_N_opt(C)))
    )
    result = fit_envelope(runs)
    assert result.status == "unsupported"
    assert "of which 5" in result.reason
    assert len(result.points) == 5
