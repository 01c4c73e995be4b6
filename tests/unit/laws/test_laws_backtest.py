"""What is found at hidden budgets, against known optima."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface, read_runs
from flops_fit.laws.answer.law import ANSWER_COLUMNS, OptimumLaw
from flops_fit.laws.backtest.found import found_at_budgets, found_in_strata, strata_of
from flops_fit.laws.backtest.meaning import meaning
from flops_fit.laws.backtest.origins import design_of, origins
from flops_fit.laws.backtest.own import backtest_answer, reaches
from scipy.special import ndtri

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


def toy_law(std: float, shift: float = 0.0) -> OptimumLaw:
    """Return the law of `parabolas` with draws around it: of log N by `std`, of log L by 1%."""
    z = ndtri((np.arange(1001) + 0.5) / 1001)
    rows = np.zeros((z.size, len(ANSWER_COLUMNS)))
    rows[:, 0] = np.log(1e18) / 2 + shift + std * z
    rows[:, 1] = 0.5
    rows[:, 3], rows[:, 4] = 0.01 * z, -0.1
    rows[:, 6] = 2.0
    return OptimumLaw(centre=float(np.log(1e18)), reach=5.0, rows=rows)


def test_a_study_predicts_its_own_largest_budgets_from_the_others():
    table = read_runs(parabolas())[0]
    seen = []

    def refit(kept):
        seen.append(float(kept.C.max()))
        return toy_law(std=0.1)

    test = backtest_answer(table, refit, level=0.9, asked=[1e22, 1e25])
    assert seen == [1e21, 1e20]  # never a run of a budget that is to be predicted
    assert [row.times for row in test.rows] == pytest.approx([10, 10, 100])
    for row in test.rows:
        assert row.N_opt.predicted == pytest.approx(np.sqrt(row.C))
        assert row.N_opt.found == pytest.approx(np.sqrt(row.C))
        # The central 90% of a normal distribution
        assert np.log(row.N_opt.ci) - np.log(row.C) / 2 == pytest.approx(
            [-0.16449, 0.16449], abs=1e-3
        )
        assert row.L_opt.predicted == pytest.approx(2 + (1e18 / row.C) ** 0.1)
        assert row.N_opt.covered
        assert row.L_opt.covered
    assert test.to_json()["covered"] == {"N_opt": {"n": 3, "of": 3}, "L_opt": {"n": 3, "of": 3}}
    assert "1,000 times the largest C" in test.text
    assert test.judgements == ()


def test_an_answer_that_misses_is_judged():
    table = read_runs(parabolas())[0]
    test = backtest_answer(table, lambda kept: toy_law(std=0.1, shift=0.5), level=0.9)
    assert test.hits("N_opt") == (0, 3)
    assert test.hits("L_opt") == (3, 3)
    assert [item.code for item in test.judgements] == ["backtest_missed"]
    assert test.judgements[0].values["quantity"] == "N_opt"
    assert "no accident" in test.text


def test_losses_below_zero_are_tested_without_shares_of_them():
    runs = parabolas()
    table = read_runs(runs | {"loss": runs["loss"] - 2.5})[0]
    law = toy_law(std=0.1)
    law.rows[:, 6] -= 2.5
    test = backtest_answer(table, lambda kept: law, level=0.9)
    assert test.hits("L_opt") == (3, 3)
    assert [row.L_opt.found for row in test.rows] == pytest.approx(
        [(1e18 / row.C) ** 0.1 - 0.5 for row in test.rows]
    )
    assert "3 of 3 the loss" in test.text
    assert "% of the loss" not in test.text
    shifted = grid()
    table = read_runs(shifted | {"loss": shifted["loss"] - 3})[0]
    test = backtest_answer(table, lambda kept: law, level=0.9, kind="strata")
    assert test.rows == ()
    assert test.text.startswith("A loss is not positive")


def test_three_budgets_have_no_backtest_and_say_so():
    few = {key: values[:21] for key, values in parabolas().items()}
    test = backtest_answer(read_runs(few)[0], lambda kept: toy_law(std=0.1), level=0.9)
    assert test.rows == ()
    assert test.text.startswith("Fewer than 4 budgets")


def test_what_was_found_has_an_error_of_its_own():
    # 3 and 4 are the half-width and the error of what was found, at the same level
    assert reaches((-3.0, 0.0, 3.0), 4.99, 4 / 1.6449, 0.9)
    assert not reaches((-3.0, 0.0, 3.0), 5.01, 4 / 1.6449, 0.9)
    assert not reaches((-3.0, 0.0, 9.0), -5.01, 4 / 1.6449, 0.9)


@pytest.mark.parametrize(
    ("asked", "said"),
    [(1.0, "nothing is asked for"), (50.0, "no further ahead"), (200.0, "further ahead than")],
)
def test_the_sentence_says_how_far_the_test_reaches(asked, said):
    text = meaning(
        level=0.9, N=(5, 6), L=(6, 6), factor=1.1, error=0.004, tested=100.0, asked=asked,
        missed=False,
    )  # fmt: skip
    assert "5 of 6" in text
    assert "0.40%" in text
    assert said in text


def test_a_grid_without_an_optimum_has_no_backtest():
    # More units never help: the smallest model is as good at any compute
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 3e9, 8), np.geomspace(1e9, 2e11, 8)))
    table = read_runs({"N": N, "D": D, "C": 6 * N * D, "loss": 2 + 100 * N**-0.3})[0]
    assert found_in_strata(table, strata_of(table.C)) == [None] * 8
    assert origins(table) == []
