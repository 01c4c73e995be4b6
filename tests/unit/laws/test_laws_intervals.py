"""Bootstrap draws and intervals: reproducible, of the right size, and honest about losses."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import (
    ApproachOptions,
    FlopsPerUnit,
    ResidualLimits,
    Surface,
    approach_named,
    fit_isoflop,
    fit_profile,
    fit_runs,
    read_runs,
    search_surface,
    surface_objective,
)
from flops_fit.laws.approaches.profile import resampled_optima
from flops_fit.laws.evidence.intervals import intervals_of
from flops_fit.laws.evidence.resampling import draw_counts
from flops_fit.laws.solver import many_surfaces
from flops_fit.laws.solver.many_surfaces import resampled_surfaces
from flops_fit.laws.solver.newton import minimise_rows
from flops_fit.laws.solver.objectives import HuberLog, SquaredLoss
from flops_fit.laws.solver.terms import SurfaceData
from judged import found
from known_laws import nine_sizes, parabolic_runs
from scipy.optimize import least_squares


def fit(runs, **options):
    return fit_runs(runs, study="s", params="total", **({"bootstrap": 200} | options))


def test_intervals_do_not_depend_on_workers_but_on_the_seed():
    runs, _ = nine_sizes()
    one, many = (fit(runs, workers=n) for n in (1, 3))
    assert one == many
    other = fit(runs, seed=1)
    assert other["approaches"]["3"]["surface"]["ci"] != one["approaches"]["3"]["surface"]["ci"]
    assert other["approaches"]["3"]["surface"]["E"] == one["approaches"]["3"]["surface"]["E"]


def test_every_quantity_has_an_interval_that_holds_its_estimate():
    runs, _ = nine_sizes()
    result = fit(runs, predict_budgets=[1e22])
    assert "200 resamples, seed 0" in result["interval_method"]
    for name, entry in result["approaches"].items():
        for law in ("N_opt", "D_opt", "L_opt"):
            for key in ("coefficient", "exponent"):
                low, high = entry[law]["ci"][key]
                assert low <= entry[law][key] <= high
        for row in entry["predictions"]:
            for key in ("N_opt", "D_opt", "L_opt", "D_per_N"):
                low, high = row[f"{key}_ci"]
                assert low <= row[key] <= high
        if name in ("3", "vpnls"):
            surface = entry["surface"]
            for key, (low, high) in surface["ci"].items():
                assert low <= surface[key] <= high
                assert surface["std_err"][key] > 0


def test_standard_errors_are_those_of_repeated_studies():
    runs, _ = nine_sizes(seed=0)
    found = []
    for seed in range(1, 61):
        other, _ = nine_sizes(seed=seed)
        found.append(search_surface(other["N"], other["D"], other["loss"], SquaredLoss())[0].a)
    entry = fit(runs, approaches=["vpnls"], bootstrap=400)["approaches"]["vpnls"]
    # 60 studies know their spread to 9%, one study its own noise to 11%: three errors of both
    assert entry["surface"]["std_err"]["a"] == pytest.approx(np.std(found), rel=0.45)


def test_standard_errors_of_plain_rows_are_those_of_independent_refits():
    runs, truth = nine_sizes(seed=2)
    table = read_runs(runs)[0]
    counts = draw_counts(table.budget, 200, np.random.default_rng(0), stratify=False)
    solution, _ = search_surface(table.N, table.D, table.L, SquaredLoss())
    ours = resampled_surfaces(solution, table, counts, SquaredLoss())

    def residuals(row, weights):
        a, b, e, alpha, beta = row
        fitted = np.exp(a - alpha * np.log(table.N)) + np.exp(b - beta * np.log(table.D))
        return np.sqrt(weights) * (fitted + np.exp(e) - table.L)

    theirs = np.array(
        [
            least_squares(
                residuals, truth.to_row(), args=(w,), x_scale="jac", xtol=1e-14, ftol=1e-14
            ).x
            for w in counts
        ]
    )
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=1e-3)
    # Another 1000 draws: 200 know a spread to 5%, 1000 to 2.2%; three errors of both
    entry = fit(runs, approaches=["vpnls"], bootstrap=1000, stratify=False)["approaches"]["vpnls"]
    errors = entry["surface"]["std_err"]
    assert errors["alpha"] == pytest.approx(theirs[:, 3].std(), rel=0.17)
    assert errors["beta"] == pytest.approx(theirs[:, 4].std(), rel=0.17)


def test_warm_refits_are_the_global_minima_of_their_resamples():
    runs, _ = nine_sizes(outliers=0.05, seed=3)
    table = read_runs(runs)[0]
    counts = draw_counts(table.budget, 25, np.random.default_rng(0))
    for objective in (HuberLog(), SquaredLoss()):
        solution, _ = search_surface(table.N, table.D, table.L, objective)
        rows = resampled_surfaces(solution, table, counts, objective)
        for row, weights in zip(rows, counts, strict=True):
            _, lowest = search_surface(table.N, table.D, table.L, objective, weights=weights)
            fitted = np.exp(row[0] - row[3] * np.log(table.N))
            fitted += np.exp(row[1] - row[4] * np.log(table.D)) + np.exp(row[2])
            value = (weights * objective.value(np.log(fitted), table.L)).sum()
            assert value <= lowest * (1 + 1e-6)


@pytest.mark.parametrize("objective", [HuberLog(), SquaredLoss()])
@pytest.mark.parametrize("tied", [False, True])
def test_single_steps_scatter_as_refits_do(objective, tied, monkeypatch):
    rng = np.random.default_rng(0)
    N, C = np.exp(rng.uniform(17, 21, 2000)), 10 ** rng.uniform(18, 22, 2000)
    L = (1.69 + 406 / N**0.34 + 410 / (C / 6 / N) ** 0.28) * np.exp(0.01 * rng.normal(size=2000))
    table = read_runs({"N": N, "D": C / (6 * N), "C": C, "loss": L})[0]
    solution, _ = search_surface(table.N, table.D, table.L, objective, tied=tied)
    counts = draw_counts(table.budget, 150, rng)
    refits = resampled_surfaces(solution, table, counts, objective, tied=tied)
    monkeypatch.setattr(many_surfaces, "MAX_REFITTED", 100)
    steps = resampled_surfaces(solution, table, counts, objective, tied=tied)
    assert (steps[:, 3] == steps[:, 4]).all() == tied
    # Squares are smooth; how many residuals lie within a Huber loss's delta is itself uncertain
    limits = (0.995, 0.03) if isinstance(objective, SquaredLoss) else (0.95, 0.2)
    for i in range(5):
        assert np.corrcoef(refits[:, i], steps[:, i])[0, 1] > limits[0]
        assert steps[:, i].std() == pytest.approx(refits[:, i].std(), rel=limits[1])


def test_a_step_for_all_runs_leaves_the_solution(monkeypatch):
    runs, _ = nine_sizes()
    table = read_runs(runs)[0]
    monkeypatch.setattr(many_surfaces, "MAX_REFITTED", 10)
    solution, _ = search_surface(table.N, table.D, table.L, SquaredLoss())
    rows = resampled_surfaces(solution, table, np.ones((2, 45)), SquaredLoss())
    np.testing.assert_allclose(rows, np.stack([solution.to_row()] * 2), rtol=1e-4)


def test_refits_leave_a_local_minimum():
    runs, _ = nine_sizes(noise=0.03, outliers=0.1, seed=11)
    table = read_runs({key: values[::2] for key, values in runs.items()})[0]
    data = SurfaceData.of(table.N, table.D, table.L)
    surface, lowest = search_surface(table.N, table.D, table.L, HuberLog())
    scatter = np.random.default_rng(0).normal(size=(60, 5)) * [1, 1, 1, 0.3, 0.3]
    starts = data.centred(surface.to_row()[np.newaxis]) + scatter
    starts[:, 3:] = np.clip(starts[:, 3:], 0.02, 4)
    found, values = minimise_rows(starts, data, HuberLog())
    trapped = Surface.from_row(data.uncentred(found)[np.argmax(values)])
    # A minimum of its own, from which no step leads down
    assert values.max() > 1.001 * lowest
    rows = resampled_surfaces(trapped, table, np.ones((1, len(table))), HuberLog())
    value = surface_objective(Surface.from_row(rows[0]), table.N, table.D, table.L, HuberLog())
    assert value == pytest.approx(lowest, rel=1e-9)


def test_every_chunk_draws_for_itself():
    runs, _ = nine_sizes()
    text = fit(runs, approaches=["vpnls"])["prediction"]["draws"]["alpha"]
    values = text.split()
    assert len(values) == len(set(values)) == 200  # two chunks of 100


def test_the_small_sample_factor_of_each_approach():
    table = read_runs(nine_sizes()[0])[0]
    profiles = fit_isoflop(table)

    def factor(name, *, level=0.9, stratify=True, tied=False):
        return approach_named(name).small_sample_factor(
            profiles, table, ApproachOptions(tied=tied), level=level, stratify=stratify
        )

    # 45 runs in 5 strata, 40 degrees of freedom: t(0.95; 40) = 1.6839, z = 1.6449
    expected = np.sqrt(45 / 40) * 1.68385 / 1.64485
    assert factor("vpnls") == pytest.approx(expected, rel=1e-4)
    # Tied, 41 degrees of freedom: t(0.975; 41) = 2.0195, z = 1.9600; one stratum of plain rows
    assert factor("vpnls", level=0.95, stratify=False, tied=True) == pytest.approx(
        np.sqrt(45 / 44) * 2.01954 / 1.95996, rel=1e-4
    )
    assert factor("1") == pytest.approx(np.sqrt(45 / 40), rel=1e-12)
    # 5 parabolas with 3 coefficients each, 30 degrees of freedom: t(0.95; 30) = 1.6973
    assert factor("2") == pytest.approx(1.69726 / 1.64485, rel=1e-4)
    assert factor("3") == pytest.approx((1 + 2.5 / 45**0.5) ** -0.5, rel=1e-12)
    method = fit(nine_sizes()[0], ci=0.9)["interval_method"]
    assert f"times a small-sample factor of {expected:.3f} (approach vpnls)" in method


def test_stratified_resamples_keep_the_runs_of_each_budget():
    strata = np.repeat([1.0, 2.0, 3.0], [3, 5, 9])
    rng = np.random.default_rng(0)
    counts = draw_counts(strata, 500, rng)
    for label, n in ((1.0, 3), (2.0, 5), (3.0, 9)):
        assert (counts[:, strata == label].sum(1) == n).all()
    plain = draw_counts(strata, 500, rng, stratify=False)
    assert (plain.sum(1) == 17).all()
    assert plain[:, strata == 1.0].sum(1).std() > 1
    np.testing.assert_allclose(counts.mean(0), 1.0, atol=0.2)  # five standard errors


def test_profiles_resample_residuals_of_the_right_size():
    C, N = np.repeat(np.logspace(18, 20, 40), 5), None
    rng = np.random.default_rng(0)
    u = np.tile(np.linspace(-1, 1, 5), 40)
    N = np.exp(20 + u)
    L = 2 + 0.1 * u**2 + 0.002 * rng.normal(size=200)
    profiles = [fit_profile(c, N[C == c], L[C == c]) for c in np.unique(C)]
    drawn, _, usable = resampled_optima(profiles, 500, rng, ResidualLimits())
    spread = np.sqrt(np.nanmean(np.var(np.where(usable, drawn, np.nan), axis=0)))
    # What the vertices of 40 equal profiles really scatter by
    truth = np.std([profile.log_N_opt for profile in profiles])
    assert spread == pytest.approx(truth, rel=0.4)
    runs = parabolic_runs(np.logspace(18, 22, 5), noise=1e-3)
    assert "leverage-scaled residuals" in fit(runs, approaches=["2"])["interval_method"]
    nine, _ = nine_sizes()
    assert "leverage-scaled residuals" in fit(nine, approaches=["2"])["interval_method"]
    assert "resampled runs," in fit(nine, approaches=["3"], stratify=False)["interval_method"]


def test_intervals_are_percentiles_around_the_estimate():
    draws = {"N_opt exponent": np.linspace(0.0, 1.0, 1001), "log N_opt": np.linspace(0, 1, 1001)}
    estimates = {"N_opt exponent": np.float64(0.5), "log N_opt": np.float64(0.5)}
    found, lost = intervals_of(estimates, draws, level=0.9)
    assert lost == 0
    assert found["N_opt exponent"] == pytest.approx([0.05, 0.95])
    assert found["N_opt"] == pytest.approx(np.exp([0.05, 0.95]))
    wide, _ = intervals_of(estimates, draws, level=0.9, factor=1.1)
    assert wide["N_opt exponent"] == pytest.approx([0.5 - 0.495, 0.5 + 0.495])
    draws["N_opt exponent"][:200] = np.nan
    found, lost = intervals_of(estimates, draws, level=0.9)
    assert lost == pytest.approx(200 / 1001)
    assert found["N_opt exponent"] is None


def test_an_interval_holds_an_estimate_that_its_draws_miss():
    draws = {"N_opt exponent": np.linspace(0.4, 0.6, 101), "L_opt": np.linspace(2, 3, 202)}
    draws["L_opt"] = draws["L_opt"].reshape(101, 2)
    estimates = {"N_opt exponent": 0.35, "L_opt": np.array([1.9, 3.2])}
    for factor in (0.5, 1.5):
        found, _ = intervals_of(estimates, draws, level=0.9, factor=factor)
        assert found["N_opt exponent"][0] == 0.35
        assert found["L_opt"][0][0] == 1.9
        assert found["L_opt"][1][1] == 3.2
        assert found["L_opt"][0][1] > 2.0


def test_draws_that_do_not_vary_are_no_interval():
    draws = {"N_opt exponent": np.full(50, 0.5), "L_opt": np.tile([2.0, 3.0], (50, 1))}
    draws["N_opt exponent"][::3] += 1e-16
    estimates = {"N_opt exponent": 0.5, "L_opt": np.array([2.0, 3.0])}
    assert intervals_of(estimates, draws, level=0.9)[0] == {"N_opt exponent": None, "L_opt": None}


def test_tied_exponents_have_no_interval_and_disagree_with_nothing():
    runs, _ = nine_sizes(noise=0.002)
    # Approach 2 finds another exponent, with an interval far from 0.5
    runs["N"] = runs["N"] * (runs["C"] / 1e19) ** 0.15
    runs["D"] = runs["C"] / (6 * runs["N"] + 2e5 * runs["N"] ** 0.6)
    result = fit(runs, approaches=["2", "vpnls"], tie_exponents=True, bootstrap=60)
    entry = result["approaches"]["vpnls"]
    assert (entry["surface"]["a"], entry["surface"]["b"]) == (0.5, 0.5)
    assert entry["surface"]["ci"]["a"] is entry["surface"]["ci"]["b"] is None
    assert entry["N_opt"]["ci"]["exponent"] is entry["D_opt"]["ci"]["exponent"] is None
    assert entry["N_opt"]["ci"]["coefficient"] is not None
    assert entry["surface"]["ci"]["E"] is not None
    low, high = result["approaches"]["2"]["N_opt"]["ci"]["exponent"]
    assert not low <= entry["N_opt"]["exponent"] <= high
    assert not found(result, "approaches_disagree")


def test_narrower_levels_give_narrower_intervals():
    runs, _ = nine_sizes()
    wide, narrow = (
        fit(runs, approaches=["3"], ci=ci)["approaches"]["3"]["surface"]["ci"]["a"]
        for ci in (0.95, 0.5)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_many_distinct_sizes_are_thinned_for_the_accounting():
    N = np.exp(np.linspace(15, 22, 5000))
    flops = FlopsPerUnit.from_runs(N, np.ones(5000), 6 * N + 1e5 * N**0.7)
    assert flops.log_N.size <= 64
    np.testing.assert_allclose(flops.flops_per_unit(N), 6 * N + 1e5 * N**0.7, rtol=5e-3)
