"""The answer: against known surfaces, closed forms of regressions, and small changes of losses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flops_fit.laws import fit_runs
from flops_fit.laws.answer.answer import Question, fit_answer
from flops_fit.laws.answer.law import ANSWER_COLUMNS, OptimumLaw, bend
from flops_fit.laws.answer.optimum import Optimum
from flops_fit.laws.answer.paths import fit_paths
from flops_fit.laws.answer.priors import PathPriors, Priors, ValleyPriors
from flops_fit.laws.answer.strata import number_strata, surface_optimum
from flops_fit.laws.answer.valleys import find_optima
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import read_runs
from flops_fit.laws.forms.surface import Surface

CHINCHILLA = Surface(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
EQUAL = Surface(E=1.8, A=500.0, B=900.0, alpha=0.35, beta=0.35)
BUDGETS = 10.0 ** np.arange(18.0, 20.1, 0.5)


def sweep(surface=CHINCHILLA, budgets=BUDGETS, sizes=7, width=1.6, noise=0.0, seed=0):
    """IsoFLOP runs about the surface's own optima under C = 6 N D, with relative noise."""
    rng = np.random.default_rng(seed)
    C = np.repeat(budgets, sizes)
    best = surface.G * (C / 6) ** surface.a
    N = best * np.exp(np.tile(np.linspace(-width, width, sizes), len(budgets)))
    D = C / (6 * N)
    L = surface.loss(N, D) * np.exp(noise * rng.standard_normal(C.size))
    return {"budget": C, "N": N, "D": D, "C": C, "loss": L}


def grid(surface=CHINCHILLA, noise=0.002, seed=0):
    """Runs of seven N and six D/N each, which stand at no common budgets."""
    rng = np.random.default_rng(seed)
    N = np.repeat(np.geomspace(3e7, 2e9, 7), 6)
    D = N * np.tile(np.geomspace(5, 100, 6) * 1.07, 7) * np.exp(0.2 * rng.standard_normal(42))
    L = surface.loss(N, D) * np.exp(noise * rng.standard_normal(42))
    return {"N": N, "D": D, "C": 6 * N * D, "loss": L}


def answer(runs, C=(), **options):
    table, _ = read_runs(runs)
    flops = FlopsPerUnit.from_runs(table.N, table.D, table.C)
    measured = (float(table.C.min()), float(table.C.max()))
    return fit_answer(table, flops, Question(C=tuple(C), measured=measured, level=0.9), **options)


def at_optimum(surface, C):
    N = surface.G * (C / 6) ** surface.a
    return N, float(surface.loss(N, C / (6 * N)))


@pytest.mark.parametrize("surface", [CHINCHILLA, EQUAL])
def test_a_sweep_over_a_true_surface_is_answered_with_its_optima(surface):
    C = [1e19, 1e20, 1e21, 1e22]
    found = answer(sweep(surface, noise=0.001), C)
    assert found.method == "path"
    assert [row.extrapolated for row in found.predictions] == [False, False, True, True]
    for row in found.predictions:
        N, L = at_optimum(surface, row.C)
        assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
        assert row.L_opt_ci[0] < L < row.L_opt_ci[1]
        assert row.N_opt == pytest.approx(N, rel=0.15)
        assert row.L_opt == pytest.approx(L, rel=0.01)
        assert 6 * row.N_opt * row.D_opt == pytest.approx(row.C, rel=1e-9)
        assert row.D_per_N == pytest.approx(row.D_opt / row.N_opt, rel=1e-9)


def test_a_grid_without_budgets_is_answered_by_strata():
    found = answer(grid(), [1e19, 1e21])
    assert found.method == "strata"
    for row in found.predictions:
        N, L = at_optimum(CHINCHILLA, row.C)
        assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
        assert row.L_opt_ci[0] < L < row.L_opt_ci[1]


def test_intervals_cover_in_simulations_of_a_true_surface():
    hits = np.zeros(2)
    C = 1e21
    N, L = at_optimum(CHINCHILLA, C)
    for seed in range(40):
        row = answer(sweep(noise=0.005, seed=seed), [C]).predictions[0]
        hits += [row.N_opt_ci[0] < N < row.N_opt_ci[1], row.L_opt_ci[0] < L < row.L_opt_ci[1]]
    # Of 40 at nominal 90%, fewer than 31 come about once in 250 times
    assert hits.min() >= 31


def test_intervals_hold_a_bend_that_a_power_law_does_not_have():
    C = np.repeat(10.0 ** np.arange(18.0, 21.1, 0.5), 7)
    x = np.log(C / 1e19)

    def path(x):
        return np.log(3e8) + 0.5 * x - 0.02 * x**2

    u = np.tile(np.linspace(-1.5, 1.5, 7), 7)
    N = np.exp(path(x) + u)
    L = 1.8 + np.exp(-0.15 * x) * (1 + 0.06 * (np.cosh(0.35 * u) - 1) / 0.35**2)
    hidden = C > 4e19
    runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    kept = {name: values[~hidden] for name, values in runs.items()}
    row = answer(kept, [1e21]).predictions[0]
    truth = path(np.log(1e21 / 1e19))
    line = np.polyfit(x[~hidden], path(x[~hidden]), 1)
    # The straight line through the same minima misses by more than the answer's half-width
    assert np.log(row.N_opt_ci[0]) < truth < np.log(row.N_opt_ci[1])
    assert np.polyval(line, np.log(1e21 / 1e19)) > np.log(row.N_opt_ci[1])
    everything = answer(runs, [1e21]).form_error["N_bend"]["found"]
    assert everything["ci"][0] < -0.02 < everything["ci"][1]
    assert everything["ci"][1] < 0


@pytest.mark.parametrize("runs", [sweep(noise=0.001, sizes=5, width=1.1), grid()])
def test_a_small_change_of_a_loss_changes_the_answer_little(runs):
    C = [1e20, 1e22]
    before = answer(runs, C).predictions
    for i in range(0, len(runs["loss"]), 3):
        changed = runs | {"loss": runs["loss"] * (1 + 3e-4 * (np.arange(runs["loss"].size) == i))}
        for row, old in zip(answer(changed, C).predictions, before, strict=True):
            for name, scale in (("N_opt", np.log), ("L_opt", float)):
                low, high = (scale(v) for v in getattr(old, f"{name}_ci"))
                new_low, new_high = (scale(v) for v in getattr(row, f"{name}_ci"))
                moved = scale(getattr(row, name)) - scale(getattr(old, name))
                assert (new_high - new_low) / (high - low) == pytest.approx(1, abs=0.1)
                assert abs(moved) < 0.1 * (high - low)


def test_a_minimum_at_the_edge_of_the_sizes_is_uncertain_not_dropped():
    runs = sweep(noise=0.0005)
    low = runs["N"] < CHINCHILLA.G * (runs["C"] / 6) ** CHINCHILLA.a * 0.99
    kept = {name: values[low | (runs["C"] < 5e19)] for name, values in runs.items()}
    optima = answer(kept).optima
    assert len(optima) == 5
    inside, at_edge = optima[0].log_N_std_err, optima[-1].log_N_std_err
    assert at_edge > 3 * inside
    truth = np.log(CHINCHILLA.G * (BUDGETS[-1] / 6) ** CHINCHILLA.a)
    assert optima[-1].log_N == pytest.approx(truth, abs=2 * at_edge)


def test_a_minimum_beyond_the_sizes_is_known_to_half_its_distance_at_best():
    x = np.linspace(-1.0, 1.0, 9)
    budgets = [(float(k), 20 + x, 3.0 + 0.06 * (x - 2.0) ** 2) for k in range(3)]
    exact = ValleyPriors(noise=1e-7, noise_freedom=100.0, skew_std=1e-9, curvature_spread=1e-6)
    optima, _ = find_optima(budgets, exact, positive=True)
    for optimum in optima:
        distance = optimum.log_N - 21.0
        assert 0.8 < distance < 1.2
        assert optimum.log_N_std_err == pytest.approx(distance / 2, rel=0.05)


def test_an_outlier_hardly_moves_a_minimum():
    runs = sweep(noise=0.001)
    spiked = runs["loss"].copy()
    spiked[7 * 2 + 5] *= 1.1
    plain, moved = (answer(runs | {"loss": L}).optima[2] for L in (runs["loss"], spiked))
    assert moved.log_N == pytest.approx(plain.log_N, abs=0.1)
    unweighted = np.polyfit(np.log(runs["N"][14:21]) - plain.log_N, spiked[14:21], 2)
    assert abs(-unweighted[1] / (2 * unweighted[0])) > 0.3


def test_the_vertex_of_an_exact_parabola_is_found():
    x = np.linspace(-1.0, 1.0, 7)
    budgets = [
        (float(k), 20 + k * 0.5 + x, 3.0 - 0.1 * k + 0.08 * (x - 0.1) ** 2) for k in range(3)
    ]
    priors = ValleyPriors(skew_std=1e-9, curvature_spread=10.0)
    optima, common = find_optima(budgets, priors, positive=True)
    for k, optimum in enumerate(optima):
        assert optimum.log_N == pytest.approx(20.1 + 0.5 * k, abs=1e-4)
        assert optimum.L == pytest.approx(3.0 - 0.1 * k, abs=1e-5)
    assert common < 1e-6


def test_half_of_the_bias_of_an_asymmetric_valley_is_put_right():
    steep = Surface(E=1.6, A=60.0, B=3000.0, alpha=0.25, beta=0.40)
    runs = sweep(steep, sizes=21)
    truth = np.log(steep.G * (BUDGETS / 6) ** steep.a)

    def bias(share):
        valley = ValleyPriors(skew_std=1.0, skew_share=share)
        found = answer(runs, priors=Priors(valley=valley)).optima
        return np.array([optimum.log_N for optimum in found]) - truth

    none, half, whole = (np.abs(bias(share)).mean() for share in (0.0, 0.5, 1.0))
    assert none > 0.03
    assert half == pytest.approx(none / 2, rel=0.2)
    assert whole < none / 4


def test_one_budget_has_a_minimum_and_no_law():
    runs = sweep(budgets=[1e19], noise=0.001)
    found = answer(runs, [1e19, 1e21])
    assert found.method == "minimum"
    assert found.law is None
    assert [row.C for row in found.predictions] == [1e19]
    row = found.predictions[0]
    N, L = at_optimum(CHINCHILLA, 1e19)
    assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
    assert row.L_opt == pytest.approx(L, rel=0.003)
    assert "gives no law" in found.why
    assert "not predicted" in found.why


def test_three_sizes_at_each_budget_give_an_answer():
    found = answer(sweep(sizes=3, width=0.8, noise=0.001), [1e21])
    N, _ = at_optimum(CHINCHILLA, 1e21)
    assert found.method == "path"
    assert found.predictions[0].N_opt_ci[0] < N < found.predictions[0].N_opt_ci[1]


def test_losses_below_zero_have_an_E_below_them():
    runs = sweep(noise=0.0005)
    found = answer(runs | {"loss": runs["loss"] - 4.0}, [1e21])
    row = found.predictions[0]
    N, L = at_optimum(CHINCHILLA, 1e21)
    assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
    assert row.L_opt_ci[0] < L - 4.0 < row.L_opt_ci[1]
    assert (found.law.rows[:, 6] < 0).all()


def test_the_answer_is_the_median_of_its_stored_draws():
    fit = fit_runs(
        sweep(noise=0.002), study="s", params="total", predict_budgets=[3e21], bootstrap=0
    )
    entry = json.loads(json.dumps(fit))["answer"]
    law = OptimumLaw.from_json(entry["law"])
    assert law.rows.shape == (1000, len(ANSWER_COLUMNS))
    row = entry["predictions"][-1]
    assert row["C"] == 3e21
    tails = [0.025, 0.5, 0.975]
    x = np.log(3e21) - entry["law"]["centre"]
    c, a, g, *_ = law.rows.T
    log_N = c + a * x + g * bend(x, entry["law"]["reach"])
    expected = np.exp(np.quantile(log_N, tails))
    found = [row["N_opt_ci"][0], row["N_opt"], row["N_opt_ci"][1]]
    assert found == pytest.approx(expected.tolist(), rel=1e-7)
    L = np.quantile(law.L_opt(np.log(3e21))[:, 0], tails)
    assert [row["L_opt_ci"][0], row["L_opt"], row["L_opt_ci"][1]] == pytest.approx(L.tolist())
    assert entry["method"] == "path"
    exact = entry["if_form_is_exact"]
    assert exact["predictions"] == fit["approaches"][exact["approach"]]["predictions"]


def test_each_assumption_costs_width():
    costs = answer(sweep(noise=0.001), [1e21]).form_error
    assert costs["N_bend"]["cost"] > 1.3
    assert costs["N_scatter"]["cost"] > 1
    assert costs["L_scatter"]["cost"] > 1
    # A bend of the loss and E are told apart by the prior alone: one may stand in for the other
    assert costs["L_bend"]["cost"] > 0.9


def test_the_approaches_asked_for_do_not_change_the_answer_of_a_grid():
    runs = grid()
    one, other = (
        fit_runs(runs, study="s", params="total", approaches=names, bootstrap=0)["answer"]["law"]
        for names in (["2"], ["1", "2", "3", "vpnls"])
    )
    assert one == other


def test_a_bend_is_a_parabola_that_becomes_a_line():
    x = np.array([-0.1, 0.0, 0.1])
    assert bend(x, 5.0) == pytest.approx(x**2, rel=1e-3)
    far = bend(np.array([40.0, 41.0]), 5.0)
    assert far[1] - far[0] == pytest.approx(2 * 5.0, rel=1e-6)
    assert bend(-7.0, 5.0) == pytest.approx(bend(7.0, 5.0))


def test_a_pinned_E_is_kept():
    optima = [
        Optimum(log_C=x, log_N=0.5 * x, log_N_std_err=0.02, L=1.5 + np.exp(1 - 0.1 * x),
                L_std_err=0.001, n=7)
        for x in np.linspace(40.0, 46.0, 5)
    ]  # fmt: skip
    law = fit_paths(optima, 0.0, PathPriors(), positive=True, E=1.5)
    assert np.allclose(law.rows[:, 6], 1.5)
    assert np.median(law.rows[:, 4]) == pytest.approx(-0.1, abs=0.003)


def test_strata_keep_runs_of_one_compute_together():
    C = np.repeat(10.0 ** np.linspace(18, 21, 12), 4)
    number = number_strata(C, Priors().strata)
    assert np.unique(number).size == 6
    assert all(np.unique(number[C == c]).size == 1 for c in np.unique(C))
    assert np.all(np.diff(number[np.argsort(C)]) >= 0)


def test_the_curvature_at_a_surface_optimum_is_its_second_difference():
    N = np.geomspace(1e7, 1e10, 9)
    flops = FlopsPerUnit.from_runs(N, np.full(9, 1e9), 6 * N * 1e9)
    found = surface_optimum([CHINCHILLA], np.array([1e20]), flops)
    step = 1e-3

    def log_L(shift):
        n = np.exp(found.log_N[0] + shift)
        return np.log(CHINCHILLA.loss(n, 1e20 / (6 * n)))

    second = (log_L(step) - 2 * log_L(0.0) + log_L(-step)) / step**2
    assert found.curvature[0] == pytest.approx(second, rel=1e-3)


def test_flat_losses_give_no_answer_and_nearly_flat_ones_a_wide_one():
    runs = sweep(noise=0.0)
    flat = answer(runs | {"loss": 2 + 0.1 * np.log(1e20 / runs["C"])}, [1e21])
    assert flat.method is None
    assert "none is the best" in flat.why
    assert flat.predictions == ()
    slope = 3 - 0.02 * np.log(runs["N"]) + 1e-6 * np.log(runs["N"]) ** 2
    row = answer(runs | {"loss": slope}, [1e21]).predictions[0]
    assert np.log(row.N_opt_ci[1] / row.N_opt_ci[0]) > 1.5


def test_checkpoints_of_a_training_count_as_one_run_in_a_stratum():
    one = {name: np.tile(values, 2) for name, values in grid(noise=0.0).items()}
    rng = np.random.default_rng(3)
    one["loss"] = one["loss"] * np.exp(0.003 * rng.standard_normal(84))
    twice = {name: np.repeat(values, 2) for name, values in one.items()}
    names = np.repeat([f"t{i}" for i in range(84)], 2).tolist()
    alone, as_runs, as_trainings = (
        answer(runs).optima for runs in (one, twice, twice | {"trunk": names})
    )
    for single, rows, trainings in zip(alone, as_runs, as_trainings, strict=True):
        assert trainings.log_N == pytest.approx(single.log_N, abs=0.01)
        assert trainings.log_N_std_err == pytest.approx(single.log_N_std_err, rel=0.02)
        assert trainings.L_std_err == pytest.approx(single.L_std_err, rel=0.02)
        assert rows.L_std_err < 0.8 * single.L_std_err


def test_valleys_far_steeper_than_those_of_language_models_are_not_taken_for_noise():
    C = np.repeat([1e12, 1e14, 1e16], 3)
    N = np.sqrt(C) * np.tile([0.5, 1.0, 2.0], 3)
    loss = 2 + np.log(N / C**0.5) ** 2
    optima = answer({"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": loss}).optima
    for optimum, C in zip(optima, (1e12, 1e14, 1e16), strict=True):
        assert optimum.log_N == pytest.approx(np.log(C**0.5), abs=1e-3)
        assert optimum.log_N_std_err < 0.05
        assert optimum.L == pytest.approx(2.0, abs=0.01)


def test_a_task_of_large_exponents_is_answered_too():
    steep = Surface(E=0.3, A=3e3, B=1e4, alpha=0.8, beta=0.7)
    budgets = 10.0 ** np.arange(10.0, 12.1, 0.5)
    row = answer(sweep(steep, budgets, sizes=5, noise=0.003), [1e13]).predictions[0]
    N, L = at_optimum(steep, 1e13)
    assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
    assert row.L_opt_ci[0] < L < row.L_opt_ci[1]


def test_a_grid_of_losses_below_zero_is_answered_as_if_lifted():
    runs = grid()
    plain, lowered = (
        answer(runs | {"loss": runs["loss"] - offset}, [1e21]) for offset in (0.0, 4.0)
    )
    assert plain.method == lowered.method == "strata"
    N, L = at_optimum(CHINCHILLA, 1e21)
    row = lowered.predictions[0]
    assert row.N_opt_ci[0] < N < row.N_opt_ci[1]
    assert row.L_opt_ci[0] < L - 4.0 < row.L_opt_ci[1]
    assert np.log(row.N_opt / plain.predictions[0].N_opt) == pytest.approx(0, abs=0.3)


def test_an_optimum_outside_of_a_grid_is_near_it_and_hardly_known():
    # Far too much data for the sizes: the best N of each stratum is larger than all of them, and
    # the data term is lost in the noise, so that surfaces put the optimum anywhere
    kaplan = Surface(E=0.0, A=14.0, B=25.0, alpha=0.076, beta=0.095)
    N, D = (np.repeat(np.geomspace(1e7, 1e8, 5), 5), np.tile(np.geomspace(2e10, 2e11, 5), 5))
    held = 0
    for seed in range(6):
        noise = np.exp(0.003 * np.random.default_rng(seed).standard_normal(25))
        runs = {"N": N, "D": D, "C": 6 * N * D, "loss": kaplan.loss(N, D) * noise}
        row = answer(runs, [1.2e19]).predictions[0]
        truth, _ = at_optimum(kaplan, 1.2e19)
        held += row.N_opt_ci[0] < truth < row.N_opt_ci[1]
        assert 1e5 < row.N_opt < 1e11
    assert held >= 4
