"""The number of processes does not change the answer (real processes, joined by gloo)."""

from __future__ import annotations

import pytest

# The shares of 10 samples among 4 processes are 2, 3, 2, 3; 103 validation samples make 64 chunks
# of 1 or 2.
CASES = [
    pytest.param("float64", "points:mean_loss", 1e-8, (1, 4), id="float64"),
    pytest.param("float64", "points:masked_loss", 1e-8, (1, 2, 4), id="float64, counts that vary"),
    pytest.param("no", "points:mean_loss", 2e-3, (1, 2), id="float32"),
    *(
        pytest.param(precision, "points:mean_loss", tolerance, (1, 2, 4), marks=pytest.mark.long)
        for precision, tolerance in (("float64", 1e-8), ("no", 2e-3))
    ),
]


@pytest.mark.parametrize(("precision", "loss", "tolerance", "numbers"), CASES)
def test_one_two_and_four_processes_give_the_same_loss(
    launchpad, precision, loss, tolerance, numbers
):
    launchpad.config["loss"] = loss
    launchpad.config["train"]["precision"] = precision
    records = {}
    for processes in numbers:
        launchpad.config["study"] = f"points{processes}"
        launchpad.config["train"]["processes"] = processes
        run_id = launchpad.plan()[0]
        records[processes] = launchpad.launch(run_id)
    assert len({record["id"] for record in records.values()}) == 1
    one = records[1]
    assert one["steps"] >= 100
    for processes, record in records.items():
        assert record["world"]["num_processes"] == processes
        # The larger of two unequal shares fits as well as the smaller one.
        assert record["world"]["gradient_accumulation"] == 1
        assert record["D"] == one["D"] == one["steps"] * 10
        assert record["loss"] == pytest.approx(one["loss"], rel=tolerance)
        assert record["loss_std_err"] == pytest.approx(one["loss_std_err"], rel=10 * tolerance)
        for row, expected in zip(record["curve"], one["curve"], strict=True):
            assert row[:2] == expected[:2]
            assert row[2] == pytest.approx(expected[2], rel=tolerance)
