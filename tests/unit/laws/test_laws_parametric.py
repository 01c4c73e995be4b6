"""Approach 3 and VPNLS as approaches: points, laws, warnings, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_parametric, fit_runs, fit_vpnls, read_runs
from judged import found, only
from known_laws import chinchilla_runs, columns, nine_sizes, surface, surface_N_opt

FIVE = np.logspace(18, 22, 5)
OFFSETS = np.linspace(-1.5, 1.5, 7)
FITTERS = [fit_parametric, fit_vpnls]


def table(runs):
    return read_runs(runs)[0]


@pytest.mark.parametrize("fit", FITTERS)
def test_laws_and_points_are_those_of_the_known_surface(fit):
    result = fit(table(chinchilla_runs(FIVE, OFFSETS)))
    assert result.status == "ok"
    assert result.judgements == ()
    np.testing.assert_allclose([p.N_opt for p in result.points], surface_N_opt(FIVE), rtol=1e-6)
    np.testing.assert_allclose([p.N_opt * p.D_opt * 6 for p in result.points], FIVE, rtol=1e-9)
    assert result.N_opt.exponent == pytest.approx(result.surface.a, rel=1e-9)
    assert result.D_opt.exponent == pytest.approx(result.surface.b, rel=1e-9)
    # At the optimum both terms fall as C^-(alpha beta / (alpha + beta))
    assert result.L_opt.exponent == pytest.approx(-0.34 * 0.28 / 0.62, rel=1e-6)
    assert result.L_opt.offset == result.surface.E
    assert not any(point.at_edge for point in result.points)


@pytest.mark.parametrize("name", ["3", "vpnls"])
def test_predictions_follow_the_measured_flops_not_6ND(name):
    def flops_per_unit(N):
        return 6 * N + 3e5 * N**0.6

    C = np.repeat(FIVE, 9)
    N = (surface_N_opt(FIVE)[:, None] * np.exp(np.linspace(-2, 2, 9))).ravel()
    runs = columns(C, N, surface(N, C / flops_per_unit(N)), flops_per_unit=flops_per_unit)
    fit = fit_runs(runs, study="s", params="total", approaches=[name], bootstrap=0)
    entry = fit["approaches"][name]
    for row in entry["predictions"]:
        grid = np.exp(np.linspace(np.log(row["N_opt"]) - 1, np.log(row["N_opt"]) + 1, 4001))
        best = grid[np.argmin(surface(grid, row["C"] / flops_per_unit(grid)))]
        # flops_per_unit is interpolated between sizes a factor of 1.6 apart
        assert row["N_opt"] == pytest.approx(best, rel=0.05)
        assert row["N_opt"] < 0.97 * surface_N_opt(row["C"]) or row["C"] > 1e20


@pytest.mark.parametrize("fit", FITTERS)
def test_too_few_runs_are_refused_with_what_would_help(fit):
    runs = {k: v[:5] for k, v in chinchilla_runs(FIVE[:2], [-1, 0, 1]).items()}
    result = fit(table(runs))
    assert result.status == "unsupported"
    assert "needs at least 6 runs" in result.reason
    assert "fit.tie_exponents" in result.reason
    for named in (runs, {k: v for k, v in runs.items() if k != "budget"}):
        tied = fit(table(named), tied=True)
        assert tied.status == "ok", tied.reason
        assert tied.surface.alpha == tied.surface.beta
        assert [point.C for point in tied.points] == pytest.approx(FIVE[:2].tolist())


@pytest.mark.parametrize("fit", FITTERS)
@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        (lambda r: r | {"loss": np.full(35, 2.0)}, "unsupported", "all losses are 2"),
        (lambda r: r | {"loss": r["loss"] - 5}, "unsupported", "positive losses"),
        (lambda r: r | {"C": np.full(35, 1e20)}, "unsupported", "nearly the same compute"),
        (lambda r: r | {"N": np.full(35, 1e9)}, "unsupported", "three different N"),
        (lambda r: r | {"loss": 5 - r["loss"]}, "failed", "no compute-optimal size"),
    ],
)
def test_runs_without_a_law_say_why(fit, change, status, text):
    result = fit(table(change(chinchilla_runs(FIVE, OFFSETS))))
    assert result.status == status
    assert text in result.reason


def test_outliers_are_flagged_and_kept():
    runs, _ = nine_sizes(noise=0.005, seed=3)
    runs["loss"][[7, 30]] *= 1.12
    for fit in FITTERS:
        result = fit(table(runs))
        values = only(result.judgements, "outliers")
        # Least squares bends towards them, so that others may look far off as well
        assert (values["n"], values["of"]) == (2, 45) or fit is fit_vpnls
        assert result.points[0].n == 9
        assert {"r007", "r030"} <= {run["id"] for run in values["runs"]}


def test_lack_of_fit_is_seen_and_not_claimed_of_noise():
    runs, _ = nine_sizes(noise=0.003, seed=1)
    bent = runs["loss"] * (1 + 0.03 * np.sin(1.5 * np.log(runs["N"])))
    values = only(fit_vpnls(table(runs | {"loss": bent})).judgements, "lack_of_fit")
    assert values["p_value"] < 0.01
    assert not values["replicated"]
    false = [
        bool(found(fit_vpnls(table(nine_sizes(seed=seed)[0])).judgements, "lack_of_fit"))
        for seed in range(40)
    ]
    assert sum(false) <= 2  # at 1% each, three or more of 40 has probability 0.7%


def test_unidentified_E():
    runs, _ = nine_sizes(noise=0.05, seed=2)
    short = {k: [v[i] for i in range(18)] for k, v in runs.items()}
    assert found(fit_vpnls(table(short)).judgements, "e_not_identified")
    clean, _ = nine_sizes(noise=0.003)
    assert not found(fit_vpnls(table(clean)).judgements, "e_not_identified")


def test_parameters_on_a_bound():
    rng = np.random.default_rng(1)
    N, D = np.exp(rng.uniform(np.log(1e7), np.log(1e10), (2, 60)))
    runs = columns(6 * N * D, N, 100 * N**-0.3 + 200 * D**-0.25 - 0.05)
    runs |= {"D": D, "budget": np.full(60, 1e18)}
    judgements = fit_vpnls(table(runs)).judgements
    assert only(judgements, "parameters_on_bound") == {"parameters": {"E": 0.0}}
    assert found(judgements, "e_is_zero")
