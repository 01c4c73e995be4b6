"""CPU time of the workflow per experiment, for small studies and for huge ones.

    PYTHONPATH=workflow:tests python benchmarks/workflow.py --experiments 100 1000 10000

plans, dry-runs, runs and fits a study of so many experiments through Snakemake, and prints the CPU
seconds of all processes. Nothing is trained: each experiment has a stored record, simulated from a
known law, which the launcher puts in its place as after an interruption. What remains is the
workflow's own work, which has to grow with the number of experiments and no faster: the last lines
give the CPU time of one experiment more, between neighbouring numbers of experiments.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from checkout import PARTS, ROOT, Checkout, copy_checkout, environment
from flops_fit.files.reading import parse_json
from flops_fit.files.writing import write_json
from flops_fit.records.run_record import RunRecord

SIZES = [2, 3, 4, 6, 8, 11, 16, 23, 32, 45]
BUDGETS = [4e6, 8e6, 1.6e7, 3.2e7, 6.4e7]
CELLS = len(SIZES) * len(BUDGETS)
E, A, B, ALPHA, BETA, NOISE = 1.8, 5.0, 60.0, 0.45, 0.4, 0.003
"""The law of the losses, with its optimum among the sizes at each budget, and its noise."""
STEPS = {
    "plan": ("plan",),
    "dry run": ("-n",),
    "run": ("runs", "--quiet", "--resources", "gpu=64"),
    "nothing to do": ("runs", "--quiet"),
    "fit": ("fit", "--quiet"),
}


def main() -> None:
    """Measure each number of experiments, and print its times and those of one more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, nargs="+", default=[100, 1000, 10000],
                        help=f"multiples of {CELLS}")  # fmt: skip
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    options = parser.parse_args()
    numbers = sorted(options.experiments)
    print("CPU seconds of all processes (in brackets the elapsed time)")
    print(f"{'experiments':>11}" + "".join(f"{step:>22}" for step in options.steps))
    found = {}
    for n in numbers:
        with tempfile.TemporaryDirectory() as folder:
            found[n] = measured(Path(folder), n, options.steps)
        times = (f"{cpu:.1f} ({wall:.0f})" for cpu, wall in found[n].values())
        print(f"{n:11d}" + "".join(f"{text:>22}" for text in times), flush=True)
    print("milliseconds of CPU for one experiment more")
    for fewer, more in itertools.pairwise(numbers):
        each = ((found[more][s][0] - found[fewer][s][0]) / (more - fewer) for s in options.steps)
        row = "".join(f"{1000 * seconds:22.1f}" for seconds in each)
        print(f"{fewer} to {more}".rjust(11) + row)


def measured(folder: Path, n: int, steps: list[str]) -> dict[str, tuple[float, float]]:
    """Return the CPU and the elapsed time, in seconds, of steps of a study of `n` experiments."""
    checkout = copy_checkout(ROOT, folder / "checkout", PARTS)

    def many(config: dict) -> None:
        config["model"]["sizes"] = SIZES
        config["plan"] |= {"budgets": BUDGETS, "sizes_per_budget": len(SIZES)}
        config["plan"] |= {"tokens_per_param": [0.1, 1e6], "seeds": list(range(n // CELLS))}
        config["plan"]["hardware"] = {"flops_per_second": 1e9}  # nothing is trained to price it
        config["train"]["batch"] = 8

    checkout.configure(many)
    times = {}
    for step in steps:
        if step == "run":
            store_records(checkout.study)
        times[step] = of_snakemake(checkout, *STEPS[step])
    return times


def of_snakemake(checkout: Checkout, *arguments: str) -> tuple[float, float]:
    """Run snakemake and return the CPU and elapsed time of it and all its children."""
    log = checkout.path / "printed.txt"
    with log.open("w") as output:
        begun = os.times()
        done = subprocess.run(
            ["snakemake", *arguments, "--cores", "2", "--configfile", "config/studies/tiny.yaml"],
            cwd=checkout.path, env=environment() | {"OMP_NUM_THREADS": "1"}, check=False,
            stdout=output, stderr=output,
        )  # fmt: skip
        ended = os.times()
    if done.returncode:
        raise SystemExit(log.read_text())
    cpu = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    return cpu, ended.elapsed - begun.elapsed


def store_records(study_folder: Path) -> None:
    """Store a record for every planned experiment, as a trainer does before it is put in place."""
    noise = np.random.default_rng(0)
    for run_id, job in parse_json(study_folder / "specs.json").items():
        N, D = job["n_params_non_embedding"], job["spec"]["D"]
        L = (E + A / N**ALPHA + B / D**BETA) * np.exp(NOISE * noise.standard_normal())
        record = RunRecord.from_json(
            {
                "id": run_id, "study": job["study"], "spec": job["spec"], "status": "completed",
                "loss": float(L), "loss_std_err": 0.01, "n_params": job["n_params"],
                "n_params_non_embedding": N, "D": D, "steps": job["steps"],
                "C": job["flops_per_unit"] * D, "C_6nd": None,
                "curve": [[1 + i, 8 * (1 + i), float(L), 0.01] for i in range(50)],
                "throughput": {}, "world": {}, "provenance": {},
            },
            run_id,
        )  # fmt: skip
        write_json(study_folder / "state" / run_id / "record.json", record.to_json())


if __name__ == "__main__":
    main()
