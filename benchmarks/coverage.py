"""How often the intervals of fit.json cover the truth: simulated studies of a known surface.

    PYTHONPATH=workflow python benchmarks/coverage.py --seed 1 --studies 2000 --outliers 0.03

The surface is E 1.8, A 480, B 2100, alpha 0.35, beta 0.37; a study has 5 budgets from 1e18 to 1e20
FLOPs with 9 sizes each, within a factor of 6 of the optimum, and 1% noise. The table gives the
coverage of nominal 90% intervals in percent, with its Monte Carlo standard error, for approach 3,
VPNLS, and whichever approach each study recommends.
"""

from __future__ import annotations

import argparse

import numpy as np
from flops_fit.laws import Surface, fit_runs
from tqdm import tqdm

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
PARAMETERS = ("E", "A", "B", "alpha", "beta", "a")
LEVEL = 0.9


def simulate(rng: np.random.Generator, noise: float, outliers: float) -> dict[str, np.ndarray]:
    """Return the columns of one study."""
    C = np.logspace(18, 20, 5)[:, np.newaxis]
    spread = np.exp(np.linspace(-np.log(6), np.log(6), 9))
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


def main() -> None:
    """Simulate, fit, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--outliers", type=float, default=0.0, help="share of runs 10%% too high")
    options = parser.parse_args()

    hits: dict[str, dict[str, list[bool]]] = {}
    chosen: dict[str, int] = {}
    for i in tqdm(range(options.studies), disable=None):
        rng = np.random.default_rng([options.seed, i])
        fit = fit_runs(
            simulate(rng, options.noise, options.outliers),
            study="simulated",
            params="total",
            approaches=["2", "3", "vpnls"],
            bootstrap=options.resamples,
            ci=LEVEL,
            seed=i,
            workers=1,
        )
        name = fit["recommended"]["approach"]
        chosen[name] = chosen.get(name, 0) + 1
        entries = fit["approaches"] | {"recommended": fit["approaches"][name]}
        for row, entry in entries.items():
            for parameter in PARAMETERS:
                found = covered(entry, parameter)
                if found is not None:
                    hits.setdefault(row, {}).setdefault(parameter, []).append(found)

    print(
        f"{options.studies} studies, seed {options.seed}, noise {options.noise:.1%}, outliers "
        f"{options.outliers:.0%}, {options.resamples} resamples, nominal {LEVEL:.0%}"
    )
    print("coverage in %      " + "".join(f"{name:>14}" for name in PARAMETERS))
    for row, found in hits.items():
        cells = []
        for parameter in PARAMETERS:
            values = found.get(parameter)
            if not values:
                cells.append(f"{'-':>14}")
                continue
            p = float(np.mean(values))
            error = np.sqrt(p * (1 - p) / len(values))
            cells.append(f"{100 * p:8.1f} ±{100 * error:4.1f}")
        print(f"{row:<19}" + "".join(cells))
    print("recommended: " + ", ".join(f"{name} {n}" for name, n in sorted(chosen.items())))


if __name__ == "__main__":
    main()
