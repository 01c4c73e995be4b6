"""Speed and optimality of approach 3 and VPNLS, beside a multi-start grid of plain L-BFGS.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python benchmarks/laws.py runs.csv --drop-highest 5

`runs.csv` has the columns N, D, loss. The grid has 4500 starts, as in the replication of approach
3 by Besiroglu et al. 2024 (arXiv 2404.10102): of them `--starts` are run, drawn at random, and the
time of all is their mean times 4500. The same objective (Huber of log L, delta 1e-3, summed) and
its gradient are handed to SciPy's L-BFGS-B, one thread each.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from flops_fit.laws import HuberLog, SquaredLoss, Surface, read_runs, search_surface
from flops_fit.laws.many_surfaces import resampled_surfaces
from flops_fit.laws.resampling import draw_counts
from scipy.optimize import minimize

GRID = {
    "alpha": np.arange(0, 2.5, 0.5),
    "beta": np.arange(0, 2.5, 0.5),
    "e": np.arange(-1, 1.5, 0.5),
    "a": np.arange(0, 30, 5),
    "b": np.arange(0, 30, 5),
}
"""Hoffmann et al. 2022, section D.4: 5 x 5 x 5 x 6 x 6 = 4500 starts."""


def plain_fit(start: np.ndarray, log_N: np.ndarray, log_D: np.ndarray, log_L: np.ndarray):
    """Minimise from one start, over a, b, e, alpha, beta, with SciPy's defaults."""

    def objective(theta):
        a, b, e, alpha, beta = theta
        z = np.stack([a - alpha * log_N, b - beta * log_D, np.full_like(log_N, e)])
        top = z.max(0)
        share = np.exp(z - top)
        total = share.sum(0)
        r = top + np.log(total) - log_L
        share /= total
        size = np.abs(r)
        value = np.where(size <= 1e-3, r**2 / 2, 1e-3 * (size - 5e-4)).sum()
        slope = np.clip(r, -1e-3, 1e-3)
        one, two, three = (slope * share).sum(1)
        along_N, along_D = -(slope * share[0] * log_N).sum(), -(slope * share[1] * log_D).sum()
        return value, np.array([one, two, three, along_N, along_D])

    return minimize(objective, start, jac=True, method="L-BFGS-B")


def timed(task, repeats: int) -> tuple[float, object]:
    """Return the median seconds of `repeats` calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = task()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds)), result


def main() -> None:
    """Read the table, run everything once, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--drop-highest", type=int, default=0, help="highest losses to leave out")
    parser.add_argument("--starts", type=int, default=90, help="starts of the grid that are run")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = np.genfromtxt(options.runs, delimiter=",", names=True)
    kept = np.argsort(data["loss"])[: data.size - options.drop_highest]
    N, D, L = (data[name][kept] for name in ("N", "D", "loss"))
    rng = np.random.default_rng(options.seed)

    print(f"{N.size} runs")
    results = {}
    for name, objective in (("approach 3", HuberLog()), ("VPNLS", SquaredLoss())):
        seconds, (surface, value) = timed(lambda o=objective: search_surface(N, D, L, o), 9)
        results[name] = seconds, surface, value
        print(f"{name:<12} {1e3 * seconds:8.1f} ms   objective {value:.12g}   {_text(surface)}")

    starts = np.array(list(itertools.product(*(GRID[k] for k in ("a", "b", "e", "alpha", "beta")))))
    chosen = rng.choice(len(starts), size=min(options.starts, len(starts)), replace=False)
    begin = time.perf_counter()
    found = [plain_fit(starts[i], np.log(N), np.log(D), np.log(L)) for i in chosen]
    each = (time.perf_counter() - begin) / len(chosen)
    best = min(found, key=lambda fit: fit.fun)
    ours = results["approach 3"]
    reached = sum(fit.fun < ours[2] * (1 + 1e-6) for fit in found)
    print(
        f"L-BFGS grid  {1e3 * each:8.1f} ms per start, {each * len(starts):.0f} s for "
        f"{len(starts)} (from {len(chosen)} starts); lowest objective {best.fun:.12g}; "
        f"{sum(fit.success for fit in found)} report success, {reached} are at the optimum"
    )
    print(f"ratio        {each * len(starts) / ours[0]:8.0f} times the time of approach 3")

    table = read_runs({"N": N, "D": D, "C": 6 * N * D, "loss": L})[0]
    for name, objective in (("approach 3", HuberLog()), ("VPNLS", SquaredLoss())):
        surface = results[name][1]
        begin = time.perf_counter()
        rows = []
        for _ in range(0, options.resamples, 100):
            counts = draw_counts(table.budget, 100, rng, stratify=False)
            rows.append(resampled_surfaces(surface, table, counts, objective))
        seconds = time.perf_counter() - begin
        rows = np.concatenate(rows)
        values = [
            np.exp(rows[:, 0]),
            np.exp(rows[:, 1]),
            np.exp(rows[:, 2]),
            rows[:, 3],
            rows[:, 4],
        ]
        errors = ", ".join(
            f"{key} {np.std(value):.4g}"
            for key, value in zip(("A", "B", "E", "alpha", "beta"), values, strict=True)
        )
        print(
            f"{name:<12} {1e3 * seconds / len(rows):8.2f} ms per resample of runs; standard errors "
            f"of {len(rows)}: {errors}"
        )


def _text(surface: Surface) -> str:
    names = ("A", "B", "E", "alpha", "beta")
    return ", ".join(f"{name} {getattr(surface, name):.6g}" for name in names)


if __name__ == "__main__":
    main()
