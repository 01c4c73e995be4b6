from __future__ import annotations

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.laws import keep_best_learning_rates, read_runs
from known_laws import parabolic_runs


def cell(lr, loss, *, status=None, size=64):
    """Runs of one budget and one size."""
    n = len(lr)
    return {
        "id": [f"r{i}" for i in range(n)],
        "status": status or ["completed"] * n,
        "budget": [1e18] * n,
        "size": [size] * n,
        "lr": lr,
        "N": [1e8] * n,
        "D": [1e9] * n,
        "C": [1e18] * n,
        "loss": loss,
    }


def test_table_does_not_depend_on_the_order_of_rows():
    runs = parabolic_runs(noise=0.01)
    order = np.random.default_rng(0).permutation(len(runs["id"]))
    shuffled = {name: [values[i] for i in order] for name, values in runs.items()}
    a, b = read_runs(runs)[0], read_runs(shuffled)[0]
    for name in ("id", "budget", "N", "D", "C", "L"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()


def test_numbers_may_be_text_and_optional_columns_absent():
    table, _ = read_runs(
        {"budget": ["1e18"], "N": ["1e8"], "D": [2], "C": ["1E18"], "loss": ["2.5"]}
    )
    assert table.id.tolist() == ["row 1"]
    assert table.budget.tolist() == [1e18]
    assert table.L.tolist() == [2.5]
    assert table.size.tolist() == [1e8]  # N stands in for the size
    assert np.isnan(table.lr).all()


def test_excluded_runs_are_taken_out_before_they_are_checked():
    runs = cell([0.1, 0.2], [2.0, -np.inf])
    table, excluded = read_runs(runs, exclude=["r1"])
    assert table.id.tolist() == ["r0"]
    assert [(e.id, e.reason) for e in excluded] == [("r1", "listed in fit.exclude")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": None}, "lack the column"),
        ({"N": [1e8]}, "Column N has 1 rows but column loss has 2"),
        ({"id": ["a", "a"]}, "Two runs have the id a"),
        ({"status": ["completed", "crashed"]}, "status of run r1 is 'crashed'"),
        ({"loss": [2.0, None]}, "r1 is completed but its loss is nan"),
        ({"loss": [2.0, "low"]}, "loss of run r1 is 'low'"),
        ({"N": [1e8, 0]}, "N of run r1 is 0"),
        ({"D": [1e8, np.inf]}, "D of run r1 is inf"),
        ({"budget": [1e18, -1]}, "budget of run r1 is -1"),
        ({"lr": [0.1, None]}, "r1 has no lr although others"),
    ],
)
def test_mistakes_are_named(change, message):
    runs = cell([0.1, 0.2], [2.0, 2.1]) | change
    runs = {name: values for name, values in runs.items() if values is not None}
    with pytest.raises(UserError, match=message):
        read_runs(runs)


@pytest.mark.parametrize("name", ["learning_rate", "max_lr"])
def test_another_name_of_lr_stands_in_for_it(name):
    runs = cell([0.1, 0.2], [2.0, 2.1])
    renamed = {(name if key == "lr" else key): values for key, values in runs.items()}
    assert read_runs(renamed)[0].lr.tolist() == [0.1, 0.2]
    table, dropped, _ = keep_best_learning_rates(read_runs(renamed)[0])
    assert (table.id.tolist(), [one.id for one in dropped]) == (["r0"], ["r1"])
    assert read_runs(runs | {name: [3.0, 4.0]})[0].lr.tolist() == [0.1, 0.2]


def test_flops_per_unit_that_gives_C_is_a_count():
    runs = cell([0.1, 0.2], [2.0, 2.1]) | {"C": [1e18, 1.01e18]}
    assert read_runs(runs)[0].counted.tolist() == [False, False]
    counted = read_runs(runs | {"flops_per_unit": [1e9, 1e9]})[0]
    assert dict(zip(counted.id, counted.counted, strict=True)) == {"r0": True, "r1": False}


def test_unknown_exclusions_are_named():
    with pytest.raises(UserError, match="nobody"):
        read_runs(cell([0.1], [2.0]), exclude=["nobody"])


def test_the_best_mean_over_seeds_wins_and_keeps_all_its_seeds():
    # The single lowest loss, 2.00, belongs to the worse learning rate
    runs = cell([0.1, 0.1, 0.2, 0.2, 0.4], [2.00, 2.30, 2.10, 2.08, 2.5])
    table, excluded, (choice,) = keep_best_learning_rates(read_runs(runs)[0])
    assert sorted(table.id) == ["r2", "r3"]
    assert [e.id for e in excluded] == ["r0", "r1", "r4"]
    assert "0.2 is" in excluded[0].reason
    assert (choice.best, choice.tried) == (0.2, (0.1, 0.2, 0.4))


def test_a_learning_rate_at_which_a_seed_diverged_comes_last():
    status = ["completed", "completed", "completed", "diverged"]
    runs = cell([0.1, 0.1, 0.2, 0.2], [2.2, 2.3, 2.0, None], status=status)
    table, excluded, (choice,) = keep_best_learning_rates(read_runs(runs)[0])
    assert choice.best == 0.1
    assert sorted(table.id) == ["r0", "r1"]
    assert {e.id: e.reason for e in excluded}["r3"] == "diverged"


def test_cells_are_judged_apart():
    small, large = cell([0.1, 0.2], [2.0, 2.1]), cell([0.1, 0.2], [1.9, 1.8], size=128)
    runs = {name: [*small[name], *large[name]] for name in small}
    runs["id"] = ["s1", "s2", "l1", "l2"]
    table, _, choices = keep_best_learning_rates(read_runs(runs)[0])
    assert sorted(table.id) == ["l2", "s1"]
    assert {choice.size: choice.best for choice in choices} == {64: 0.1, 128: 0.2}


def test_diverged_runs_need_no_numbers_but_a_budget():
    runs = cell([0.1, 0.1], [2.0, None], status=["completed", "diverged"])
    runs["D"] = [1e9, None]
    table, excluded, choices = keep_best_learning_rates(read_runs(runs)[0])
    assert table.id.tolist() == ["r0"]
    assert [(e.id, e.reason) for e in excluded] == [("r1", "diverged")]
    assert choices == ()


def grid(rng, *, rate="lr"):
    """Three sizes on four D each, two learning rates at each: the better one depends on D."""
    N, D, i = (values.ravel() for values in np.meshgrid(
        [1e7, 1e8, 1e9], [1e9, 4e9, 1.6e10, 6.4e10], [0, 1], indexing="ij"
    ))  # fmt: skip
    better = np.where(D < 1e10, 0, 1)
    return {
        "N": N,
        "D": D * (1 + 1e-4 * rng.normal(size=D.size)),
        "C": 6 * N * D,
        rate: np.where(i == 0, 1e-3, 3e-3),
        "loss": 2 + 30 / D**0.2 + 0.1 * (i != better),
    }


def test_learning_rates_compete_at_one_N_and_D():
    runs = grid(np.random.default_rng(0))
    table, excluded, choices = keep_best_learning_rates(read_runs(runs)[0])
    assert len(table) == 12
    assert len(excluded) == 12
    assert all("not the best at its N and D" in exclusion.reason for exclusion in excluded)
    assert table.lr.tolist() == np.where(table.D < 1e10, 1e-3, 3e-3).tolist()
    assert len(choices) == 12
    assert {round(choice.D / 1e9) for choice in choices} == {1, 4, 16, 64}


def test_one_learning_rate_per_N_and_D_leaves_every_run():
    """As in sweeps that publish the best rate of each cell, which falls with N and D."""
    runs = grid(np.random.default_rng(0))
    runs = {name: values[::2] for name, values in runs.items()}
    runs["lr"] = 3e-3 * (runs["N"] / 1e7) ** -0.3 * (runs["D"] / 1e9) ** -0.1
    table, excluded, choices = keep_best_learning_rates(read_runs(runs)[0])
    assert len(table) == 12
    assert excluded == ()
    assert choices == ()


def test_a_diverged_run_that_stopped_early_counts_in_the_cell_of_its_budget():
    status = ["completed", "completed", "completed", "diverged"]
    runs = cell([0.1, 0.1, 0.2, 0.2], [2.2, 2.3, 2.0, None], status=status)
    runs["D"] = [1e9, 1e9, 1e9, 1e7]
    table, _, (choice,) = keep_best_learning_rates(read_runs(runs)[0])
    assert choice.best == 0.1
    assert sorted(table.id) == ["r0", "r1"]
