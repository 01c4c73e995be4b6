from __future__ import annotations

import doctest
import json
import subprocess
import sys

import flops_fit.laws
import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.laws import FlopsPerUnit, PowerLaw, fit_runs, predict_optima
from known_laws import parabolic_runs

# C, N, D, L measured with a 2-layer byte-level GPT (N: blocks and head)
MEASURED = """
5e10 3.6e3 1.08e6 2.212
5e10 6.6e3 655e3 2.071
5e10 10.3e3 451e3 2.029
5e10 20e3 258e3 2.133
5e10 33e3 169e3 2.210
1.5e11 6.6e3 1.97e6 1.939
1.5e11 10.3e3 1.35e6 1.826
1.5e11 20e3 773e3 1.802
1.5e11 33e3 507e3 1.833
1.5e11 68e3 271e3 1.997
5e11 10.3e3 4.51e6 1.693
5e11 20e3 2.58e6 1.573
5e11 33e3 1.69e6 1.519
5e11 68e3 902e3 1.565
5e11 115e3 564e3 1.680
1.5e12 20e3 7.73e6 1.455
1.5e12 33e3 5.07e6 1.372
1.5e12 68e3 2.71e6 1.326
1.5e12 115e3 1.69e6 1.369
1.5e12 246e3 847e3 1.482
"""


FIVE = (1e18, 1e19, 1e20, 1e21, 1e22)


def fit(runs, **options):
    options = {"approaches": ["2"], "bootstrap": 0, "holdout_budgets": 0} | options
    return fit_runs(runs, study="s", params="non_embedding", **options)


def test_fit_json_has_the_agreed_fields():
    result = fit(parabolic_runs(FIVE), predict_budgets=[1e24])
    assert list(result) == [
        "study",
        "params",
        "loss_unit",
        "k",
        "interval_method",
        "n_runs",
        "excluded",
        "approaches",
        "holdout",
        "answer",
        "backtest",
        "recommended",
        "judgements",
        "warnings",
        "prediction",
        "surface",
    ]
    assert result["study"] == "s"
    assert result["params"] == "non_embedding"
    assert result["k"]["value"] == pytest.approx(6.0)
    assert result["n_runs"] == 25
    assert result["interval_method"] is None
    assert "error of the form" in result["answer"]["interval_method"]
    assert result["holdout"] == []
    assert result["recommended"]["approach"] == result["answer"]["method"] == "path"
    assert result["answer"]["if_form_is_exact"]["approach"] == "2"
    entry = result["approaches"]["2"]
    assert entry["status"] == "ok"
    for name in ("N_opt", "D_opt", "L_opt"):
        assert set(entry[name]) == {"coefficient", "exponent", "offset", "r_squared", "ci"}
        assert entry[name]["ci"] == {"coefficient": None, "exponent": None}
    assert set(entry["points"][0]) == {"C", "N_opt", "D_opt", "L_opt", "at_edge", "n"}
    assert set(entry["profiles"][0]) == {
        "C",
        "N",
        "L",
        "weights",
        "log_N_center",
        "coefficients",
        "curvature_p_value",
        "r_squared",
    }
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_order_of_rows_changes_nothing():
    runs = parabolic_runs(noise=0.01)
    runs["lr"] = np.tile([0.01, 0.02], 10)
    order = np.random.default_rng(7).permutation(20)
    shuffled = {name: [values[i] for i in order] for name, values in runs.items()}
    assert fit(shuffled, exclude=["r003"]) == fit(runs, exclude=["r003"])


def test_predictions_spend_exactly_their_compute():
    def flops_per_unit(N):
        return 40 * N**0.9

    runs = parabolic_runs(FIVE, flops_per_unit=flops_per_unit)
    rows = fit(runs, predict_budgets=[1e19, 3e20, 1e24])["approaches"]["2"]["predictions"]
    assert [row["C"] for row in rows] == [1e18, 1e19, 1e20, 3e20, 1e21, 1e22, 1e24]
    assert [row["extrapolated"] for row in rows] == [False] * 6 + [True]
    largest = max(runs["N"])
    for row in rows:
        N, C = row["N_opt"], row["C"]
        assert row["N_opt"] == pytest.approx(0.1 * C**0.5, rel=1e-8)
        inside = min(N, largest)
        # Beyond the largest size the cost per parameter stays what it was there
        assert row["D_opt"] * flops_per_unit(inside) * N / inside == pytest.approx(C, rel=1e-9)
        assert row["L_opt"] == pytest.approx(1 + 100 * C**-0.1, rel=1e-6)
        assert row["D_per_N"] == pytest.approx(row["D_opt"] / N)
        assert row["N_opt_ci"] is None


def test_compute_that_differs_by_rounding_is_one_and_no_extrapolation():
    """A table may hold 9.99999999e21 where the study asks for 1e22."""
    runs = parabolic_runs((1e18, 1e19, 1e20, 1e21, 9.99999999e21))
    rows = fit(runs, predict_budgets=[1e22, 1.00001e22, 0.9999999e18])["approaches"]["2"]
    found = [(row["C"], row["extrapolated"]) for row in rows["predictions"]]
    assert found == [
        *((C, False) for C in (1e18, 1e19, 1e20, 1e21, 9.99999999e21)),
        (1.00001e22, True),
    ]


def test_predictions_at_measured_budgets_are_the_laws_not_the_points():
    runs = parabolic_runs(noise=0.01)
    entry = fit(runs)["approaches"]["2"]
    law = entry["N_opt"]
    for row, point in zip(entry["predictions"], entry["points"], strict=True):
        assert row["N_opt"] == pytest.approx(law["coefficient"] * row["C"] ** law["exponent"])
        assert row["N_opt"] != pytest.approx(point["N_opt"], rel=1e-3)


def test_diverged_and_excluded_runs_are_listed_and_left_out():
    runs = parabolic_runs()
    runs["status"] = ["completed"] * 20
    runs["status"][7] = "diverged"
    runs["loss"] = [*runs["loss"]]
    runs["loss"][7] = None
    runs["loss"][2] = 17.0  # nonsense that would move the vertex if it entered
    result = fit(runs, exclude=["r002"])
    assert result["n_runs"] == 18
    assert result["excluded"] == [
        {"id": "r002", "reason": "listed in fit.exclude"},
        {"id": "r007", "reason": "diverged"},
    ]
    assert result["approaches"]["2"]["N_opt"]["exponent"] == pytest.approx(0.5, abs=1e-9)


def test_only_existing_approaches_are_accepted():
    runs = parabolic_runs()
    assert list(fit(runs, approaches=[2])["approaches"]) == ["2"]
    with pytest.raises(UserError, match=r"asks for envelope; available: .*2"):
        fit(runs, approaches=["2", "envelope"])
    with pytest.raises(UserError, match="asks for nothing"):
        fit(runs, approaches=[])


def test_no_completed_run_is_an_error():
    runs = parabolic_runs() | {"status": ["diverged"] * 20}
    with pytest.raises(UserError, match="no completed run to fit"):
        fit(runs)


@pytest.mark.parametrize("C", [-1.0, 0, float("nan"), float("inf"), "much", None])
def test_budgets_to_predict_must_be_positive_numbers(C):
    with pytest.raises(UserError, match="budget to predict is"):
        fit(parabolic_runs(), predict_budgets=[C])


def test_a_law_that_leaves_the_range_of_numbers_is_an_error():
    flops = FlopsPerUnit.from_runs([1e6, 1e7], [1e9, 1e9], [6e15, 6e16])
    steep = PowerLaw(coefficient=1.0, exponent=2.0)
    with pytest.raises(UserError, match=r"range of numbers at C = 1e\+200"):
        predict_optima([1e200], N_opt=steep, L_opt=None, flops=flops, budgets=[1e18])


def test_one_budget_is_answered_with_its_minimum_alone():
    result = fit(parabolic_runs((1e18,)), predict_budgets=[1e20])
    entry = result["approaches"]["2"]
    assert (entry["status"], entry["N_opt"], entry["predictions"]) == ("unsupported", None, [])
    assert len(entry["points"]) == 1
    assert result["recommended"]["approach"] == "minimum"
    assert "gives no law" in result["recommended"]["why"]
    assert [row["C"] for row in result["answer"]["predictions"]] == [1e18]
    exact = result["answer"]["if_form_is_exact"]
    assert (exact["approach"], exact["predictions"]) == (None, [])
    assert "2 budgets" in exact["why"]


def test_measured_sweep_gives_its_known_exponent():
    C, N, D, L = np.array([row.split() for row in MEASURED.split("\n") if row], dtype=float).T
    result = fit({"budget": C, "N": N, "D": D, "C": C, "loss": L}, predict_budgets=[1e13])
    entry = result["approaches"]["2"]
    # Unweighted parabolas give 0.535, and the seed noise of 0.008 nats a standard deviation of
    # 0.009 (300 simulated sweeps): two of them are allowed
    assert entry["N_opt"]["exponent"] == pytest.approx(0.535, abs=0.02)
    assert not any(point["at_edge"] for point in entry["points"])
    assert result["k"]["value"] > 6.0


def test_laws_need_neither_torch_nor_pandas_nor_matplotlib():
    code = (
        "import sys, flops_fit.laws; "
        "print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_documented_example_holds():
    failed, attempted = doctest.testmod(flops_fit.laws)
    assert attempted >= 5
    assert failed == 0
