"""The benchmarks run, on as little as they can; what they print as times is nobody's promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
from checkout import ROOT, environment


def printed(script: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options], text=True, check=False,
        env=environment() | {"PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT / 'tests'}"}, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_data_parallelism_is_measured_and_changes_no_loss():
    output = printed("data_parallel.py", "--size=8", "--steps=20", "--batch=512", "--repeats=1")
    for layout in ("1 x 1 threads", "1 x 2 threads", "2 x 1 threads"):
        assert re.search(rf"^{layout} on cpu: \S+ tokens/s$", output, re.MULTILINE), output
    assert re.search(r"^2 x 1 threads / 1 x 2 threads: \d", output, re.MULTILINE)
    assert re.search(r"^scaling efficiency [\d.]+%", output, re.MULTILINE)
    (difference,) = re.findall(r"relative difference of the losses (\S+)", output)
    assert float(difference) < 2e-3


def test_the_trainers_loop_is_measured_beside_a_bare_one_that_reaches_the_same_loss():
    output = printed("training_loop.py", "--steps=20", "--rounds=1")
    assert re.search(r"^throughput, trainer / bare loop: \d", output, re.MULTILINE), output
    (difference,) = re.findall(r"difference of the validation losses: (\S+) nats", output)
    assert float(difference) < 1e-6


def test_the_workflow_itself_is_measured_per_experiment():
    output = printed("workflow.py", "--experiments", "50", "100", "--steps", "plan", "dry run")
    for n in (50, 100):
        assert re.search(rf"^ +{n}  +[\d.]+ \(\d+\) +[\d.]+ \(\d+\)$", output, re.MULTILINE), output
    assert re.search(r"^ *50 to 100 +-?[\d.]+ +-?[\d.]+$", output, re.MULTILINE), output


def sweep(path, n_budgets=5, seed=0):
    """Write budgets half a decade apart, on the surface 1.8 + 480/N^0.35 + 2100/D^0.37."""
    rng = np.random.default_rng(seed)
    lines = ["N,D,C,loss"]
    for C in 1e18 * 10 ** (0.5 * np.arange(n_budgets)):
        best = (0.35 * 480 / (0.37 * 2100)) ** (1 / 0.72) * (C / 6) ** (0.37 / 0.72)
        for N in best * np.geomspace(1 / 4, 4, 7):
            L = 1.8 + 480 / N**0.35 + 2100 / (C / 6 / N) ** 0.37
            lines.append(f"{N},{C / 6 / N},{C},{L * np.exp(0.002 * rng.standard_normal())}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_hidden_budgets_of_a_surface_are_predicted_by_every_method(tmp_path):
    table, outcomes = sweep(tmp_path / "own_sweep.csv"), tmp_path / "outcomes.json"
    output = printed("backtest.py", table, "--bootstrap=60", f"--json={outcomes}")
    rows = json.loads(outcomes.read_text())
    methods = ("answer", "if exact", "1", "2", "3", "VPNLS")
    # One hidden budget, and two
    assert sorted(row["method"] for row in rows) == sorted(methods * 3)
    for method in methods:
        assert re.search(rf"^  {method} +3 ", output, re.MULTILINE), output
    answer = [row for row in rows if row["method"] == "answer"]
    assert [round(row["times"], 2) for row in answer] == [3.16, 3.16, 10]
    assert all(abs(row["error_N"]) < 0.3 and abs(row["error_L"]) < 3 for row in answer)
    assert all(0 < row["crps_N"] < row["width_N"] for row in answer)


def test_simulated_sweeps_are_covered_and_small_changes_stay_small():
    output = printed(
        "misspecified.py", "--studies=2", "--designs", "surface", "bracket 0.7", "--layouts=budgets"
    )
    cells = re.search(r"^  surface +8 (.*)$", output, re.MULTILINE)[1]
    coverage = [float(value) for value in re.findall(r"(\d+) ±", cells)]
    assert len(coverage) == 6
    assert np.mean(coverage) > 60
    output = printed("stability.py", "--sweeps=1")
    changes = re.findall(r"([\d.]+)%", output.splitlines()[-1])
    assert len(changes) == 4
    # A loss changed by a tenth of its noise
    assert all(float(change) < 10 for change in changes)


def test_constants_are_relearned_without_each_family(tmp_path):
    tables = [
        sweep(tmp_path / name, n_budgets=4, seed=i) for i, name in enumerate(("a_1.csv", "b_1.csv"))
    ]
    output = printed("prior_of_forms.py", *tables)
    assert "2 origins of a, b" in output
    for name in ("exponent mean", "N_scatter", "L_scatter", "E_share std"):
        (row,) = re.findall(rf"^{name} +(.*)$", output, re.MULTILINE)
        values = [float(value) for value in row.split()]
        assert len(values) == 4  # in use, learned from both, and from each alone
        assert all(0 < value < 1 for value in values)


def test_designs_and_grids_are_simulated_side_by_side(tmp_path):
    outcomes = tmp_path / "outcomes.json"
    output = printed("planner.py", "--studies=3", "--scenarios", "3", "12", f"--json={outcomes}")
    rows = json.loads(outcomes.read_text())
    assert [(row["scenario"], row["study"]) for row in rows] == [
        (scenario, study) for scenario in (3, 12) for study in range(3)
    ]
    # The spend without and with the filling of the two largest budgets
    for row in rows:
        assert abs(row["spent"] - (0.70 if row["flawed"] else 0.42)) < 0.02
    for name in ("exact", "misfit"):
        assert re.search(rf"^{name}: FLOPs over the grid's 0\.\d+, called inexact", output, re.M)
    for fit in ("answer", "surface"):
        found = re.findall(rf"^  {fit} +design over grid: N ([\d.]+), worst", output, re.M)
        assert len(found) == 2
        assert all(0.1 < float(ratio) < 10 for ratio in found)
    assert re.search(r"^predicted over simulated standard deviation, exact: N \d", output, re.M)
