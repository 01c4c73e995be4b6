"""The surface of a designed sweep in fit.json: its optimum, its intervals, and when it has none."""

import json

import numpy as np
import pytest
from flops_fit.laws.designed_sweep import near_optimum_entry

E, A, B, ALPHA, BETA = 1.8, 480.0, 2100.0, 0.35, 0.37
BUDGETS = 10.0 ** np.arange(15, 18.1, 0.5)


def sweep(noise=0.0, seed=0, spread=1.6):
    """Return the columns of six sizes at each budget, about the optimum of the law."""
    C = np.repeat(BUDGETS, 6)
    N = N_opt(C) * np.tile(np.exp(np.linspace(-spread, spread, 6)), BUDGETS.size)
    D = C / (6 * N)
    rng = np.random.default_rng(seed)
    L = (E + A * N**-ALPHA + B * D**-BETA) * np.exp(noise * rng.standard_normal(C.size))
    ids = [str(i) for i in range(C.size)]
    return {"id": ids, "budget": C, "N": N, "D": D, "C": C, "loss": L}


def N_opt(C):
    """The closed form of Hoffmann et al. 2022, equation 4."""
    G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return G * (np.asarray(C) / 6) ** (BETA / (ALPHA + BETA))


def test_without_noise_the_optimum_is_the_closed_form():
    target = 1e20
    entry = near_optimum_entry(sweep(), [1e17, target])
    at_budget, at_target = entry["predictions"]
    N = N_opt(target)
    assert at_target["N_opt"] == pytest.approx(N, rel=1e-6)
    assert at_target["D_opt"] == pytest.approx(target / (6 * N), rel=1e-6)
    loss = E + A * N**-ALPHA + B * (target / 6 / N) ** -BETA
    assert at_target["L_opt"] == pytest.approx(loss, rel=1e-8)
    assert entry["surface"]["alpha"] == pytest.approx(ALPHA, rel=1e-6)
    assert (at_budget["extrapolated"], at_target["extrapolated"]) == (False, True)


def test_intervals_cover_where_the_form_is_exact():
    target, n = 1e20, 60
    hits = 0
    for seed in range(n):
        row = near_optimum_entry(sweep(0.003, seed), [target])["predictions"][0]
        low, high = row["N_opt_ci"]
        assert low < row["N_opt"] < high
        assert row["D_opt_ci"] == pytest.approx([target / 6 / high, target / 6 / low])
        hits += low < N_opt(target) < high
    # 95% of 60 are 57; five standard deviations of the binomial are 8.4
    assert hits >= 48


def test_runs_far_from_the_optimum_do_not_count():
    columns = sweep()
    far = np.abs(np.log(columns["N"] / N_opt(columns["C"]))) > np.log(6) + 0.15
    assert not far.any()
    wide = sweep(spread=2.3)  # ten times the optimum, at both ends
    assert near_optimum_entry(wide, [1e20])["left_out"] == 2 * BUDGETS.size


def test_what_no_surface_fits_has_a_reason():
    columns = sweep()
    few = {name: list(values)[:4] for name, values in columns.items()}
    assert "needs at least" in near_optimum_entry(few, [1e20])["why"]
    below = columns | {"loss": columns["loss"] - 10}
    entry = near_optimum_entry(below, [1e20])
    assert "positive losses" in entry["why"]
    assert entry["predictions"] == []
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
