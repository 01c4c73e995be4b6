"""What is found at hidden budgets, against known optima."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface, read_runs
from flops_fit.laws.backtest.found import found_at_budgets, found_in_strata, strata_of
from flops_fit.laws.backtest.origins import design_of, origins

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
CENTRES = np.array([1e18, 1e19, 1e20, 1e21, 1e22])


def parabolas(noise: float = 0.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Return 5 budgets of 7 sizes: L = 2 + (1e18/C)^0.1 + (log N - log C / 2)^2 / 20, and noise."""
    C = np.repeat(CENTRES, 7)
    N = np.sqrt(C) * np.tile(np.exp(np.linspace(-1.2, 1.3, 7)), CENTRES.size)
    L = 2 + (1e18 / C) ** 0.1 + (np.log(N) - np.log(C) / 2) ** 2 / 20
    L = L + noise * np.random.default_rng(seed).standard_normal(L.size)
    return {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}


def grid() -> dict[str, np.ndarray]:
    """Return 8 sizes by 8 numbers of units on the surface, at no budgets."""
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 3e9, 8), np.geomspace(1e9, 2e11, 8)))
    return {"N": N, "D": D, "C": 6 * N * D, "loss": TRUTH.loss(N, D)}


def test_the_vertex_of_each_budget_is_found():
    found = found_at_budgets(read_runs(parabolas())[0])
    assert list(found) == CENTRES.tolist()
    for C, optimum in found.items():
        assert optimum.C == pytest.approx(C)
        assert optimum.log_N == pytest.approx(np.log(C) / 2, abs=1e-9)
        assert optimum.L == pytest.approx(2 + (1e18 / C) ** 0.1, abs=1e-12)
        assert optimum.n == 7


def test_the_standard_errors_of_a_vertex_are_its_scatter():
    tables = [read_runs(parabolas(noise=0.003, seed=i))[0] for i in range(300)]
    found = [o for table in tables for o in found_at_budgets(table).values()]
    z = np.array([(o.log_N - np.log(o.C) / 2) / o.log_N_std_err for o in found])
    z_L = np.array([(o.L - 2 - (1e18 / o.C) ** 0.1) / o.L_std_err for o in found])
    # Of Student's t with some 20 degrees of freedom: 1500 values know it to 0.02
    assert z.std() == pytest.approx(1.05, abs=0.08)
    assert z_L.std() == pytest.approx(1.05, abs=0.08)


def test_a_budget_whose_minimum_lies_outside_shows_no_optimum():
    runs = parabolas()
    last = runs["C"] == CENTRES[-1]
    runs["loss"] = np.where(last, 2 + np.log(runs["N"]) / 50, runs["loss"])
    found = found_at_budgets(read_runs(runs)[0])
    assert found[CENTRES[-1]] is None
    assert found[CENTRES[0]] is not None


def test_runs_far_from_the_lowest_do_not_move_a_vertex():
    runs = parabolas()
    far = {key: values[:1].copy() for key, values in runs.items()}
    far["N"], far["loss"] = runs["N"][:1] / 20, np.array([9.0])
    more = {key: np.concatenate([runs[key], far[key]]) for key in runs}
    found = found_at_budgets(read_runs(more)[0])[CENTRES[0]]
    assert found.log_N == pytest.approx(np.log(CENTRES[0]) / 2, abs=1e-9)


def test_strata_show_the_optima_of_the_surface_that_they_lie_on():
    table = read_runs(grid())[0]
    flops = FlopsPerUnit.from_runs(table.N, table.D, table.C)
    strata = strata_of(table.C)
    assert sorted(np.concatenate(strata).tolist()) == list(range(64))
    found = found_in_strata(table, strata)
    assert len(found) == 8
    for optimum in found:
        N = TRUTH.N_opt(optimum.C, flops)
        assert optimum.log_N == pytest.approx(np.log(N), abs=1e-3)
        assert optimum.L == pytest.approx(TRUTH.loss(N, optimum.C / (6 * N)), rel=1e-4)


def test_a_stratum_shows_a_shift_that_the_surface_does_not_have():
    runs = grid()
    table = read_runs(runs)[0]
    top = strata_of(table.C)[-1]
    flops = FlopsPerUnit.from_runs(table.N, table.D, table.C)
    tilted = table.L.copy()
    tilted[top] *= (table.N[top] / TRUTH.N_opt(table.C[top], flops)) ** -0.004
    runs = {"N": table.N, "D": table.D, "C": table.C, "loss": tilted}
    found = found_in_strata(read_runs(runs)[0], strata_of(table.C))[-1]

    before = np.log(TRUTH.N_opt(found.C, flops))
    log_N = np.linspace(before - 1, before + 1, 20001)
    L = TRUTH.loss(np.exp(log_N), found.C / (6 * np.exp(log_N))) * np.exp(-0.004 * log_N)
    after = log_N[np.argmin(L)]
    assert after - before > 0.1
    assert found.log_N == pytest.approx(after, abs=0.25 * (after - before))


def test_origins_hide_the_largest_budgets_and_keep_three():
    table = read_runs(parabolas())[0]
    assert design_of(table) == "budgets"
    found = origins(table)
    assert [o.n_hidden for o in found] == [1, 2]
    assert [o.largest for o in found] == [1e21, 1e20]
    assert [[f.C for f in o.hidden] for o in found] == [
        pytest.approx([1e22]),
        pytest.approx([1e21, 1e22]),
    ]
    for origin in found:
        assert table.C[origin.kept].max() == origin.largest
        assert (table.C[~origin.kept] > origin.largest).all()


def test_a_grid_is_hidden_by_strata():
    table = read_runs(grid())[0]
    assert design_of(table) == "strata"
    found = origins(table)
    assert [(o.n_hidden, len(o.hidden), int(o.kept.sum())) for o in found] == [
        (1, 1, 56),
        (2, 2, 48),
        (3, 3, 40),
    ]
    assert all(table.C[o.kept].max() <= table.C[~o.kept].min() for o in found)


def test_three_budgets_are_too_few_to_hide_one():
    runs = parabolas()
    few = {key: values[:21] for key, values in runs.items()}
    assert origins(read_runs(few)[0]) == []
