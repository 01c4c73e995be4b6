"""Speed and optimality of approach 3 and VPNLS, beside multi-start optimisers.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python benchmarks/laws.py runs.csv --drop-highest 5

`runs.csv` has the columns N, D, loss. One thread each, in one process, in seconds of its processor,
so that other work on the machine does not count:

- A grid of 4500 starts of SciPy's L-BFGS-B with an analytic gradient, as in the replication of
  approach 3 by Besiroglu et al. 2024 (arXiv 2404.10102).
- The PyPI package `chinchilla` with its 3125 starts of BFGS and its log-Huber loss, where it is
  installed; in an environment of its own, since it brings a tree of packages:
  `python -m venv v && v/bin/pip install numpy scipy chinchilla`, then run this with `v/bin/python`.

Both minimise what approach 3 does (Huber of log L, delta 1e-3). Of their starts a random or evenly
spread part is run, `--starts` and `--values`, and the time of all is the mean times their number.
With `--published` the standard errors of plain row resamples are set against those that Besiroglu
et al. print in their table 1, which belong to Chinchilla's runs less the 5 highest losses.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from flops_fit.laws import (
    HuberLog,
    SquaredLoss,
    Surface,
    fit_runs,
    read_runs,
    search_surface,
    surface_objective,
)
from flops_fit.laws.evidence.resampling import draw_counts
from flops_fit.laws.solver.many_surfaces import resampled_surfaces
from scipy.optimize import minimize

PARAMETERS = ("A", "B", "E", "alpha", "beta")
PUBLISHED = (124.5, 1293.0, 0.0257, 0.0154, 0.0206)
"""Standard errors of `PARAMETERS`: Besiroglu et al. 2024 (arXiv 2404.10102)."""

GRID = {
    "alpha": np.arange(0, 2.5, 0.5),
    "beta": np.arange(0, 2.5, 0.5),
    "e": np.arange(-1, 1.5, 0.5),
    "a": np.arange(0, 30, 5),
    "b": np.arange(0, 30, 5),
}
"""Hoffmann et al. 2022, section D.4: 5 x 5 x 5 x 6 x 6 = 4500 starts."""

PACKAGE_GRID = {
    "e": np.linspace(1.1, 1.5, 5),
    "a": np.linspace(1, 10, 5),
    "b": np.linspace(1, 10, 5),
    "alpha": np.linspace(0.1, 0.7, 5),
    "beta": np.linspace(0.1, 0.7, 5),
}
"""The grid that the package's own documentation starts from: 5^5 = 3125."""


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
    """Return the median processor seconds of `repeats` calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        result = task()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds)), result


def beside_grid(N, D, L, n_starts: int, rng: np.random.Generator, ours: tuple[float, float]):
    """Print what the L-BFGS grid takes and reaches; `ours` are seconds and objective."""
    starts = np.array(list(itertools.product(*(GRID[k] for k in ("a", "b", "e", "alpha", "beta")))))
    chosen = rng.choice(len(starts), size=min(n_starts, len(starts)), replace=False)
    begin = time.process_time()
    found = [plain_fit(starts[i], np.log(N), np.log(D), np.log(L)) for i in chosen]
    each = (time.process_time() - begin) / len(chosen)
    best = min(found, key=lambda fit: fit.fun)
    reached = sum(fit.fun < ours[1] * (1 + 1e-6) for fit in found)
    print(
        f"L-BFGS grid  {1e3 * each:8.1f} ms per start, {each * len(starts):.1f} s for "
        f"{len(starts)} (from {len(chosen)}); lowest objective {best.fun:.12g}; "
        f"{sum(fit.success for fit in found)} report success, {reached} are at the optimum"
    )
    print(f"             {each * len(starts) / ours[0]:8.0f} times the time of approach 3")


def beside_package(N, D, L, n_values: int, ours: tuple[float, float]) -> None:
    """Print what the package `chinchilla` takes and reaches, from n_values^5 of its starts."""
    try:
        from chinchilla import Chinchilla
        from chinchilla._metrics import log_huber
    except ImportError:
        print("chinchilla   is not installed: see the head of this file")
        return
    # Its autoscaling takes the range of each axis: the ends stay
    picked = np.unique(np.linspace(0, 4, n_values).round().astype(int))
    grid = {name: values[picked] for name, values in PACKAGE_GRID.items()}
    with tempfile.TemporaryDirectory() as folder:
        fit = Chinchilla(
            folder, param_grid=grid, loss_fn=partial(log_huber, delta=1e-3), log_level=50
        )
        for n, d, loss in zip(N, D, L, strict=True):
            fit.append(N=n, D=d, loss=loss)
        begin = time.process_time()
        fit.fit(parallel=False)
        seconds = time.process_time() - begin
    n_starts = picked.size**5
    found = Surface(E=fit.E, A=fit.A, B=fit.B, alpha=fit.alpha, beta=fit.beta)
    value = surface_objective(found, N, D, L, HuberLog())
    total = seconds / n_starts * 3125
    print(
        f"chinchilla   {1e3 * seconds / n_starts:8.1f} ms per start, {total:.1f} s for 3125 (from "
        f"{n_starts}); objective {value:.12g}   {_text(found)}"
    )
    print(f"             {total / ours[0]:8.0f} times the time of approach 3")


def resample(table, surface, objective, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the parameters of n refits to plain row resamples, shape (n, 5)."""
    rows = []
    for start in range(0, n, 100):
        counts = draw_counts(table.budget, min(100, n - start), rng, stratify=False)
        rows.append(resampled_surfaces(surface, table, counts, objective))
    rows = np.concatenate(rows)
    rows[:, :3] = np.exp(rows[:, :3])
    return rows


def main() -> None:
    """Read the table, run everything once, print a line each."""
    options = _options()
    data = np.genfromtxt(options.runs, delimiter=",", names=True)
    kept = np.argsort(data["loss"])[: data.size - options.drop_highest]
    N, D, L = (data[name][kept] for name in ("N", "D", "loss"))
    rng = np.random.default_rng(options.seed)
    objectives = {"approach 3": HuberLog(), "VPNLS": SquaredLoss()}

    print(f"{N.size} runs")
    results = {}
    for name, objective in objectives.items():
        seconds, (surface, value) = timed(lambda o=objective: search_surface(N, D, L, o), 15)
        results[name] = seconds, surface, value
        print(f"{name:<12} {1e3 * seconds:8.1f} ms   objective {value:.12g}   {_text(surface)}")
    ours = results["approach 3"][0], results["approach 3"][2]
    beside_grid(N, D, L, options.starts, rng, ours)
    beside_package(N, D, L, options.values, ours)

    columns = {"N": N, "D": D, "C": 6 * N * D, "loss": L}
    table = read_runs(columns)[0]
    for name, objective in objectives.items():
        begin = time.process_time()
        rows = resample(table, results[name][1], objective, options.resamples, rng)
        seconds = time.process_time() - begin
        published = options.published and name == "approach 3"
        _print_resamples(name, rows, seconds, published=published)
    _time_whole_fit(columns)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--drop-highest", type=int, default=0, help="highest losses to leave out")
    parser.add_argument("--starts", type=int, default=90, help="starts of the grid that are run")
    parser.add_argument(
        "--values", type=int, default=2, help="values of each of the package's five axes, up to 5"
    )
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true", help="compare standard errors")
    return parser.parse_args()


def _print_resamples(name: str, rows: np.ndarray, seconds: float, *, published: bool) -> None:
    errors = rows.std(axis=0)
    listed = ", ".join(f"{k} {e:.4g}" for k, e in zip(PARAMETERS, errors, strict=True))
    print(
        f"{name:<12} {1e3 * seconds / len(rows):8.2f} ms per resample of runs; standard errors "
        f"of {len(rows)}: {listed}"
    )
    if published:
        ratios = zip(PARAMETERS, errors / PUBLISHED, strict=True)
        listed = ", ".join(f"{k} {r:.3f}" for k, r in ratios)
        print(f"             ratio to the published: {listed}")


def _time_whole_fit(columns: dict[str, np.ndarray]) -> None:
    workers = min(2, len(os.sched_getaffinity(0)))
    begin = time.perf_counter()
    fit_runs(
        columns,
        study="benchmark",
        params="total",
        approaches=["3", "vpnls"],
        bootstrap=1000,
        workers=workers,
    )
    print(
        f"fit_runs     {time.perf_counter() - begin:8.1f} s for both with 1000 resamples each, "
        f"hold-out and judgements, on {workers} cores"
    )


def _text(surface: Surface) -> str:
    return ", ".join(f"{name} {getattr(surface, name):.6g}" for name in PARAMETERS)


if __name__ == "__main__":
    main()
