"""Where the answer's constants come from: relearned from published sweeps, one family left out.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python benchmarks/prior_of_forms.py sweeps/*.csv

The constants of `laws/answer/priors.py` that say how the optimum moves beyond the runs are chosen
so that hidden budgets of the tables (see `backtest.py`) had the largest predictive density: the sum
of the log scores of log N_opt, and of log L_opt, where each family of tables counts the same. Each
is searched along a ladder of factors in turn; a weak prior, which costs half a unit of log score at
a factor of `TRUST` from the value in use, keeps constants about which the tables say nothing.

A family is what stands before the first "_" of a file's name, or "table=family" after --family. The
table gives the value in use, that from all families, and those with each family left out, with the
mean log score of that family under the values in use and under those learned without it. Constants
that jump when a family leaves rest on it alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from backtest import read_table
from flops_fit.laws import (
    ApproachOptions,
    ApproachResult,
    FlopsPerUnit,
    approach_named,
    read_runs,
)
from flops_fit.laws.answer.answer import fit_answer
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.answer.priors import PRIORS, PathPriors, Priors
from flops_fit.laws.answer.surfaces import AVERAGED
from flops_fit.laws.backtest.found import Found
from flops_fit.laws.backtest.origins import MIN_KEPT, origins
from flops_fit.laws.data.table import RunTable
from scipy.special import logsumexp
from tqdm import tqdm

TRUST = 2.0
"""Factor from the value in use that costs half a unit of log score."""

SHIFT = 0.5
"""Steps of a mean are these many of the standard deviations that belong to it."""

LADDER = (2.0, 0.5, 1.3, 1 / 1.3)
"""Factors that are tried in turn on a standard deviation; the logs of them over log 2 on a mean."""

ROUNDS = 3
FLOOR = -8.0
"""The lowest log score: one budget far out does not choose everything."""

CONSTANTS = {
    "N": ("exponent mean", "exponent std", "N_bend mean", "N_bend std", "N_scatter"),
    "L": (
        "L_exponent mean", "L_exponent std", "L_bend std", "L_scatter", "E_share mean",
        "E_share std",
    ),
}  # fmt: skip
"""What each quantity's log score chooses."""

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One origin of a table: what is kept, and what is hidden."""

    family: str
    runs: RunTable
    flops: FlopsPerUnit
    known: dict[str, ApproachResult]
    """The surfaces through the runs, by approach: priors do not move them."""
    hidden: tuple[Found, ...]


def cases_of(path: str, family: str, kept: int) -> list[Case]:
    """Return the origins of a table."""
    table, _ = read_runs(read_table(path))
    found = []
    for origin in origins(table, min_kept=kept):
        runs = table.take(origin.kept)
        flops = FlopsPerUnit.from_runs(runs.N, runs.D, runs.C)
        known = {
            name: approach_named(name).fit(runs, flops, ApproachOptions(judged=False))
            for name in AVERAGED
        }
        found.append(Case(family=family, runs=runs, flops=flops, known=known, hidden=origin.hidden))
    return found


def value_of(priors: PathPriors, name: str) -> float:
    """Return a constant by its name in `CONSTANTS`."""
    field, _, part = name.partition(" ")
    value = getattr(priors, field)
    return float(value[part == "std"] if part else value)


def with_values(values: Mapping[str, float]) -> Priors:
    """Return the priors in use with other values of some constants."""
    path = PRIORS.path
    for name, value in values.items():
        field, _, part = name.partition(" ")
        old = getattr(path, field)
        pair = (old[0], value) if part == "std" else (value, old[1]) if part else value
        path = replace(path, **{field: pair})
    return replace(PRIORS, path=path)


def log_scores(case: Case, priors: Priors) -> dict[str, list[float]]:
    """Return the log predictive densities of log N_opt and log L_opt at the hidden budgets."""
    answer = fit_answer(case.runs, case.flops, known=case.known, priors=priors)
    if answer.law is None:
        return {"N": [], "L": []}
    found = {"N": [], "L": []}
    for item in case.hidden:
        log_C = np.log(item.C)
        draws = answer.law.log_N_opt(log_C)[:, 0]
        found["N"].append(log_density(draws, item.log_N, item.log_N_std_err))
        L = np.log(_losses(answer.law, log_C))
        found["L"].append(log_density(L, np.log(item.L), item.L_std_err / item.L))
    return found


def _losses(law: OptimumLaw, log_C: float) -> np.ndarray:
    return np.maximum(law.L_opt(log_C)[:, 0], np.finfo(float).tiny)


def log_density(draws: np.ndarray, found: float, std_err: float) -> float:
    """Return the log density of what was found: draws blurred by its standard error and a kernel.

    The kernel is Silverman's (1986, equation 3.31).
    """
    spread = min(draws.std(), np.subtract(*np.quantile(draws, [0.75, 0.25])) / 1.34)
    width = np.hypot(std_err, 0.9 * spread * draws.size**-0.2)
    z = (found - draws) / width
    density = logsumexp(-0.5 * z**2) - np.log(draws.size * width * np.sqrt(2 * np.pi))
    return max(float(density), FLOOR)


def mean_score(cases: Sequence[Case], values: Values, quantity: str) -> tuple[float, int]:
    """Return the mean over families of their mean log scores, and how many budgets they have."""
    priors = with_values(values)
    by_family: dict[str, list[float]] = {}
    for case in cases:
        by_family.setdefault(case.family, []).extend(log_scores(case, priors)[quantity])
    means = [np.mean(scores) for scores in by_family.values() if scores]
    return float(np.mean(means)), sum(len(scores) for scores in by_family.values())


def learn(cases: Sequence[Case], quantity: str) -> Values:
    """Return the constants with the largest sum of log scores, less what moving them costs."""
    names = CONSTANTS[quantity]
    moves = dict.fromkeys(names, 0.0)
    best = _objective(cases, moves, quantity)
    for _ in range(ROUNDS):
        before = best
        for name in names:
            for factor in LADDER:
                trial = moves | {name: moves[name] + float(np.log2(factor))}
                score = _objective(cases, trial, quantity)
                if score > best:
                    best, moves = score, trial
        if best == before:
            break
    return moved(moves)


def moved(moves: Mapping[str, float]) -> Values:
    """Return constants that moved by these many powers of two, or halves of their deviation."""
    values = {}
    for name, steps in moves.items():
        value = value_of(PRIORS.path, name)
        if name.endswith("mean"):
            deviation = value_of(PRIORS.path, name.replace("mean", "std"))
            values[name] = value + SHIFT * steps * deviation
        else:
            values[name] = value * 2.0**steps
    return values


def _objective(cases: Sequence[Case], moves: Mapping[str, float], quantity: str) -> float:
    score, n = mean_score(cases, moved(moves), quantity)
    cost = 0.5 * sum(step**2 for step in moves.values()) / np.log2(TRUST) ** 2
    return n * score - cost


def main() -> None:
    """Read the tables, learn with and without each family, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--kept", type=int, default=MIN_KEPT, help="budgets kept, at least")
    parser.add_argument("--family", nargs="*", default=[], metavar="TABLE=FAMILY")
    options = parser.parse_args()

    named = dict(text.split("=", 1) for text in options.family)
    cases: list[Case] = []
    for path in options.tables:
        stem = Path(path).stem
        cases += cases_of(path, named.get(stem, stem.split("_")[0]), options.kept)
    families = list(dict.fromkeys(case.family for case in cases))
    folds = {"all": cases} | {
        f"no {family}": [case for case in cases if case.family != family] for family in families
    }
    folds = {name: fold for name, fold in folds.items() if fold}
    print(f"{len(cases)} origins of {', '.join(families)}")
    for quantity, names in CONSTANTS.items():
        learned = {name: learn(fold, quantity) for name, fold in tqdm(folds.items(), disable=None)}
        print(f"\n{quantity + '_opt':<18}{'in use':>10}" + "".join(f"{n:>14}" for n in folds))
        for name in names:
            in_use = value_of(PRIORS.path, name)
            cells = "".join(f"{values[name]:>14.4g}" for values in learned.values())
            print(f"{name:<18}{in_use:>10.4g}{cells}")
        for text, used in (("in use", {name: {} for name in folds}), ("learned", learned)):
            scores = _held_out(cases, families, used, quantity)
            print(f"{f'log score, {text}':<28}" + "".join(f"{score:>14.3f}" for score in scores))


def _held_out(
    cases: Sequence[Case], families: Sequence[str], used: Mapping[str, Values], quantity: str
) -> list[float]:
    """Return the mean score of all cases, and of each family under what was learned without it."""
    scores = [mean_score(cases, used["all"], quantity)[0]]
    for family in families:
        own = [case for case in cases if case.family == family]
        if f"no {family}" in used:
            scores.append(mean_score(own, used[f"no {family}"], quantity)[0])
    return scores


if __name__ == "__main__":
    main()
