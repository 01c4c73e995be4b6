"""How far the answer jumps when one loss changes in its fourth digit.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python benchmarks/stability.py [TABLES...]

One run at a time, its loss is changed by +-3e-4 of itself and the study fitted again. Printed are
the largest relative change of the width of an interval, and the largest move of its centre as a
share of its width, over all runs, both signs and C = 1, 10, 100 times the largest budget, for N_opt
(in logs) and L_opt. Without tables: simulated sweeps of small models, 4 budgets of 5 sizes with
0.3% noise. The columns of a table are those of `backtest.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from backtest import read_table
from flops_fit.laws import fit_runs
from misspecified import TRUTHS

CHANGE = 3e-4
TIMES = (1.0, 10.0, 100.0)
LEVEL = 0.9
NOISE = 0.003

Intervals = dict[str, np.ndarray]
"""Of log N_opt and of L_opt, each (n_C, 3): low, centre, high."""


def small_sweep(seed: int) -> dict[str, list[float]]:
    """Return 4 budgets half a decade apart, of 5 sizes within a factor of 3 of the optimum."""
    truth, smallest = TRUTHS["small"]
    C = np.repeat(smallest * 10 ** (0.5 * np.arange(4)), 5)
    N = truth.G * (C / 6) ** truth.a * np.tile(np.geomspace(1 / 3, 3, 5), 4)
    noise = NOISE * np.random.default_rng(seed).standard_normal(N.size)
    L = truth.loss(N, C / (6 * N)) * np.exp(noise)
    columns = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    return {name: values.tolist() for name, values in columns.items()}


def intervals(columns: dict[str, list[float]], method: str) -> Intervals:
    """Fit, and return the intervals of the answer or of an approach."""
    C = [max(columns.get("budget", columns["C"])) * times for times in TIMES]
    fit = fit_runs(
        columns,
        study="perturbed",
        params="total",
        predict_budgets=C,
        bootstrap=0 if method == "answer" else 400,
        holdout_budgets=0 if method == "answer" else 1,
        ci=LEVEL,
    )
    predictions = fit["answer"]["predictions"] if method == "answer" else _exact(fit)
    rows = [min(predictions, key=lambda p, c=c: abs(np.log(p["C"] / c))) for c in C]
    found = {}
    for quantity, scale in (("N_opt", np.log), ("L_opt", np.asarray)):
        ends = [[*row[f"{quantity}_ci"], row[quantity]] for row in rows]
        low, high, centre = scale(np.array(ends, float)).T
        found[quantity] = np.stack([low, centre, high], axis=1)
    return found


def _exact(fit: dict) -> list[dict]:
    """Return the predictions of the approach that would be recommended if its form were exact."""
    exact = fit.get("answer", {}).get("if_form_is_exact") or fit["recommended"]
    return fit["approaches"][exact["approach"]]["predictions"]


def largest_changes(columns: dict[str, list[float]], method: str) -> dict[str, tuple[float, float]]:
    """Return the largest change of the width and move of the centre, each over the width."""
    before = intervals(columns, method)
    width = {key: rows[:, 2] - rows[:, 0] for key, rows in before.items()}
    worst = dict.fromkeys(before, (0.0, 0.0))
    for changed in _changed(columns):
        after = intervals(changed, method)
        for key, rows in after.items():
            ratio = (rows[:, 2] - rows[:, 0]) / width[key]
            moved = np.abs(rows[:, 1] - before[key][:, 1]) / width[key]
            wider = float(np.maximum(ratio, 1 / ratio).max()) - 1
            worst[key] = (max(worst[key][0], wider), max(worst[key][1], float(moved.max())))
    return worst


def _changed(columns: dict[str, list[float]]) -> Iterator[dict[str, list[float]]]:
    for i in range(len(columns["loss"])):
        for sign in (-1, 1):
            loss = list(columns["loss"])
            loss[i] *= 1 + sign * CHANGE
            yield columns | {"loss": loss}


def main() -> None:
    """Change each loss, fit, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--sweeps", type=int, default=3, help="simulated ones, without tables")
    parser.add_argument("--methods", nargs="*", default=["answer"], choices=["answer", "exact"])
    options = parser.parse_args()

    sweeps = {Path(path).stem: read_table(path) for path in options.tables} or {
        f"simulated sweep {seed}": small_sweep(seed) for seed in range(options.sweeps)
    }
    print(f"{'':<40}{'N: width':>10}{'centre':>9}{'L: width':>12}{'centre':>9}")
    for name, columns in sweeps.items():
        for method in options.methods:
            found = largest_changes(columns, method)
            cells = [f"{100 * value:9.1f}%" for pair in found.values() for value in pair]
            print(f"{f'{name}, {method}':<40}" + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
