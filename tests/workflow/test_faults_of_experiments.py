"""What happens to a study when one of its experiments dies, or the user presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from checkout import environment, jobs_of

MORTAL = '''
import os
import signal
from pathlib import Path

from teacher import Classifier


class Mortal(Classifier):
    """Its second process is killed at one width, as long as a file says so."""

    def __init__(self, width, n_features, n_classes):
        super().__init__(width, n_features, n_classes)
        doomed = width == 5 and os.environ.get("RANK") == "1"
        if doomed and Path("results/doomed").exists():
            os.kill(os.getpid(), signal.SIGKILL)
'''

SLOW = '''
import time
from pathlib import Path

from teacher import Classifier


class Slow(Classifier):
    """A step takes its time, as long as a file says so."""

    def forward(self, x):
        if self.training and Path("results/slow").exists():
            time.sleep(0.1)
        return super().forward(x)
'''


def test_a_dead_process_fails_its_own_experiment_alone_and_a_rerun_repeats_that(checkout):
    checkout.config_file.with_name("mortal.py").write_text(MORTAL)

    def change(config):
        config["model"]["target"] = "mortal:Mortal"
        config["plan"]["budgets"] = [4e6]
        config["train"]["processes"] = 2

    checkout.configure(change)
    checkout.succeed("plan")
    (checkout.path / "results" / "doomed").write_text("")
    output = checkout.snakemake("runs", "--cores", "1").stdout
    assert jobs_of(output) == 3
    assert "Error in rule train" in output
    sizes = sorted(record["spec"]["size"] for record in checkout.records().values())
    assert sizes == [2, 16]
    (checkout.path / "results" / "doomed").unlink()
    assert jobs_of(checkout.succeed("runs", "--cores", "2")) == 1
    assert len(checkout.records()) == 3
    for record in checkout.records().values():
        assert record["world"]["num_processes"] == 2


def test_an_interrupt_leaves_no_process_and_a_rerun_goes_on(checkout):
    checkout.configure(lambda c: c["plan"].update(budgets=[4e8], tokens_per_param=[1, 1e6]))
    checkout.succeed("plan")
    command = ["snakemake", "--cores", "2", "--configfile", "config/studies/tiny.yaml"]
    process = subprocess.Popen(
        command, cwd=checkout.path, env=environment(), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_for(lambda: trainers(checkout.path))
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    process.communicate(timeout=300)
    assert process.returncode != 0
    wait_for(lambda: not trainers(checkout.path))
    checkout.configure(lambda c: c["plan"].update(budgets=[4e6]))  # a small one now
    checkout.succeed("runs", "--cores", "2")
    assert len(checkout.records()) == 3


def test_an_experiment_that_was_asked_to_leave_goes_on_in_the_retry(checkout):
    checkout.config_file.with_name("slow.py").write_text(SLOW)

    def change(config):
        config["model"]["target"] = "slow:Slow"
        config["plan"]["budgets"] = [4e6]
        config["train"]["checkpoint_minutes"] = None

    checkout.configure(change)
    checkout.succeed("plan")
    (checkout.path / "results" / "slow").write_text("")
    command = ["snakemake", "--cores", "1", "--retries", "1", "runs"]
    process = subprocess.Popen(
        [*command, "--configfile", "config/studies/tiny.yaml"], cwd=checkout.path,
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    logs = checkout.study / "logs"
    wait_for(lambda: any("steps of 32" in log.read_text() for log in logs.glob("*.log")))
    # accelerate launch names the script as well, and would ignore the signal
    launched = [pid for pid in trainers(checkout.path) if b"launch" not in words_of(pid)]
    os.kill(*launched, signal.SIGTERM)
    (checkout.path / "results" / "slow").unlink()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "stopped by SIGTERM after step" in output  # the failed job's log
    records = checkout.records()
    assert len(records) == 3
    assert [r["world"]["resumed"] for r in records.values()].count(True) == 1
    assert not list(checkout.study.glob("state/*/checkpoint*"))


def trainers(folder: Path) -> list[int]:
    """Process ids of the trainings that were started from a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = words_of(int(path.name))
            here = (path / "cwd").resolve() == folder.resolve()
        except OSError:  # it has ended
            continue
        if here and any(word.endswith(b"scripts/train.py") for word in words):
            found.append(int(path.name))
    return found


def words_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def wait_for(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
