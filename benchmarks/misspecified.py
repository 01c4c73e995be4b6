"""How often the answer covers the truth where no form is quite true: simulated sweeps.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow \\
        python benchmarks/misspecified.py --seed 1 --studies 50 --processes 2

Each design is a true surface L(N, D) or a way in which runs depart from it (`DESIGNS`), over four
sets of constants (`TRUTHS`) and two layouts: 5 budgets half a decade apart with 7 sizes each that
follow the optimum, and a grid of 7 sizes by 7 numbers of units. The truth is the lowest loss of the
undisturbed surface along C = 6 N D, found numerically. The table gives the coverage of nominal 90%
intervals of N_opt and L_opt at 1, 10 and 100 times the largest budget, in percent, with the median
width of the intervals at 10 times: of log N_opt, and of L_opt in percent of it. Study i of a seed
is the same however many are run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from flops_fit.laws import Surface, fit_runs
from tqdm import tqdm

LEVEL = 0.9
TIMES = (1.0, 10.0, 100.0)
"""C of the predictions, over the largest budget."""

SPAN = 6.0
"""Sizes of a budget reach this factor below and above the optimum."""

TRUTHS = {
    "equal": (Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37), 1e18),
    "alpha": (Surface(E=1.8, A=4857.0, B=224.0, alpha=0.5, beta=0.25), 1e18),
    "beta": (Surface(E=1.8, A=101.5, B=23700.0, alpha=0.25, beta=0.5), 1e18),
    "small": (Surface(E=0.55, A=29.2, B=62.7, alpha=0.43, beta=0.38), 5e10),
}
"""Constants and the smallest budget: near those of Chinchilla, one exponent twice the other in
either direction, and near those of small models of text by the byte."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is true of a sweep; relative errors are those of log L."""

    noise: tuple[float, float] = (0.003, 0.003)
    """Of each run, at the smallest and the largest budget."""
    interaction: float = 0.0
    """E + a + b + interaction sqrt(a b), with a = A/N^alpha and b = B/D^beta."""
    bracket: float = 1.0
    """E + s (a/s + b/s)^bracket, where s is a + b at the optimum of the middle budget."""
    offset: float = 0.0
    """Standard deviation of an error that all runs of a budget share."""
    tilt: float = 0.0
    """That of a slope in log N about the optimum, which all runs of a budget share."""
    per_size: float = 0.0
    """That of an error that all runs of a size share."""


DESIGNS = {
    "surface": Design(),
    "surface, noise 1%": Design(noise=(0.01, 0.01)),
    "interaction": Design(interaction=0.5),
    "bracket 0.7": Design(bracket=0.7),
    "offset 0.5% per budget": Design(offset=0.005),
    # Moves a vertex by 0.1 where log L bends by 0.03 per log N squared
    "tilt per budget": Design(tilt=0.003),
    "0.5% per size": Design(per_size=0.005),
    "noise 2% to 0.3%": Design(noise=(0.02, 0.003)),
}
EXACT = ("surface", "surface, noise 1%")
"""The designs in which the form of the surfaces is true."""


def loss(truth: Surface, design: Design, N: np.ndarray, D: np.ndarray, middle: float) -> np.ndarray:
    """Return the undisturbed loss; `middle` is a + b at the optimum of the middle budget."""
    a, b = truth.A * N**-truth.alpha, truth.B * D**-truth.beta
    rest = middle * ((a + b) / middle) ** design.bracket
    return truth.E + rest + design.interaction * np.sqrt(a * b)


def optimum(truth: Surface, design: Design, C: float, middle: float) -> tuple[float, float]:
    """Return log N_opt and L_opt on a fine grid, between whose points a parabola is laid."""
    centre = np.log(truth.G) + truth.a * np.log(C / 6)
    x = centre + np.linspace(-5, 5, 20001)
    L = loss(truth, design, np.exp(x), C / (6 * np.exp(x)), middle)
    i = int(np.clip(np.argmin(L), 1, x.size - 2))
    before, at, after = L[i - 1 : i + 2]
    shift = 0.5 * (before - after) / (before - 2 * at + after)
    return float(x[i] + shift * (x[1] - x[0])), float(at - 0.25 * (before - after) * shift)


def middle_of(truth: Surface, budgets: np.ndarray) -> float:
    """Return a + b at the optimum of the middle budget."""
    C = budgets[budgets.size // 2] / 6
    N = truth.G * C**truth.a
    return float(truth.A * N**-truth.alpha + truth.B * (C / N) ** -truth.beta)


def isoflop(truth: Surface, budgets: np.ndarray, sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return N and the number of the budget: sizes of one ladder, the nearest to each optimum."""
    step = 2 * np.log(SPAN) / (sizes - 1)
    N, group = [], []
    for k, C in enumerate(budgets):
        first = round((np.log(truth.G * (C / 6) ** truth.a) - np.log(SPAN)) / step)
        N += np.exp(step * (first + np.arange(sizes))).tolist()
        group += [k] * sizes
    return np.array(N), np.array(group)


def simulate(
    rng: np.random.Generator, truth: Surface, smallest: float, design: Design, layout: str
) -> dict[str, np.ndarray]:
    """Return the columns of one sweep.

    On a grid, what a design says of budgets is true of numbers of units.
    """
    budgets = smallest * 10 ** (0.5 * np.arange(5))
    middle = middle_of(truth, budgets)
    if layout == "budgets":
        N, group = isoflop(truth, budgets, 7)
        C = budgets[group]
    else:
        ends = truth.G * (budgets[[0, -1]] / 6) ** truth.a
        sizes, units = np.geomspace(ends[0] / 2, ends[1] * 2, 7), budgets[[0, -1]] / 6 / ends
        N, D = np.meshgrid(sizes, np.geomspace(units[0] / 2, units[1] * 2, 7))
        group = np.repeat(np.arange(7), 7)
        N, C = N.ravel(), 6 * N.ravel() * D.ravel()
    D = C / (6 * N)
    progress = (np.log(C) - np.log(C).min()) / np.ptp(np.log(C))
    noise = np.exp(np.log(design.noise[0]) * (1 - progress) + np.log(design.noise[1]) * progress)
    away = np.log(N / (truth.G * (C / 6) ** truth.a))
    _, size = np.unique(np.round(np.log(N), 6), return_inverse=True)
    error = noise * rng.standard_normal(N.size)
    error += design.offset * rng.standard_normal(group.max() + 1)[group]
    error += design.tilt * rng.standard_normal(group.max() + 1)[group] * away
    error += design.per_size * rng.standard_normal(size.max() + 1)[size]
    L = loss(truth, design, N, D, middle) * np.exp(error)
    columns = {"N": N, "D": D, "C": C, "loss": L}
    return columns | ({"budget": C} if layout == "budgets" else {})


Task = tuple[str, str, str, int]
"""Design, layout, truth, study."""


def run_study(task: Task, seed: int, peers: bool, bootstrap: int) -> list[dict]:
    """Return for each method and C whether the intervals hold the truth, and their widths."""
    name, layout, constants, i = task
    design, (truth, smallest) = DESIGNS[name], TRUTHS[constants]
    key = [list(DESIGNS).index(name), layout == "grid", list(TRUTHS).index(constants)]
    rng = np.random.default_rng([seed, i, *map(int, key)])
    runs = simulate(rng, truth, smallest, design, layout)
    largest = float(runs["C"].max())
    # The largest budget of a grid is where its last stratum lies, not its last run
    largest = largest if layout == "budgets" else smallest * 100
    C = [largest * times for times in TIMES]
    fit = fit_runs(
        {key: values.tolist() for key, values in runs.items()},
        study="simulated",
        params="total",
        predict_budgets=C,
        bootstrap=bootstrap if peers else 0,
        holdout_budgets=1 if peers else 0,
        ci=LEVEL,
        workers=1,
    )
    middle = middle_of(truth, smallest * 10 ** (0.5 * np.arange(5)))
    found = []
    for method, predictions in _methods(fit, peers):
        for times, c in zip(TIMES, C, strict=True):
            row = min(predictions, key=lambda p: abs(np.log(p["C"] / c)), default=None)
            entry = {"design": name, "layout": layout, "truth": constants, "method": method}
            found.append(entry | {"times": times} | _held(row, optimum(truth, design, c, middle)))
    return found


def _methods(fit: dict, peers: bool) -> Iterator[tuple[str, list]]:
    answer = fit.get("answer")
    if answer is not None:
        yield "answer", answer["predictions"] or []
    if peers:
        exact = (answer or {}).get("if_form_is_exact") or {}
        best = fit["approaches"].get(exact.get("approach") or fit["recommended"]["approach"])
        yield "if exact", [] if best is None else best["predictions"]
        for name, entry in fit["approaches"].items():
            yield name, entry["predictions"]


def _held(row: dict | None, truth: tuple[float, float]) -> dict:
    """Return whether the intervals hold the truth; an answer without an interval holds nothing."""
    found: dict = {}
    log_N, L = truth
    for key, value, scale in (("N", np.exp(log_N), np.log), ("L", L, lambda v: 100 * v / L)):
        ends = None if row is None else row[f"{key}_opt_ci"]
        found[f"covered_{key}"] = None if ends is None else bool(ends[0] <= value <= ends[1])
        found[f"width_{key}"] = None if ends is None else float(scale(ends[1]) - scale(ends[0]))
        centre = None if row is None else row[f"{key}_opt"]
        found[f"error_{key}"] = None if centre is None else float(scale(centre) - scale(value))
    return found


def _cell(rows: list[dict], key: str) -> str:
    values = [row[f"covered_{key}"] for row in rows if row[f"covered_{key}"] is not None]
    if not values:
        return f"{'-':>9}"
    p = float(np.mean(values))
    return f"{100 * p:5.0f} ±{100 * np.sqrt(p * (1 - p) / len(values)):2.0f}"


def table(found: list[dict]) -> list[str]:
    """Return the lines of the table."""
    header = f"{'':<38}{'n':>5} " + "".join(
        f"{f'{key} x{times:g}':>9}" for key in "NL" for times in TIMES
    )
    lines = [header + f"{'width N':>9}{'width L':>9}{'no CI':>7}"]
    for layout in dict.fromkeys(row["layout"] for row in found):
        for method in dict.fromkeys(row["method"] for row in found):
            some = [r for r in found if r["layout"] == layout and r["method"] == method]
            lines.append(f"{layout}: {method}")
            names = list(dict.fromkeys(row["design"] for row in some))
            sets = {name: [row for row in some if row["design"] == name] for name in names}
            exact = [row for name in EXACT for row in sets.get(name, [])]
            for name, rows in (sets | ({"mean of true surfaces": exact} if exact else {})).items():
                cells = [
                    _cell([row for row in rows if row["times"] == times], key)
                    for key in "NL"
                    for times in TIMES
                ]
                widths = [
                    [
                        r[f"width_{key}"]
                        for r in rows
                        if r["times"] == 10 and r["covered_N"] is not None
                    ]
                    for key in "NL"
                ]
                known = [[w for w in ws if w is not None] for ws in widths]
                medians = [f"{np.median(w):9.2f}" if w else f"{'-':>9}" for w in known]
                n = len(rows) // len(TIMES)
                absent = sum(row["covered_N"] is None for row in rows) // len(TIMES)
                lines.append(f"  {name:<36}{n:>5} " + "".join(cells + medians) + f"{absent:>7}")
    return lines


def main() -> None:
    """Simulate, fit, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=25, help="of each design, layout, truth")
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--layouts", nargs="*", default=["budgets", "grid"])
    parser.add_argument("--peers", action="store_true", help="fit the approaches with intervals")
    parser.add_argument("--bootstrap", type=int, default=200, help="resamples of the approaches")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", help="write every outcome to this file")
    options = parser.parse_args()

    tasks: list[Task] = [
        (design, layout, truth, i)
        for design in options.designs
        for layout in options.layouts
        for truth in TRUTHS
        for i in range(options.studies)
    ]
    study = partial(run_study, seed=options.seed, peers=options.peers, bootstrap=options.bootstrap)
    found: list[dict] = []
    with Pool(options.processes) as pool:
        for rows in tqdm(pool.imap(study, tasks, chunksize=4), total=len(tasks), disable=None):
            found += rows
    print(f"{options.studies} studies of each truth, seed {options.seed}, nominal {LEVEL:.0%}")
    print("\n".join(table(found)))
    if options.json:
        Path(options.json).write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
