"""Checkpoints of one training: drawn together, found where a table does not name them."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs, read_runs
from flops_fit.laws.evidence.resampling import Resampling, draw_counts, draw_run_counts
from flops_fit.laws.evidence.small_sample import restored_variance
from flops_fit.laws.evidence.trunks import with_suspected_trunks
from judged import found, only
from known_laws import ALPHA, surface

N_TRUNKS = 12
N_D = 6
NOISE = 0.01


def grid(seed, *, shared, own, n_trunks=N_TRUNKS, n_D=N_D):
    """Runs of an N x D grid: errors of log L that a row of one N shares, and each run's own."""
    rng = np.random.default_rng(seed)
    N, D = np.meshgrid(np.logspace(7.5, 9.5, n_trunks), np.logspace(9, 11, n_D), indexing="ij")
    error = shared * rng.standard_normal((n_trunks, 1)) + own * rng.standard_normal(N.shape)
    loss = surface(N, D) * np.exp(error)
    return {"N": N.ravel(), "D": D.ravel(), "C": 6 * (N * D).ravel(), "loss": loss.ravel()}


def checkpoints(seed):
    return grid(seed, shared=NOISE, own=NOISE / 5)


def named(runs, *, each=False):
    label = [f"run of {i}" if each else f"size {N:g}" for i, N in enumerate(runs["N"])]
    return runs | {"trunk": label}


def fit(runs, **options):
    chosen = {"bootstrap": 100, "approaches": ["vpnls"], "holdout_budgets": 0} | options
    return fit_runs(runs, study="s", params="total", **chosen)


def alpha(runs):
    block = fit(runs)["approaches"]["vpnls"]["surface"]
    return block["alpha"], *block["ci"]["alpha"]


def test_whole_trainings_give_alpha_the_spread_that_it_has():
    """Against the spread of alpha over new sweeps, intervals from rows are less than half."""
    tables = [checkpoints(seed) for seed in range(24)]
    whole = np.array([alpha(named(runs)) for runs in tables])
    rows = np.array([alpha(named(runs, each=True)) for runs in tables])
    # 95% of new sweeps lie within 3.92 standard deviations
    real = 3.92 * whole[:, 0].std(ddof=1)
    width_whole, width_rows = (np.median(x[:, 2] - x[:, 1]) for x in (whole, rows))
    assert width_rows < 0.5 * real
    assert 0.8 * real < width_whole < 2.0 * real
    held = ((whole[:, 1] <= ALPHA) & (ALPHA <= whole[:, 2])).mean()
    assert held > 0.85
    assert ((rows[:, 1] <= ALPHA) & (ALPHA <= rows[:, 2])).mean() < 0.75


def test_runs_of_one_trunk_are_drawn_together():
    table, _ = read_runs(named(checkpoints(0)))
    counts = draw_run_counts(table, [(50, np.random.default_rng(0))], Resampling())
    for trunk in np.unique(table.trunk):
        own = counts[:, table.trunk == trunk]
        assert (own == own[:, :1]).all()
    assert (counts.sum(axis=1) == N_TRUNKS * N_D).all()
    assert restored_variance(table, stratify=True) == pytest.approx(
        np.sqrt(N_TRUNKS / (N_TRUNKS - 1))
    )


def test_without_trunks_every_number_is_as_before():
    table, _ = read_runs(grid(0, shared=0.0, own=NOISE))
    assert table.trainings is None
    drawn = draw_run_counts(table, [(50, np.random.default_rng(3))], Resampling())
    alone = draw_counts(table.budget, 50, np.random.default_rng(3))
    np.testing.assert_array_equal(drawn, alone)


def test_a_trunk_for_each_run_changes_nothing():
    runs = grid(0, shared=0.0, own=NOISE)
    assert fit(named(runs, each=True)) == fit(runs)


def test_trunks_within_budgets_are_drawn_within_them():
    runs = grid(0, shared=0.0, own=NOISE)
    budget = np.repeat([1e18, 2e18, 3e18], 24)
    runs |= {"budget": budget, "trunk": np.repeat(np.arange(36), 2)}
    table, _ = read_runs(runs)
    assert Resampling().rows(table) == "whole trainings within budgets"
    counts = draw_run_counts(table, [(50, np.random.default_rng(0))], Resampling())
    for own in np.unique(table.budget):
        assert (counts[:, table.budget == own].sum(axis=1) == 24).all()


def test_an_empty_trunk_is_the_run_itself_which_others_may_name():
    runs = grid(0, shared=0.0, own=NOISE, n_trunks=2, n_D=3)
    runs["trunk"] = [None, "row 1", "row 1", "", float("nan"), 7]
    table, _ = read_runs(runs)
    trunk = dict(zip(table.id, table.trunk, strict=True))
    assert [trunk[f"row {i}"] for i in range(1, 7)] == [
        "row 1", "row 1", "row 1", "row 4", "row 5", "7",
    ]  # fmt: skip


def test_named_trunks_are_used_without_a_judgement_and_said():
    result = fit(named(checkpoints(0)))
    assert not found(result, "checkpoints_as_runs")
    assert "resampled whole trainings" in result["interval_method"]


def test_unnamed_checkpoints_are_found_and_resampled_as_if_named():
    runs = grid(0, shared=NOISE, own=NOISE / 20)
    result = fit(runs)
    values = only(result, "checkpoints_as_runs")
    assert (values["n"], values["trainings"]) == (N_TRUNKS * N_D, N_TRUNKS)
    assert values["along_D"] > 0.8 > 0.5 > values["along_N"]
    known = fit(named(runs))["approaches"]["vpnls"]["surface"]["ci"]
    # The same trainings in another order: the same law of the draws, not the same draws
    for mine, theirs in zip(result["approaches"]["vpnls"]["surface"]["ci"]["beta"], known["beta"],
                            strict=True):  # fmt: skip
        assert mine == pytest.approx(theirs, rel=0.02)


def test_whoever_says_that_runs_are_their_own_is_believed():
    runs = named(grid(0, shared=NOISE, own=NOISE / 20), each=True)
    result = fit(runs)
    assert not found(result, "checkpoints_as_runs")
    assert "whole trainings" not in result["interval_method"]


@pytest.mark.parametrize("own", [0.0, 1e-4, 1e-3, NOISE])
def test_independent_runs_of_a_grid_raise_no_alarm(own):
    for seed in range(25):
        rng = np.random.default_rng([7, seed])
        shape = {"n_trunks": rng.integers(6, 12), "n_D": rng.integers(4, 10)}
        table, _ = read_runs(grid(seed, shared=0.0, own=own, **shape))
        assert with_suspected_trunks(table) == (table, [])


def test_a_surface_that_no_cubic_follows_is_no_checkpoint():
    """What a surface misses is shared along N as along D."""
    runs = grid(0, shared=0.0, own=1e-4)
    runs["loss"] = runs["loss"] + 0.05 * np.sin(np.log(runs["D"] / runs["N"]) * 1.5)
    table, _ = read_runs(runs)
    assert with_suspected_trunks(table)[1] == []


def test_runs_that_name_their_budgets_are_taken_at_their_word():
    runs = grid(0, shared=NOISE, own=NOISE / 20)
    runs["budget"] = 10 ** np.round(np.log10(runs["C"]))
    assert not found(fit(runs), "checkpoints_as_runs")
