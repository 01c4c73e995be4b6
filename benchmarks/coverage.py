"""How often the intervals of fit.json cover the truth: simulated studies of a known surface.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow \\
        python benchmarks/coverage.py --seed 1 --studies 2000 --outliers 0.03 --processes 2

The surface is E 1.8, A 480, B 2100, alpha 0.35, beta 0.37; a study has 5 budgets from 1e18 to 1e20
FLOPs with 9 sizes each, within a factor of 6 of the optimum, and 1% noise. The table gives the
coverage of nominal 90% intervals in percent, with its Monte Carlo standard error, for approaches 2
and 3, VPNLS, and whichever approach each study recommends. Studies whose interval is null are
counted apart. Study i of a seed is the same however many are run; interrupted (Ctrl-C or SIGTERM),
the table is that of the studies which were finished.
"""

from __future__ import annotations

import argparse
import signal
from collections import Counter
from functools import partial
from multiprocessing import Pool

import numpy as np
from flops_fit.laws import Surface, fit_runs
from tqdm import tqdm

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
PARAMETERS = ("E", "A", "B", "alpha", "beta", "a")
LEVEL = 0.9


def simulate(
    rng: np.random.Generator,
    noise: float,
    outliers: float,
    *,
    budgets: int = 5,
    sizes: int = 9,
) -> dict[str, np.ndarray]:
    """Return the columns of one study."""
    C = np.logspace(18, 20, budgets)[:, np.newaxis]
    spread = np.exp(np.linspace(-np.log(6), np.log(6), sizes))
    N = TRUTH.G * (C / 6) ** TRUTH.a * spread
    L = TRUTH.loss(N, C / (6 * N)) * np.exp(noise * rng.normal(size=N.shape))
    L = np.where(rng.random(N.shape) < outliers, 1.1 * L, L)
    C = np.broadcast_to(C, N.shape)
    columns = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    return {name: values.ravel() for name, values in columns.items()}


def covered(entry: dict, name: str) -> bool | None:
    """Say whether the interval of a parameter holds the truth; None where there is none."""
    truth = getattr(TRUTH, name)
    if name == "a":  # every approach has this one: the exponent of N_opt
        interval = entry["N_opt"]["ci"]["exponent"] if entry["N_opt"] else None
    else:
        interval = entry["surface"]["ci"][name] if entry["surface"] else None
    return None if interval is None else interval[0] <= truth <= interval[1]


def run_study(i: int, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, bool]]]:
    """Return what study i recommends, and for each approach which intervals hold the truth."""
    runs = simulate(
        np.random.default_rng([options.seed, i]),
        options.noise,
        options.outliers,
        budgets=options.budgets,
        sizes=options.sizes,
    )
    fit = fit_runs(
        runs,
        study="simulated",
        params="total",
        approaches=["2", "3", "vpnls"],
        bootstrap=options.resamples,
        ci=LEVEL,
        seed=i,
        workers=1,
    )
    name = fit["recommended"]["approach"]
    entries = fit["approaches"] | {"recommended": fit["approaches"][name]}
    hits = {}
    for row, entry in entries.items():
        found = {parameter: covered(entry, parameter) for parameter in PARAMETERS}
        hits[row] = {parameter: hit for parameter, hit in found.items() if hit is not None}
    return name, hits


def table(found: list[tuple[str, dict[str, dict[str, bool]]]]) -> list[str]:
    """Return the lines of the table."""
    lines = ["coverage in %      " + "".join(f"{name:>14}" for name in PARAMETERS)]
    for row in ("2", "3", "vpnls", "recommended"):
        cells = []
        for parameter in PARAMETERS:
            values = [hits[row][parameter] for _, hits in found if parameter in hits[row]]
            if not values:
                cells.append(f"{'-':>14}")
                continue
            p = float(np.mean(values))
            error = np.sqrt(p * (1 - p) / len(values))
            cells.append(f"{100 * p:8.1f} ±{100 * error:4.1f}")
        lines.append(f"{row:<19}" + "".join(cells))
    absent = _without_interval(found)
    lines.append("without an interval: " + (", ".join(absent) if absent else "none"))
    chosen = Counter(name for name, _ in found)
    lines.append("recommended: " + ", ".join(f"{name} {n}" for name, n in sorted(chosen.items())))
    return lines


def _without_interval(found: list[tuple[str, dict[str, dict[str, bool]]]]) -> list[str]:
    """Count the studies that the coverage leaves out, which have a parameter but no interval."""
    lines = []
    for row in ("2", "3", "vpnls", "recommended"):
        # Approach 2 has a alone, and is sometimes what is recommended
        for parameter in PARAMETERS:
            known = [hits[row] for name, hits in found if parameter == "a" or _surface(row, name)]
            n = sum(parameter not in hits for hits in known)
            if n:
                lines.append(f"{row} {parameter} {n} of {len(known)}")
    return lines


def _surface(row: str, recommended: str) -> bool:
    return (recommended if row == "recommended" else row) in ("3", "vpnls")


def main() -> None:
    """Simulate, fit, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--outliers", type=float, default=0.0, help="share of runs 10%% too high")
    parser.add_argument("--budgets", type=int, default=5)
    parser.add_argument("--sizes", type=int, default=9, help="of each budget")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()

    found = []
    # The workers leave Ctrl-C to this process, which prints what there is
    with Pool(options.processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, signal.default_int_handler)
        studies = pool.imap(partial(run_study, options=options), range(options.studies))
        try:
            for study in tqdm(studies, total=options.studies, disable=None):
                found.append(study)
        except KeyboardInterrupt:
            print("interrupted")
    print(
        f"{len(found)} studies of {options.budgets} x {options.sizes} runs, seed {options.seed}, "
        f"noise {options.noise:.1%}, outliers {options.outliers:.0%}, {options.resamples} "
        f"resamples, nominal {LEVEL:.0%}"
    )
    if found:
        print("\n".join(table(found)))


if __name__ == "__main__":
    main()
