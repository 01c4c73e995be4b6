"""Real processes that are killed or asked to leave, and what a rerun makes of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from flops_fit.pipeline.status import is_held
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    held_experiment,
    state_folder,
)

INTERRUPTED = 75

# A model with dropout and a buffer, and losses that tell how far a process is; where the test asks
# for it, a step takes some milliseconds, so that there is time to do harm.
PACED = """

calls = 0


class Dropping(Perceptron):
    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("average", torch.zeros(3))

    def forward(self, x):
        y = super().forward(nn.functional.dropout(x, 0.2, self.training)) + 0.01 * self.average
        if self.training and y.device.type != "meta":
            with torch.no_grad():
                self.average.mul_(0.99).add_(0.01 * y.mean(dim=0))
        return y


def pace(outputs):
    global calls
    if not torch.is_grad_enabled() or outputs.device.type == "meta" or "MARKS" not in os.environ:
        return
    calls += 1
    with open(f"{os.environ['MARKS']}/{os.environ.get('RANK', 0)}", "w") as file:
        file.write(f"{calls} {os.getpid()}\\n")
    time.sleep(0.01)


def paced_mean(outputs, targets):
    pace(outputs)
    return mean_loss(outputs, targets)


def paced_masked(outputs, targets):
    pace(outputs)
    return masked_loss(outputs, targets)
"""

FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
num_processes: 2
num_machines: 1
mixed_precision: 'no'
use_cpu: false
debug: false
fsdp_config: {fsdp_version: 2, fsdp_auto_wrap_policy: SIZE_BASED_WRAP, fsdp_min_num_params: 20,
              fsdp_reshard_after_forward: true, fsdp_cpu_ram_efficient_loading: false}
"""

# Python calls this before anything else: the trainer dies at its n-th renaming of a checkpoint.
DEATH_AT_A_RENAMING = """
import os
import signal
import sys

left = [int(os.environ["DIE_AT_RENAMING"])]


def trace(event, arguments):
    if event == "os.rename" and "checkpoint" in str(arguments[0]):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(trace)
"""


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


class Experiment:
    """One experiment of a study, launched again and again."""

    def __init__(self, launchpad, study: str, processes: int, **train):
        self.launchpad = launchpad
        launchpad.config["study"] = study
        launchpad.config["train"] |= {"processes": processes, **train}
        self.id = launchpad.plan()[0]
        self.study = launchpad.study
        self.marks = launchpad.path / f"marks-{study}"
        self.marks.mkdir(exist_ok=True)
        self.checkpoints = [
            state_folder(self.study, self.id) / name for name in (CHECKPOINT, PREVIOUS_CHECKPOINT)
        ]

    def start(self, **more: str) -> subprocess.Popen:
        for mark in self.marks.iterdir():
            mark.unlink()
        # A machine with other work may take a while to start, and to save
        more = {"FLOPS_FIT_PATIENCE": "300", "MARKS": str(self.marks), **more}
        self.process = self.launchpad.start(self.id, **more)
        return self.process

    def wait_for_step(self, step: int, rank: int = 0) -> int:
        """Wait until a process of this attempt has begun so many steps; return its process id."""
        end = time.monotonic() + 120
        while True:
            try:
                done, pid = (self.marks / str(rank)).read_text().split()
            except (FileNotFoundError, ValueError):
                done, pid = 0, 0
            if int(done) >= step:
                return int(pid)
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end, "it did not train in time"
            time.sleep(0.01)

    def wait_for_accelerate(self) -> None:
        """Wait until the launcher has started it."""
        end = time.monotonic() + 120
        launcher = psutil.Process(self.process.pid)
        while not any("launch" in child.cmdline() for child in launcher.children()):
            assert time.monotonic() < end, "it did not start in time"
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Wait until the launcher has ended; return its status, and what this attempt said."""
        output, _ = self.process.communicate(timeout=120)
        return self.process.returncode, output

    def finish(self) -> dict:
        self.start()
        status, output = self.end()
        assert status == 0, output
        return self.launchpad.record(self.id)

    def nothing_runs(self) -> bool:
        name = f"--id={self.id}"
        return not any(
            name in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        )


def outcome(record: dict) -> dict:
    """Everything but timings, provenance, that it was resumed, and the study's name.

    The checksum is one of the study and the code as well.
    """
    left_out = ("throughput", "provenance", "study", "checksum")
    kept = {k: v for k, v in record.items() if k not in left_out}
    return {**kept, "world": {**record["world"], "resumed": None}}


@pytest.fixture
def paced(launchpad):
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + PACED)
    launchpad.config["model"]["target"] = "points:Dropping"
    launchpad.config["loss"] = "points:paced_mean"
    launchpad.config["train"] |= {"precision": "no"}
    return launchpad


def check_left(experiment: Experiment, why: str) -> None:
    status, output = experiment.end()
    assert status == INTERRUPTED, output
    said = [line for line in output.splitlines() if "stopped by" in line]
    assert len(said) == 1, output
    assert re.search(rf"stopped by {why} after step \d+ of \d+; a rerun goes on from", said[0])
    assert "Traceback" not in output
    assert experiment.nothing_runs()
    assert experiment.checkpoints[0].exists()


def test_one_process_that_dies_or_leaves_in_every_way(paced, tmp_path):
    whole = Experiment(paced, "whole", 1, checkpoint_minutes=None).finish()
    assert whole["steps"] > 200
    cut = Experiment(paced, "cut", 1, checkpoint_minutes=1e-9)

    cut.start()
    os.kill(cut.wait_for_step(20), signal.SIGKILL)
    status, output = cut.end()
    assert status not in (0, INTERRUPTED), output

    cut.start()
    cut.wait_for_accelerate()
    cut.process.send_signal(signal.SIGTERM)  # the training does not listen yet
    check_left(cut, "SIGTERM")

    cut.start()
    cut.wait_for_step(20)
    cut.process.send_signal(signal.SIGUSR1)
    check_left(cut, "SIGUSR1")

    cut.start()
    os.kill(cut.wait_for_step(20), signal.SIGTERM)  # as SLURM does, among others
    check_left(cut, "SIGTERM")

    cut.start()
    cut.wait_for_step(20)
    os.killpg(cut.process.pid, signal.SIGINT)  # Ctrl-C
    check_left(cut, "SIGTERM")

    (tmp_path / "death").mkdir()
    (tmp_path / "death" / "sitecustomize.py").write_text(DEATH_AT_A_RENAMING)
    path = f"{tmp_path / 'death'}:{paced.environment()['PYTHONPATH']}"
    # Renamings come in pairs: away with the newest, and the new one in its place.
    for renaming in (21, 20):
        cut.start(PYTHONPATH=path, DIE_AT_RENAMING=str(renaming))
        assert cut.end()[0] not in (0, INTERRUPTED)
        assert [path.exists() for path in cut.checkpoints] == [renaming == 21, True]

    # The launcher dies, its training goes on; a rerun waits for it and takes its record.
    cut.start()
    cut.wait_for_step(20)
    cut.process.kill()
    cut.process.wait()
    again = paced.start(cut.id)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "waiting for the process that trains" in output
    assert "its stored record is used" in output

    record = paced.record(cut.id)
    assert record["world"]["resumed"] is True
    assert outcome(record) == outcome(whole)
    assert {path.name for path in cut.checkpoints[0].parent.iterdir()} == {
        "launch.lock", "lock", "record.json",
    }  # fmt: skip


def test_two_processes_of_which_one_dies_or_is_asked_to_leave(paced):
    whole = Experiment(paced, "whole", 2, checkpoint_minutes=None).finish()
    cut = Experiment(paced, "cut", 2, checkpoint_minutes=1e-9)

    cut.start()
    os.kill(cut.wait_for_step(20, rank=1), signal.SIGKILL)
    status, output = cut.end()
    assert status not in (0, INTERRUPTED), output
    assert cut.nothing_runs()

    cut.start()
    os.kill(cut.wait_for_step(20, rank=1), signal.SIGTERM)
    check_left(cut, "a signal to another process")

    cut.start()
    cut.wait_for_step(20)
    os.killpg(cut.process.pid, signal.SIGINT)
    check_left(cut, "SIGTERM")

    record = cut.finish()
    assert record["world"]["resumed"] is True
    assert outcome(record) == outcome(whole)


@pytest.mark.parametrize(
    ("precision", "chain", "tolerance"),
    [
        pytest.param("float64", ("sharded over 2", 3), 1e-8, id="float64"),
        pytest.param("no", (2,), 2e-3, id="float32"),
    ],
)
def test_another_number_of_processes_goes_on(paced, precision, chain, tolerance):
    paced.config["model"]["target"] = "points:Perceptron"
    paced.config["loss"] = "points:paced_masked"
    paced.config["train"] |= {"precision": precision, "checkpoint_minutes": None}
    whole = Experiment(paced, "whole", 1).finish()
    (paced.path / "fsdp.yaml").write_text(FSDP)
    for link in chain:
        sharded = link == "sharded over 2"
        config = "fsdp.yaml" if sharded else None
        cut = Experiment(paced, "cut", 2 if sharded else link, accelerate_config=config)
        cut.start()
        cut.wait_for_step(30)
        cut.process.send_signal(signal.SIGTERM)
        check_left(cut, "SIGTERM")
    record = Experiment(paced, "cut", 1, accelerate_config=None).finish()
    assert record["world"]["resumed"] is True
    assert record["throughput"]["mfu"] is None
    assert record["loss"] == pytest.approx(whole["loss"], rel=tolerance)
    assert len(record["curve"]) == len(whole["curve"])
    for row, expected in zip(record["curve"], whole["curve"], strict=True):
        assert row[:2] == expected[:2]
        assert row[2:] == pytest.approx(expected[2:], rel=tolerance)


def test_a_process_that_does_not_listen_is_killed_after_a_while(paced):
    module = paced.path / "points.py"
    module.write_text(module.read_text().replace("time.sleep(0.01)", "time.sleep(3600)"))
    stuck = Experiment(paced, "stuck", 1)
    stuck.start(FLOPS_FIT_PATIENCE="1")
    stuck.wait_for_step(1)
    stuck.process.send_signal(signal.SIGTERM)
    status, output = stuck.end()
    assert status == 128 + signal.SIGTERM
    assert "it has not left within 1 s and is killed" in output
    assert stuck.nothing_runs()
    assert not Path(stuck.checkpoints[0]).exists()


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


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_an_orphan_that_is_still_starting_is_waited_for(starting):
    experiment, folder, hold = starting
    log = experiment.study / "logs" / f"{experiment.id}.log"
    before = log.stat()
    experiment.process.kill()
    experiment.process.wait()
    again = experiment.launchpad.start(experiment.id, **hold)
    assert again.stdout.readline().startswith("waiting for the process that trains")
    assert is_held(experiment.study, experiment.id)
    assert log.stat() == before
    (folder / "go").touch()
    output, _ = again.communicate(timeout=120)
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
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    # Whichever came first trained, and the other one used its record.
    wait_for(experiment.nothing_runs)
    records = state_folder(experiment.study, experiment.id) / "record.json"
    assert records.read_text() == (experiment.study / "runs" / f"{experiment.id}.json").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("starting", [1, 2], indirect=True)
def test_a_trainer_that_waits_for_another_one_leaves_when_it_is_asked_to(starting, number):
    """Also where others, which know of nothing, wait for the one that waits."""
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
