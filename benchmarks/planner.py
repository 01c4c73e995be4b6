"""What a designed sweep costs and finds against a standard grid: simulated studies.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow \\
        python benchmarks/planner.py --studies 100 --processes 2

Each scenario of `planner_scenarios.py` is a true surface, perhaps with a misfit, and a noise. The
grid has seven budgets half a decade apart with eight sizes within six times the true optimum; the
design has the same budgets, sizes 10% apart, and a prior that is off by a log-normal factor 2. Both
are fitted twice: by the answer (`fit_answer`), and by the surface near the optimum
(`fit_near_optimum`). The truth is the lowest loss of the undisturbed surface along C = 6 N D.
Errors are those at 100 and 1000 times the largest budget, of log N_opt up to a factor 30 and of log
L_opt up to 0.3. The last line is the standard deviation that `design.forecast` foresees over that
of the simulated designs. Study i of a seed is the same however many are run.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from flops_fit.design.forecast import forecast
from flops_fit.design.history import Round, Trained
from flops_fit.design.offer import offer_of, sizes_apart
from flops_fit.design.outcome import if_exact
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import TOP_SHARE, Question, ladder
from flops_fit.design.rounds import next_round
from flops_fit.design.simulation import Designed
from flops_fit.design.truth import Truth
from flops_fit.laws import FlopsPerUnit, fit_answer, fit_near_optimum, read_runs
from flops_fit.laws import Question as Asked
from planner_scenarios import NOISES, SCENARIOS, SIZES, SURFACES, Lab, Scenario, grid, rng_of
from tqdm import tqdm

TIMES = (100.0, 1000.0)
"""Targets over the largest budget; designs are made for the last one."""

OFF = float(np.log(2.0))
"""Standard deviation of the log of the factor by which the prior's optimum is off."""

LEVEL = 0.95
FITS = ("answer", "surface")
QUANTITIES = ("N", "L")
LARGEST = {"N": float(np.log(30.0)), "L": 0.3}
"""Errors beyond count as these, so that a single study does not decide."""


def prior_off(scenario: Scenario, by: float) -> PriorLaw:
    """Return a prior whose optimum is off by so many e-folds of N."""
    law, _ = SURFACES[scenario.surface]
    budget = scenario.budgets[1]
    mean = np.array([np.log(200.0), np.log(200.0), np.log(law.E), 0.38, 0.38])
    # Under equal exponents the optimum moves by the log of A over the sum of the exponents
    mean[0] += 2 * 0.38 * (scenario.optimum(budget)[0] + by - 0.5 * np.log(budget / 6))
    return PriorLaw(
        mean=mean,
        covariance=np.diag([0.5, 0.5, 0.5, 0.15, 0.15]) ** 2,
        name="a prior that is off",
        source="simulated",
    )


@dataclass(frozen=True, kw_only=True)
class Course:
    """A simulated design."""

    rounds: list[tuple[Round, list[Trained]]]
    milliseconds: list[float]

    @property
    def runs(self) -> list[Trained]:
        """Of all rounds."""
        return [run for _, results in self.rounds for run in results]

    @property
    def table(self) -> dict[str, list[float]]:
        """What `read_runs` takes."""
        names = ("N", "D", "C", "budget", "seed")
        columns = {name: [getattr(run.cell, name) for run in self.runs] for name in names}
        return columns | {"loss": [run.L for run in self.runs]}

    @property
    def flawed(self) -> bool:
        """Whether the checks called the form inexact."""
        return any(chosen.kind == "fill" for chosen, _ in self.rounds)


def sweep_of(scenario: Scenario, prior: PriorLaw) -> Designed:
    """Return a design for the largest target that has not begun."""
    spend = float(scenario.budgets[-1] / TOP_SHARE)
    target = float(scenario.budgets[-1] * TIMES[-1])
    middle = scenario.optimum(scenario.budgets[3])[0]
    return Designed(
        question=Question(target=target, spend=spend, budgets=ladder(spend)),
        offer=offer_of(sizes_apart(np.exp(middle - 9), np.exp(middle + 9))),
        prior=prior,
    )


def design(scenario: Scenario, seed: int, study: int) -> Course:
    """Return a design with its runs."""
    lab = Lab(scenario=scenario, rng=rng_of(scenario, seed, study, 1))
    sweep = sweep_of(scenario, prior_off(scenario, OFF * lab.rng.standard_normal()))
    course = Course(rounds=[], milliseconds=[])
    while not course.rounds or course.rounds[-1][0].choices:
        began = time.perf_counter()
        chosen = next_round(sweep.question, sweep.offer, sweep.prior, course.rounds)
        course.milliseconds.append(1e3 * (time.perf_counter() - began))
        cells = [choice.cell for choice in chosen.choices]
        losses = lab.train(np.log([cell.N for cell in cells]), np.array([c.C for c in cells]))
        results = [Trained(cell=c, L=float(L)) for c, L in zip(cells, losses, strict=True)]
        course.rounds.append((chosen, results))
    return course


def errors(scenario: Scenario, table: dict[str, Any]) -> dict[str, dict[str, list[list[float]]]]:
    """Return by fit and quantity, at each target, error, width and whether the interval holds it.

    Of natural logarithms.
    """
    runs, _ = read_runs(table)
    flops, C = FlopsPerUnit.of(runs), scenario.budgets[-1] * np.array(TIMES)
    truth = np.array([scenario.optimum(c) for c in C])
    truth[:, 1] = np.log(truth[:, 1])
    measured = tuple(scenario.budgets.tolist())
    answer = fit_answer(runs, flops, Asked(C=tuple(C.tolist()), measured=measured, level=LEVEL))
    found = {
        "answer": (
            np.log([(p.N_opt, *p.N_opt_ci) for p in answer.predictions]),
            np.log([(p.L_opt, *p.L_opt_ci) for p in answer.predictions]),
        ),
        "surface": fit_near_optimum(runs, flops).optimum(C, LEVEL),
    }
    return {
        fit: {
            quantity: [
                [middle - true, high - low, float(low <= true <= high)]
                for (middle, low, high), true in zip(values.tolist(), truth[:, i], strict=True)
            ]
            for i, (quantity, values) in enumerate(zip(QUANTITIES, both, strict=True))
        }
        for fit, both in found.items()
    }


def one_study(task: tuple[int, int], seed: int) -> dict[str, Any]:
    """Return what one study of a scenario came to."""
    number, study = task
    scenario = SCENARIOS[number]
    course = design(scenario, seed, study)
    runs = course.runs
    target = float(scenario.budgets[-1] * TIMES[-1])
    exact = if_exact(runs, target, sweep_of(scenario, prior_off(scenario, 0.0)).flops)
    return {
        "scenario": number,
        "study": study,
        "spent": sum(run.cell.C for run in runs) / (SIZES * scenario.budgets.sum()),
        "flawed": course.flawed,
        "milliseconds": course.milliseconds,
        "if_exact": [math.nan, math.nan] if exact is None else [exact.N.middle, exact.L.middle],
        "design": errors(scenario, course.table),
        "grid": errors(scenario, grid(scenario, seed, study)),
    }


def predicted_std(scenario: Scenario) -> list[float]:
    """Return the standard deviations of log N_opt and log L_opt that are foreseen of a design."""
    truth = Truth(
        surface=SURFACES[scenario.surface][0],
        noise=NOISES[scenario.noise][0],
        name=scenario.surface,
        source="simulated",
    )
    foreseen = forecast(sweep_of(scenario, prior_off(scenario, 0.0)), truth).exact
    return [one.half / 1.96 for one in (foreseen.N, foreseen.L)]


def rms(rows: Sequence[dict[str, Any]], sweep: str, fit: str, quantity: str) -> np.ndarray:
    """Return the root mean square of the errors at each target, shape (2,)."""
    found = np.array([[at[0] for at in row[sweep][fit][quantity]] for row in rows])
    most = LARGEST[quantity]
    return np.sqrt((np.clip(found, -most, most) ** 2).mean(axis=0))


def group_lines(name: str, groups: list[list[dict[str, Any]]]) -> list[str]:
    """Return the figures of the exact, or of the inexact scenarios."""
    rows = [row for group in groups for row in group]
    lines = [
        f"{name}: FLOPs over the grid's {np.mean([row['spent'] for row in rows]):.3f}, "
        f"called inexact {np.mean([row['flawed'] for row in rows]):.1%}"
    ]
    for fit in FITS:
        parts = []
        for quantity in QUANTITIES:
            ratio = np.array(
                [
                    rms(group, "design", fit, quantity) / rms(group, "grid", fit, quantity)
                    for group in groups
                ]
            )
            mean, worst = np.exp(np.log(ratio).mean()), ratio.max()
            own = np.exp(np.mean([np.log(rms(g, "design", fit, quantity)) for g in groups]))
            holds = np.mean([[at[2] for at in row["design"][fit][quantity]] for row in rows])
            parts.append(
                f"{quantity} {mean:.2f}, worst {worst:.2f} (error {own:.4f}, covered {holds:.0%})"
            )
        lines.append(f"  {fit:8} design over grid: {'; '.join(parts)}")
    return lines


def report(rows: list[dict[str, Any]]) -> None:
    """Print a line for each scenario, and the figures of all."""
    numbers = sorted({row["scenario"] for row in rows})
    by = {n: [row for row in rows if row["scenario"] == n] for n in numbers}
    print("errors of the design over the grid's, answer N, L; surface N, L")
    for n, group in by.items():
        ratios = [
            float(np.exp(np.log(rms(group, "design", f, q) / rms(group, "grid", f, q)).mean()))
            for f in FITS
            for q in QUANTITIES
        ]
        spent, flawed = (np.mean([row[key] for row in group]) for key in ("spent", "flawed"))
        print(
            f"  {SCENARIOS[n].name:45} FLOPs {spent:.2f} inexact {flawed:4.0%} "
            + " ".join(f"{ratio:.2f}" for ratio in ratios)
        )
    for name, wanted in (("exact", False), ("misfit", True)):
        groups = [by[n] for n in numbers if bool(SCENARIOS[n].misfit) == wanted]
        if groups:
            print("\n".join(group_lines(name, groups)))
    steps = np.concatenate([row["milliseconds"] for row in rows])
    print(f"one planning step: {np.median(steps):.0f} ms, the longest {steps.max():.0f} ms")
    foresee(by)


def foresee(by: dict[int, list[dict[str, Any]]]) -> None:
    """Print the standard deviations that are foreseen over those of exact designs."""
    ratios = []
    for n, group in by.items():
        plain = [row["if_exact"] for row in group if not row["flawed"]]
        if SCENARIOS[n].misfit or SCENARIOS[n].noise not in ("0.3%", "1%") or len(plain) < 2:
            continue
        ratios.append(np.array(predicted_std(SCENARIOS[n])) / np.nanstd(plain, axis=0))
    if ratios:
        N, L = np.exp(np.mean(np.log(ratios), axis=0))
        print(f"predicted over simulated standard deviation, exact: N {N:.2f}, L {L:.2f}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=10, help="of each scenario")
    parser.add_argument("--scenarios", type=int, nargs="+", help="by number, from 0; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where each study's outcome is written")
    options = parser.parse_args()
    numbers = options.scenarios or range(len(SCENARIOS))
    tasks = [(number, study) for number in numbers for study in range(options.studies)]
    work = partial(one_study, seed=options.seed)
    if options.processes == 1:
        rows = [work(task) for task in tqdm(tasks, mininterval=1)]
    else:
        with Pool(options.processes) as pool:
            rows = list(tqdm(pool.imap(work, tasks, chunksize=4), total=len(tasks), mininterval=1))
    if options.json:
        options.json.write_text(json.dumps(rows), encoding="utf-8")
    report(rows)


if __name__ == "__main__":
    main()
