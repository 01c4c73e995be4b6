"""fit.E: E is given, in surfaces and as the offset of L_opt."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.laws import HuberLog, SquaredLoss, fit_runs, search_surface
from flops_fit.laws.forms.power_law import (
    fit_power_law_above,
    fit_power_law_with_offset,
    offset_rows,
)
from hand_computed import small_study
from judged import found, only
from known_laws import ALPHA, BETA, EXPONENT, A, B, E, chinchilla_runs, nine_sizes
from scipy.optimize import minimize

FIVE = np.logspace(18, 22, 5)
EXACT = chinchilla_runs(FIVE, np.linspace(-1.5, 1.5, 7))
NOISY = nine_sizes(seed=4)[0]
OBJECTIVES = [HuberLog(), SquaredLoss()]


def fit(runs, **options):
    defaults = {"bootstrap": 60, "study": "s", "params": "total", "predict_budgets": [1e24]}
    return fit_runs(runs, **(defaults | options))


def objective_of(log_rest, objective, E):
    """The objective at log A, log B, alpha, beta, written out."""
    N, D, L = (np.asarray(NOISY[name]) for name in ("N", "D", "loss"))
    log_A, log_B, alpha, beta = log_rest
    fitted = E + np.exp(log_A - alpha * np.log(N)) + np.exp(log_B - beta * np.log(D))
    return objective.value(np.log(fitted), L).sum()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_surface_with_the_true_E_is_found_without_noise(objective):
    surface, value = search_surface(EXACT["N"], EXACT["D"], EXACT["loss"], objective, E=E)
    assert surface.E == E
    assert value < 1e-16
    found = (surface.A, surface.B, surface.alpha, surface.beta)
    assert found == pytest.approx((A, B, ALPHA, BETA), rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("E", [0.0, 1.2, 1.9])
def test_no_simplex_search_goes_below_the_surface_of_a_given_E(objective, E):
    surface, value = search_surface(NOISY["N"], NOISY["D"], NOISY["loss"], objective, E=E)
    assert surface.E == E
    start = np.array([np.log(surface.A), np.log(surface.B), surface.alpha, surface.beta])
    assert objective_of(start, objective, E) == pytest.approx(value, rel=1e-9)
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-9, "fatol": 1e-16}
    for factor in (1.0, 1.03, 0.97):
        away = minimize(objective_of, start * factor, args=(objective, E), method="Nelder-Mead",
                        options=options)  # fmt: skip
        assert away.fun >= value * (1 - 1e-7)


def test_every_resample_keeps_it_and_it_has_no_interval():
    pinned, free = fit(NOISY, E=1.75, approaches=["3", "vpnls"]), fit(NOISY, approaches=["vpnls"])
    assert only(pinned, "pinned_e")["E"] == 1.75
    for entry in pinned["approaches"].values():
        assert entry["surface"]["E"] == entry["L_opt"]["offset"] == 1.75
        assert entry["surface"]["ci"]["E"] is None
        assert entry["surface"]["std_err"]["E"] == 0
        low, high = entry["surface"]["ci"]["alpha"]
        assert low < high
    draws = np.array(pinned["prediction"]["draws"]["log E"].split(), dtype=float)
    np.testing.assert_allclose(np.exp(draws), 1.75, rtol=1e-7)
    assert not found(pinned, "e_not_identified")
    # What is known need not be learnt from the runs
    widths = [
        np.diff(result["approaches"]["vpnls"]["predictions"][-1]["L_opt_ci"])[0]
        for result in (pinned, free)
    ]
    assert widths[0] < 0.8 * widths[1]
    assert free["approaches"]["vpnls"]["surface"]["ci"]["E"] is not None


def test_it_is_the_offset_of_approaches_without_a_surface_and_of_hold_outs():
    three = chinchilla_runs(FIVE[:3], np.linspace(-1.5, 1.5, 7))
    pinned = fit(three, E=E, approaches=["1", "2"])
    for name in ("1", "2"):
        assert pinned["approaches"][name]["L_opt"]["offset"] == E
    assert not found(pinned, "offset_few_budgets")
    assert found(fit(three, approaches=["2"]), "offset_few_budgets")
    law = pinned["approaches"]["2"]["L_opt"]
    # Above the true E the loss falls as C^-(alpha beta / (alpha + beta)); a parabola shifts it
    assert law["exponent"] == pytest.approx(-ALPHA * EXPONENT, rel=0.02)
    assert {score["offset"] for score in pinned["holdout"]} == {"fit.E"}
    row = pinned["approaches"]["2"]["predictions"][-1]
    assert row["L_opt_ci"][0] > E


def test_a_law_above_a_given_offset():
    C = np.logspace(18, 22, 6)
    y = (1.5 + 900 * C**-0.16) * np.exp(0.003 * np.random.default_rng(0).normal(size=6))
    exact = fit_power_law_above(C, 1.5 + 900 * C**-0.16, 1.5)
    assert (exact.coefficient, exact.exponent) == pytest.approx((900, -0.16), rel=1e-9)
    free, _ = fit_power_law_with_offset(C, y)
    again = fit_power_law_above(C, y, free.offset)
    assert again.exponent == pytest.approx(free.exponent, rel=1e-8)
    rows = np.stack([y, y * 1.01, np.r_[y[:5], 1.4]])
    mask = np.ones(rows.shape, dtype=bool)
    log_coefficient, exponent, offset = offset_rows(np.log([C] * 3), rows, mask, offset=1.5)
    for i in range(2):
        law = fit_power_law_above(C, rows[i], 1.5)
        assert (np.exp(log_coefficient[i]), exponent[i]) == pytest.approx(
            (law.coefficient, law.exponent), rel=1e-9
        )
    assert offset[:2].tolist() == [1.5, 1.5]
    assert np.isnan([log_coefficient[2], exponent[2], offset[2]]).all()
    with pytest.raises(ValueError, match="not below"):
        fit_power_law_above(C, y, 3.0)


def test_a_given_E_is_one_parameter_less_to_fit():
    five = {name: [*values[:9:4], *values[20:30:8]] for name, values in NOISY.items()}
    status = [
        fit(five, tie_exponents=True, E=E, approaches=["vpnls"])["approaches"]["vpnls"]["status"]
        for E in (None, 1.7)
    ]
    assert status == ["ok", "ok"]
    status = [
        fit(five, E=E, approaches=["vpnls"])["approaches"]["vpnls"]["status"] for E in (None, 1.7)
    ]
    assert status == ["unsupported", "ok"]


@pytest.mark.parametrize("E", [2.9, -0.1, float("nan")])
def test_an_E_that_no_surface_can_have_is_refused(E):
    with pytest.raises(UserError, match=r"fit.E is .* the lowest loss, .* of run r\d+"):
        fit(NOISY, E=E)


def test_it_is_a_key_of_a_configuration():
    assert small_study({}).fit.E is None
    assert small_study({"fit.E": "1.7"}).fit.E == 1.7
    assert small_study({"fit.E": None}).fit.E is None
    with pytest.raises(UserError, match=r"fit\.E"):
        small_study({"fit.E": -1})
