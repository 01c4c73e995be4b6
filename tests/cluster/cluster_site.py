"""Checkouts that submit to the private cluster of the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from checkout import PARTS, ROOT, Checkout, copy_checkout, environment
from private_slurm import GPUS_PER_NODE, Cluster

# The GPUs of the private cluster are numbers. Two stand-ins make a node look as if it had them:
# nvidia-smi lists as many, under names of this node, and the trainer believes that torch can use
# those that it was given, writes down which, and trains on the CPU. It waits before it trains as
# long as there is a file named "hold".
# The last part is of this run of the tests alone: all users of a system see which GPUs are marked.
NVIDIA_SMI = "#!/bin/sh\n" + "".join(
    f"echo GPU-${{SLURMD_NODENAME:-n1}}-{i}_{os.getpid()}\n" for i in range(GPUS_PER_NODE)
)
ANCHOR = "from flops_fit.train.process import main\n"
PRETENCE = """
import atexit, json, os, time

import torch

torch.cuda.device_count = lambda: len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
use = {
    "job": os.environ.get("SLURM_JOB_ID"),
    "id": next(word[5:] for word in sys.argv if word.startswith("--id=")),
    "rank": int(os.environ.get("RANK", 0)),
    "gpus": os.environ["CUDA_VISIBLE_DEVICES"].split(","),
    "begin": time.time(),
}
report = Path("uses") / f"{use['id']}-{use['rank']}-{os.getpid()}.json"

def tell(what):  # in one moment: the test may be reading
    report.with_suffix(".new").write_text(json.dumps(what))
    report.with_suffix(".new").replace(report)

tell(use)
atexit.register(lambda: tell(use | {"end": time.time()}))
while Path("hold").exists():
    time.sleep(0.05)
"""

# A loss that takes its time, in seconds, as long as a file named "slow" says so; its numbers are
# the same.
LOSS = """

import contextlib, pathlib, time

def unhurried(outputs, targets):
    with contextlib.suppress(FileNotFoundError):
        time.sleep(float(pathlib.Path("slow").read_text()))
    return cross_entropy(outputs, targets)
"""


@dataclass
class Site:
    """A checkout on the cluster, whose profile was adapted to it as a user adapts his own."""

    cluster: Cluster
    checkout: Checkout

    @property
    def profile(self) -> Path:
        return self.checkout.path / "profiles" / "slurm" / "config.yaml"

    def submit(self, *arguments: str) -> str:
        """Run the study through the profile, which has to succeed."""
        return self.checkout.succeed("--workflow-profile", "profiles/slurm", *arguments)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Begin to run the study through the profile."""
        return subprocess.Popen(
            ["snakemake", "--workflow-profile", "profiles/slurm", *arguments,
             "--configfile", "config/studies/tiny.yaml"],
            cwd=self.checkout.path, env=environment() | self.checkout.variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def uses(self) -> list[dict]:
        """Which GPUs every training process had, and when."""
        return [json.loads(p.read_text()) for p in (self.checkout.path / "uses").glob("*.json")]

    def checkpoint(self, run_id: str) -> Path:
        """The file from which an experiment goes on."""
        return self.checkout.study / "state" / run_id / "checkpoint.safetensors"

    def configure_training(self, **changes) -> None:
        """Change the section ``train`` of the configuration, and nothing else."""
        path = self.checkout.config_file
        config = yaml.safe_load(path.read_text())
        config["train"] |= changes
        path.write_text(yaml.safe_dump(config))

    def forget(self, *run_ids: str) -> None:
        """Delete records, and what was noted of their trainings."""
        for run_id in run_ids:
            (self.checkout.study / "runs" / f"{run_id}.json").unlink()
        shutil.rmtree(self.checkout.path / "uses")
        (self.checkout.path / "uses").mkdir()


def make_site(cluster: Cluster, folder: Path) -> Site:
    made = copy_checkout(ROOT, folder / "checkout", PARTS)
    (made.path / "uses").mkdir()
    smi = folder / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(NVIDIA_SMI)
    smi.chmod(0o755)
    change(made.path / "workflow" / "scripts" / "train.py", (ANCHOR, ANCHOR + PRETENCE))
    change(
        made.path / "profiles" / "slurm" / "config.yaml",
        ("gpus_per_node: 8", f"gpus_per_node: {GPUS_PER_NODE}"),
        ("cpus_per_process: 4", "cpus_per_process: 1"),
        ("status-checks: 20", "status-checks: 1"),
        ("latency-wait: 60", "latency-wait: 10"),
    )
    path = environment()["PATH"]
    made.variables = {
        "PATH": f"{smi.parent}:{cluster.commands}:{path}",
        "TMPDIR": str(folder),  # of the leases
        "OMP_NUM_THREADS": "1",
    }
    return Site(cluster, made)


def cancel_jobs(cluster: Cluster) -> None:
    """Leave the cluster empty for the next test."""
    if jobs := cluster.jobs():
        cluster.ask("scancel", "--quiet", *jobs)
        wait_until(lambda: not cluster.jobs("PENDING,RUNNING,COMPLETING"))


def wait_until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait for a condition, which has to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def change(path: Path, *replacements: tuple[str, str]) -> None:
    """Replace texts in a file, each of which has to be there."""
    text = path.read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)
