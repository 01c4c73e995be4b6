"""What a sweep costs around its trainings: a SLURM job each, grouped, or all inside of one job.

    PYTHONPATH=workflow:tests:tests/cluster python benchmarks/submissions.py --experiments 1000

Each way runs the same planned study from nothing on a SLURM of its own with two nodes of four
pretended GPUs, all on this machine. A training takes half a second and no torch; everything around
it is real. CPU time is that of the whole machine, SLURM included: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from checkout import environment
from cluster_site import Site, make_site
from private_slurm import private_slurm
from quick_trainer import with_quick_trainer

SIZES = [2, 4, 5, 8, 16]


def submit_each(site: Site, group: int) -> int:
    """Submit every experiment; return how many submissions there were."""
    return submissions_of(site)


def submit_groups(site: Site, group: int) -> int:
    """Submit `group` experiments at a time; return how many submissions there were."""
    return submissions_of(
        site, "--groups", "train=sweep", "--group-components", f"sweep={group}",
        "--resources", "gpu=1", "nodes=1", "--set-resource-scopes", "gpu=local", "nodes=local",
        "--forcerun", "plan_experiments",
    )  # fmt: skip


def submissions_of(site: Site, *arguments: str) -> int:
    """Run all experiments through the profile; return how many submissions there were."""
    process = site.start("runs", *arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(output)
    return output.count("has been submitted with SLURM jobid")


def run_inside(site: Site, group: int) -> int:
    """Run Snakemake inside of one job with a node's GPUs; return the one submission."""
    variables = environment() | site.checkout.variables
    exports = ",".join(f"{name}={variables[name]}" for name in site.checkout.variables)
    subprocess.run(
        [site.cluster.commands / "sbatch", "--wait", "--quiet", "--gpus=4", "--nodes=1",
         "--cpus-per-task=4", f"--chdir={site.checkout.path}", "--output=job.log",
         f"--export=ALL,{exports}", "--wrap",
         "snakemake runs --cores 4 --resources gpu=4 --configfile config/studies/tiny.yaml"],
        check=True,
    )  # fmt: skip
    return 1


WAYS = {"each": submit_each, "grouped": submit_groups, "inside": run_inside}


def main() -> None:
    """Run the asked ways one after the other, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=100, help="a multiple of 5")
    parser.add_argument("--group", type=int, default=50, help="experiments of one submission")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    seeds = list(range(options.experiments // len(SIZES)))

    def many(config: dict) -> None:
        config["model"]["sizes"] = SIZES
        config["plan"] |= {"budgets": [4e6], "seeds": seeds}

    print(f"{'way':8} {'experiments':>11} {'submissions':>11} {'wall':>8} {'CPU each':>9}")
    with private_slurm() as cluster, tempfile.TemporaryDirectory() as folder:
        site = make_site(cluster, Path(folder))
        with_quick_trainer(site, many)
        site.checkout.succeed("plan")
        for way in options.ways:
            begun, busy = time.monotonic(), busy_seconds()
            submissions = WAYS[way](site, options.group)
            wall, busy = time.monotonic() - begun, busy_seconds() - busy
            done = len(site.checkout.records())
            if done != len(seeds) * len(SIZES):
                raise SystemExit(f"{way}: {done} records of {len(seeds) * len(SIZES)}")
            print(
                f"{way:8} {done:11d} {submissions:11d} {wall:6.0f} s {busy / done:7.2f} s",
                flush=True,
            )
            for part in ("runs", "state"):
                shutil.rmtree(site.checkout.study / part)


def busy_seconds() -> float:
    """CPU time that this machine has spent on work since it started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice - times.steal


if __name__ == "__main__":
    main()
