"""Studies that share a dataset: it is prepared once, and neither locks the other out."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

import psutil
import pytest
from checkout import Checkout, environment, jobs_of
from test_faults_of_experiments import wait_for

# Prepares only once a file is there, and says that it waits.
PATIENT = """
import os
import time
from pathlib import Path

from teacher import TeacherLabels


class Patient(TeacherLabels):
    @classmethod
    def prepare(cls, folder, **kwargs):
        with open("results/preparing", "a") as file:
            print(os.getpid(), file=file, flush=True)
        while not Path("results/prepare").exists():
            time.sleep(0.05)
        super().prepare(folder, **kwargs)
"""
SHOW_THE_PLAN = "with reported(snakemake.log[0]):\n"
PATIENTLY = (
    'import time\n\nwhile not Path("results/show").exists():\n    time.sleep(0.05)\n'
    + SHOW_THE_PLAN
)


class Run:
    """A snakemake that was started and not waited for."""

    def __init__(self, checkout: Checkout, study: str, *targets: str):
        self.folder = checkout.path / "results" / study
        self.log = checkout.path / f"{study}.log"
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                ["snakemake", *targets, "--cores", "1",
                 "--configfile", f"config/studies/{study}.yaml"],
                cwd=checkout.path, env=environment(), start_new_session=True,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition) -> None:
        """Wait for a condition, which has to come true before the run ends."""
        wait_for(lambda: condition() or not self.alive)
        assert condition(), self.output

    def kill(self) -> None:
        """Kill everything that it started, at once."""
        tree = [self.process.pid]
        with suppress(psutil.Error):
            tree += [p.pid for p in psutil.Process(tree[0]).children(recursive=True)]
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def studies(checkout):
    """A checkout with two studies of one dataset, and a function that starts one of them."""
    checkout.config_file.with_name("patient.py").write_text(PATIENT)
    for name in ("first", "second"):
        checkout.configure(
            lambda c, name=name: c.update(study=name, dataset=c["dataset"] | {"target": TARGET}),
            name=f"{name}.yaml",
        )
    started = []

    def start(study: str, *targets: str) -> Run:
        started.append(Run(checkout, study, *targets))
        return started[-1]

    yield checkout, start
    for run in started:
        run.kill()


TARGET = "patient:Patient"


def preparations(checkout) -> list[int]:
    """The processes that began to prepare the dataset."""
    file = checkout.path / "results" / "preparing"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_two_fresh_studies_of_one_dataset_run_at_the_same_time(studies):
    checkout, start = studies
    script = checkout.path / "workflow" / "scripts" / "show_plan.py"
    text = script.read_text()
    assert SHOW_THE_PLAN in text
    script.write_text(text.replace(SHOW_THE_PLAN, PATIENTLY))
    first = start("first", "plan")
    first.wait_until(lambda: preparations(checkout))
    second = start("second", "plan")
    waits = "second: waits for another snakemake, which prepares the same dataset in results/data/"
    second.wait_until(lambda: waits in second.output)
    (checkout.path / "results" / "prepare").touch()
    # Both go on while neither has ended: they show their plans only later.
    for run in (first, second):
        run.wait_until((run.folder / "plan.csv").exists)
    assert first.alive
    assert second.alive
    (checkout.path / "results" / "show").touch()
    for run in (first, second):
        assert run.process.wait(timeout=300) == 0, run.output
        assert "6 experiments at 2 budgets" in run.output
    assert len(preparations(checkout)) == 1
    assert waits.replace("second", "first") not in first.output
    assert len(list(checkout.path.glob("results/data/*/meta.json"))) == 1
    for study in ("first", "second"):
        output = checkout.succeed("plan", "-n", config=f"config/studies/{study}.yaml")
        assert jobs_of(output, "prepare") == jobs_of(output, "plan_experiments") == 0


def test_a_killed_preparation_locks_nobody_out(studies):
    checkout, start = studies
    first = start("first", "plan")
    first.wait_until(lambda: preparations(checkout))
    first.kill()
    (checkout.path / "results" / "prepare").touch()
    # Snakemake left a lock behind for the first study, which is told what to do, ...
    config = "config/studies/first.yaml"
    output = checkout.refuse("plan", "--cores", "1", config=config)
    assert "first: a run of this study was killed" in output
    assert "type the same command with --unlock once" in output
    # ... and for no other.
    output = checkout.succeed("plan", "--cores", "1", config="config/studies/second.yaml")
    assert jobs_of(output, "prepare") == 1
    assert "waits for another" not in output
    assert len(preparations(checkout)) == 2
    assert len(list(checkout.path.glob("results/data/*/meta.json"))) == 1
    checkout.succeed("plan", "--cores", "1", "--unlock", config=config)
    output = checkout.succeed("plan", "--cores", "1", config=config)
    assert jobs_of(output, "prepare") == 0
    assert jobs_of(output, "plan_experiments") == 1
