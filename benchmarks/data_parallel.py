"""Throughput and loss of one experiment with one and with several processes, side by side.

    PYTHONPATH=workflow python benchmarks/data_parallel.py [--size 64] [--steps 200] [--repeats 3]

Launches the demo's model through the very launcher of the workflow. On a machine without GPUs: two
processes with one thread each against one with two threads, and against one with one thread, which
the scaling efficiency refers to. With GPUs: all of them against one, with MFU. Prints medians and
ratios; absolute times belong to the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from flops_fit.launch.gpus import visible_gpus
from flops_fit.study.identity import fingerprint
from one_experiment import ROOT, experiment_job


def launch(folder: Path, run_id: str, processes: int, threads: int) -> dict:
    """Train the experiment once and return its record."""
    specs = json.loads((folder / "specs.json").read_text(encoding="utf-8"))
    specs[run_id]["processes"] = processes
    (folder / "specs.json").write_text(json.dumps(specs), encoding="utf-8")
    for old in (folder / "runs" / f"{run_id}.json", folder / "state" / run_id / "record.json"):
        old.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "flops_fit.launch", f"--plan={folder / 'plan.csv'}",
         f"--id={run_id}", f"--log={folder / 'log'}", f"--threads={threads}"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")}, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"the training with {processes} processes failed:\n{done.stdout}")
    return json.loads((folder / "runs" / f"{run_id}.json").read_text(encoding="utf-8"))


def main() -> None:
    """Measure, alternating, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="d_model")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=2048, help="tokens per step")
    parser.add_argument("--precision", default="no")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    gpus = len(visible_gpus(os.environ))
    # (processes, CPU threads of all of them); a process with a GPU has threads that load samples.
    layouts = [(1, 1), (1, 2), (2, 2)]
    if gpus:
        layouts = sorted({(1, 4), (gpus, 4 * gpus)})
    rates: dict[tuple[int, int], list[float]] = {layout: [] for layout in layouts}
    records: dict[tuple[int, int], dict] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = experiment_job(
            folder, options.size, options.steps, options.batch, precision=options.precision
        )
        run_id = fingerprint(job.spec.to_json())
        (folder / "specs.json").write_text(json.dumps({run_id: job.to_json()}), encoding="utf-8")
        for _ in range(options.repeats):
            for layout in layouts:
                records[layout] = launch(folder, run_id, *layout)
                rates[layout].append(records[layout]["throughput"]["units_per_second"])
    print(f"d_model {options.size}, {options.steps} steps of {options.batch} tokens")
    for layout in layouts:
        mfu = records[layout]["throughput"]["mfu"]
        print(
            f"{named(layout)} on {records[layout]['world']['device']}: "
            f"{statistics.median(rates[layout]):.4g} tokens/s"
            + (f", MFU {mfu:.1%}" if mfu is not None else "")
        )
    one, many = layouts[0], layouts[-1]
    for other in layouts[:-1]:
        ratios = [b / a for a, b in zip(rates[other], rates[many], strict=True)]
        print(
            f"{named(many)} / {named(other)}: {statistics.median(ratios):.3f} "
            f"(pairs: {', '.join(f'{r:.3f}' for r in ratios)})"
        )
    if many == one:
        print("one GPU is visible: there is nothing to compare it with")
        return
    ratio = statistics.median([b / a for a, b in zip(rates[one], rates[many], strict=True)])
    print(f"scaling efficiency {ratio / many[0]:.1%} ({named(many)} against {named(one)})")
    losses = [records[layout]["loss"] for layout in (one, many)]
    print(f"relative difference of the losses {abs(losses[1] / losses[0] - 1):.2e}")


def named(layout: tuple[int, int]) -> str:
    """Return a layout in words."""
    processes, threads = layout
    return f"{processes} x {threads // processes} threads"


if __name__ == "__main__":
    main()
