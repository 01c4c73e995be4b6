"""Columns in another unit: found by orders of magnitude, and told once instead of absurdly."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import fit_runs, read_runs
from flops_fit.laws.evidence.units import ABSURD, judge_units
from judged import codes, found, only
from known_laws import chinchilla_runs

OFFSETS = np.linspace(-1.2, 1.2, 6)
BUDGETS = np.logspace(18, 22, 5)


def in_units(**factors):
    """Runs of a known surface, whose columns are divided by these factors; budgets in FLOPs."""
    runs = chinchilla_runs(BUDGETS, OFFSETS)
    runs["C_6nd"] = 6 * runs["N"] * runs["D"] / factors.get("N", 1) / factors.get("D", 1)
    return runs | {name: runs[name] / factor for name, factor in factors.items()}


def fit(runs, **options):
    return fit_runs(runs, study="s", params="as_in_table", bootstrap=0, **options)


@pytest.mark.parametrize(
    ("factors", "units"),
    [
        ({"N": 1e6}, {"N": "millions"}),
        ({"N": 1e9}, {"N": "billions"}),
        ({"D": 1e9}, {"D": "billions"}),
        ({"D": 1e6}, {"D": "millions"}),
        ({"D": 1e12}, {"D": "trillions"}),
        ({"N": 1e6, "D": 1e9}, {"N": "millions", "D": "billions"}),
        ({"N": 1e9, "D": 1e9}, {"N": "billions", "D": "billions"}),
        ({"C": 8.64e19}, {"C": "PF-days"}),
        ({"C": 8.64e22}, {"C": "EF-days"}),
        ({"C": 8.64e16}, {"C": "TF-days"}),
        ({"C": 1e21}, {"C": "ZFLOP"}),
        ({"C": 1e18}, {"C": "EFLOP"}),
        ({"C": 1e15}, {"C": "PFLOP"}),
        ({"C": 1e12}, {"C": "TFLOP"}),
        (
            {"N": 1e6, "D": 1e9, "C": 8.64e19},
            {"N": "millions", "D": "billions", "C": "PF-days"},
        ),
    ],
)
def test_units_are_told_in_one_judgement(factors, units):
    result = fit(in_units(**factors), predict_budgets=[1e24])
    columns = only(result, "units", None)["columns"]
    assert {entry["column"]: entry["unit"] for entry in columns} == units
    for entry in columns:
        assert entry["factor"] == factors[entry["column"]]
    assert not ABSURD & set(codes(result))
    assert not any("e+2" in text for text in result["warnings"])
    assert result["k"]["N_opt_ratio_to_6ND"] is None
    # Powers of ten of N and C move no exponent
    surface = result["approaches"]["vpnls"]["surface"]
    assert surface["alpha"] == pytest.approx(0.34, rel=1e-4)


@pytest.mark.parametrize("k", [1.0, 2.5, 4.5, 6.0, 9.0, 20.0, 6 * 256])
def test_counted_flops_are_no_error_of_units(k):
    runs = chinchilla_runs(BUDGETS, OFFSETS)
    runs["D"] = runs["C"] / (k * runs["N"])
    assert judge_units(read_runs(runs)[0]) == []
    assert fit(runs)["k"]["N_opt_ratio_to_6ND"] > 0


def test_a_ratio_that_no_unit_explains_names_all_three_columns():
    table = read_runs(in_units(C=3e30))[0]
    columns = only(judge_units(table), "units")["columns"]
    assert [(e["column"], e["unit"]) for e in columns] == [("N", None), ("D", None), ("C", None)]


def test_small_fractions_are_no_counts_even_if_C_was_taken_from_them():
    runs = in_units(N=1e9, D=1e9)
    runs["C"] = 6 * runs["N"] * runs["D"]
    del runs["budget"], runs["C_6nd"]
    columns = only(fit(runs), "units", None)["columns"]
    assert [(e["column"], e["unit"]) for e in columns] == [("N", None), ("D", None), ("C", None)]


def test_rows_in_another_unit_are_told_by_their_number():
    runs = in_units()
    runs["N"] = np.where(np.arange(30) % 6 == 2, runs["N"] / 1e6, runs["N"])
    values = only(judge_units(read_runs(runs)[0]), "units")
    (entry,) = values["columns"]
    assert (values["n"], values["of"], entry["column"], entry["unit"]) == (5, 30, "N", "millions")
    assert entry["highest"] < 1e6


def test_a_D_that_was_taken_from_PF_days_names_both_columns():
    runs = in_units(C=8.64e19)
    runs["D"] = runs["C"] / (6 * runs["N"])
    del runs["budget"], runs["C_6nd"]
    columns = only(fit(runs), "units", None)["columns"]
    assert [(e["column"], e["unit"]) for e in columns] == [("D", None), ("C", None)]


def test_nothing_is_left_out_where_units_are_right():
    runs = chinchilla_runs(BUDGETS, OFFSETS)
    said = set(codes(fit(runs | {"D": runs["C"] / (4.5 * runs["N"])}, predict_budgets=[1e24])))
    assert {"optimum_differs_from_6nd", "extrapolation"} <= said


def test_a_small_study_of_whole_numbers_is_none():
    """N of 33 to 500 parameters and thousands of samples: a toy, and all of it true."""
    N = np.tile([33, 65, 129, 257, 513], 3)
    D = np.repeat([4000, 16_000, 64_000], 5)
    runs = {"N": N, "D": D, "C": 6.0 * N * D, "loss": 2 + 3 / N**0.3 + 3 / D**0.3}
    assert judge_units(read_runs(runs)[0], None) == []


def test_bits_per_byte_are_doubted_where_nobody_states_the_unit():
    runs = chinchilla_runs(BUDGETS, OFFSETS)
    in_bits = runs | {"loss": runs["loss"] / 4.5 / np.log(2)}  # 4.5 bytes per token
    (entry,) = only(fit(in_bits, loss_unit=None), "units", None)["columns"]
    assert (entry["column"], entry["unit"]) == ("loss", "bits per byte")
    for unit in ("bits_per_byte", "nats_per_token", "nats_per_unit", "other"):
        result = fit(in_bits, loss_unit=unit)
        assert not found(result, "units")
        assert result["loss_unit"] == unit
    assert not found(fit(runs, loss_unit=None), "units")
    assert fit(runs, loss_unit=None)["loss_unit"] is None
    assert fit(runs)["loss_unit"] == "nats_per_unit"


@pytest.mark.parametrize(
    ("unit", "highest", "limit"),
    [
        ("nats_per_token", 21, 20),
        ("nats_per_token", 19, None),
        ("bits_per_token", 28, None),
        ("bits_per_token", 29, 20 / np.log(2)),
        ("bits_per_byte", 7.9, None),
        ("bits_per_byte", 8.1, 8),
        ("nats_per_byte", 5.5, None),
        ("nats_per_byte", 5.6, np.log(256)),
        ("other", 1e4, None),
        ("other", -3, None),
    ],
)
def test_impossible_losses_depend_on_their_unit(unit, highest, limit):
    runs = chinchilla_runs(BUDGETS, OFFSETS)
    runs["loss"] = np.where(np.arange(30) == 3, highest, runs["loss"])
    judged = found(fit(runs, loss_unit=unit, approaches=["2"]), "losses_not_nats")
    if limit is None:
        assert judged == []
        return
    (values,) = judged
    assert (values["n"], values["unit"]) == (1, unit.replace("_", " "))
    assert values["limit"] == pytest.approx(limit)
