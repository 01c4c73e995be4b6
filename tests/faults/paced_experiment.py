"""One experiment that is launched again and again, and tells how far it is."""

from __future__ import annotations

import subprocess
import time

import psutil
from flops_fit.records.experiment_files import CHECKPOINT, PREVIOUS_CHECKPOINT, state_folder

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
        end = time.monotonic() + 600
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
        end = time.monotonic() + 600
        launcher = psutil.Process(self.process.pid)
        while not any("launch" in child.cmdline() for child in launcher.children()):
            assert time.monotonic() < end, "it did not start in time"
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Wait until the launcher has ended; return its status, and what this attempt said."""
        output, _ = self.process.communicate(timeout=600)
        return self.process.returncode, output

    def finish(self) -> dict:
        self.start()
        status, output = self.end()
        assert status == 0, output
        return self.launchpad.record(self.id)

    def running(self) -> list[str]:
        """Command lines of the processes that are left.

        By the folder: the same experiment has the same id in another test, which may run now.
        """
        commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return [
            " ".join(command)
            for command in commands
            if f"--id={self.id}" in command
            and any(str(self.launchpad.path) in word for word in command)
        ]

    def nothing_runs(self) -> bool:
        return self.running() == []


def wait_for(condition) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
