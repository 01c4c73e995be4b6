"""Trainings that start, alone or beside another one, before they hold their lock."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from flops_fit.pipeline.status import is_held
from flops_fit.records.experiment_files import held_experiment, state_folder
from paced_experiment import INTERRUPTED, Experiment, wait_for

# A trainer says that it has started, and goes on once a file is there: it holds no lock yet.
HOLD_TRAINERS = """
import os
import sys
import time

folder = os.environ["HELD_BEFORE_THE_LOCK"]
script = next((word for word in sys.orig_argv[1:] if not word.startswith("-")), "")
if script.endswith("/train.py"):
    with open(f"{folder}/started", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
"""


@pytest.fixture
def starting(paced, tmp_path, request):
    """An experiment whose first trainer has started and is held before it has any lock.

    Of one process, or of as many as the test says.
    """
    folder = tmp_path / "held"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOLD_TRAINERS)
    path = f"{folder}:{paced.environment()['PYTHONPATH']}"
    hold = {"PYTHONPATH": path, "HELD_BEFORE_THE_LOCK": str(folder)}
    experiment = Experiment(paced, "starting", getattr(request, "param", 1))
    experiment.start(**hold)
    experiment.wait_for_accelerate()
    wait_for(lambda: trainers(folder))
    yield experiment, folder, hold
    (folder / "go").touch()
    wait_for(experiment.nothing_runs)


def trainers(folder: Path) -> list[str]:
    """Process ids of the trainers that have started."""
    started = folder / "started"
    return started.read_text().split() if started.exists() else []


def test_an_orphan_that_is_still_starting_is_waited_for(starting):
    experiment, folder, hold = starting
    log = experiment.study / "logs" / f"{experiment.id}.log"
    before = log.stat()
    experiment.process.kill()
    experiment.process.wait()
    again = experiment.launchpad.start(experiment.id, **hold)
    assert again.stdout.readline().startswith("waiting for the process that is already training")
    assert is_held(experiment.study, experiment.id)
    assert log.stat() == before
    (folder / "go").touch()
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    assert "its stored record is used" in output
    assert len(trainers(folder)) == 1
    assert log.stat().st_ino == before.st_ino
    assert experiment.launchpad.record(experiment.id)["status"] == "completed"


def test_a_trainer_that_lost_launcher_and_accelerate_while_it_started_trains_with_no_other(
    starting,
):
    experiment, folder, hold = starting
    (accelerate,) = psutil.Process(experiment.process.pid).children()
    experiment.process.kill()
    experiment.process.wait()
    accelerate.kill()
    again = experiment.launchpad.start(experiment.id, **hold)
    wait_for(lambda: len(trainers(folder)) == 2)
    (folder / "go").touch()
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    # Whichever came first trained, and the other one used its record.
    wait_for(experiment.nothing_runs)
    records = state_folder(experiment.study, experiment.id) / "record.json"
    assert records.read_text() == (experiment.study / "runs" / f"{experiment.id}.json").read_text()


@pytest.mark.parametrize(
    ("starting", "number"),
    [
        (1, signal.SIGTERM),
        (2, signal.SIGUSR1),
        pytest.param(1, signal.SIGUSR1, marks=pytest.mark.long),
        pytest.param(2, signal.SIGTERM, marks=pytest.mark.long),
    ],
    indirect=["starting"],
)
def test_a_trainer_that_waits_for_another_one_leaves_when_it_is_asked_to(starting, number):
    """Even if other processes wait for the one that is waiting."""
    experiment, folder, _ = starting
    with held_experiment(experiment.study, experiment.id):
        (folder / "go").touch()
        wait_for(lambda: experiment.process.stdout.readline().startswith("waiting for the process"))
        experiment.process.send_signal(number)
        status, output = experiment.end()
    assert status == INTERRUPTED, output
    assert "stopped while it waited for another process" in output
    assert "is killed" not in output
    assert "Traceback" not in output
