"""A study that is killed at random moments until it is finished, and its expected results.

Shared by tests/faults/test_campaign.py (short) and benchmarks/faults.py (long).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from checkout import PARTS, ROOT, Checkout, copy_checkout, environment, jobs_of

# Steps take their time, so that there is a moment to be killed in; the numbers are the same.
UNHURRIED = """

import time


def unhurried(outputs, targets):
    if torch.is_grad_enabled() and outputs.device.type != "meta":
        time.sleep(0.004)
    return cross_entropy(outputs, targets)
"""

# Python calls this before anything else: a process dies as it is about to rename its n-th file of a
# checkpoint or a record, or in the middle of writing that file. It says so first.
DEATH_AT_A_RENAMING = """
import os
import signal
import sys

left = int(os.environ.get("DIE_AT_RENAMING", "0"))


def trace(event, arguments):
    global left
    if event in ("os.rename", "os.link"):
        source = str(arguments[0])
        if "/state/" in source or "/runs/" in source:
            left -= 1
            if left == 0:
                if os.environ["HALF_WRITTEN"] and source.endswith(".tmp"):
                    os.truncate(source, os.path.getsize(source) // 2)
                with open(os.environ["DEATHS"], "a") as file:
                    file.write(source + "\\n")
                os.kill(os.getpid(), signal.SIGKILL)


if left:
    sys.addaudithook(trace)
"""

SNAKEMAKE, LAUNCHER, ACCELERATE, TRAINER = "Snakemake", "launcher", "accelerate", "trainer"
ONE_OF_TWO = "one of two trainers"
RENAMING, WRITING = "trainer, at a renaming", "trainer, in a write"
WORDS = {
    SNAKEMAKE: "/snakemake",
    LAUNCHER: "flops_fit.launch",
    ACCELERATE: "/accelerate",
    TRAINER: "/train.py",
}


def unhurried_checkout(folder: Path) -> Checkout:
    """A checkout whose study has experiments of one and of two processes and saves all the time."""
    checkout = copy_checkout(ROOT, folder, PARTS)
    with open(checkout.config_file.with_name("teacher.py"), "a", encoding="utf-8") as file:
        file.write(UNHURRIED)
    checkout.configure(unhurried)
    hook = checkout.path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(DEATH_AT_A_RENAMING)
    return checkout


def unhurried(config: dict) -> None:
    """Change the tests' study."""
    config["loss"] = "teacher:unhurried"
    config["train"] |= {
        "checkpoint_minutes": 0.005,
        "processes": [
            {"from_params": 0, "processes": 1},
            {"from_params": 100, "processes": 2},
        ],
    }
    # The same bits, however many processes there are, are asked of no sum in another order.
    config["train"]["precision"] = "float64"


@dataclass
class Campaign:
    """Kills until a study is finished.

    Parameters
    ----------
    checkout
        Planned, without runs.
    expected
        runs.csv of the undisturbed study.
    """

    checkout: Checkout
    expected: bytes
    rng: random.Random
    longest_wait: float = 12.0
    kills: Counter = field(default_factory=Counter)
    starts: int = 0
    unlocked: int = 0
    retrained: list[str] = field(default_factory=list)

    def run(self, kills: int) -> None:
        """Kill so many times, or until the study is finished; then run it to its end.

        Raises
        ------
        AssertionError
            If a plain rerun does not finish it, or it comes out otherwise than undisturbed.
        """
        while sum(self.kills.values()) < kills and not self._finished():
            self._start_and_kill()
        before = self._records()
        done = self._rerun()
        assert done.returncode == 0, done.stdout
        self._note_retrained(before)
        assert (self.checkout.study / "runs.csv").read_bytes() == self.expected
        assert self.retrained == []
        assert self._processes() == []
        left = [path for path in self.checkout.study.rglob("*.tmp") if path.is_file()]
        assert left == []

    def _start_and_kill(self) -> None:
        before = self._records()
        victim = self.rng.choice([*WORDS, TRAINER, RENAMING, WRITING])
        deaths = self.checkout.path / "hook" / "deaths"
        deaths.write_text("")
        variables = {"PYTHONPATH": str(deaths.parent)}
        if victim in (RENAMING, WRITING):
            variables["DIE_AT_RENAMING"] = str(self.rng.randint(1, 8))
            variables["DEATHS"] = str(deaths)
            variables["HALF_WRITTEN"] = "yes" if victim == WRITING else ""
        self._unlock()
        self.starts += 1
        process = subprocess.Popen(
            [*self._command(), "--keep-going"], cwd=self.checkout.path,
            env=environment() | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if victim in (RENAMING, WRITING):
            process.wait(timeout=600)
            self.kills[victim] += len(deaths.read_text().splitlines())
        else:
            deadline = time.monotonic() + self.rng.uniform(0.5, self.longest_wait)
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            found = self._processes(victim) if process.poll() is None else []
            if found:
                chosen = self.rng.choice(found)
                kind = ONE_OF_TWO if victim == TRAINER and in_company(chosen) else victim
                chosen.kill()
                self.kills[kind] += 1
            with suppress(ProcessLookupError):
                if victim != SNAKEMAKE:
                    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C, to start again
            process.wait(timeout=600)
        self._note_retrained(before)

    def _rerun(self) -> subprocess.CompletedProcess:
        self._unlock()
        return subprocess.run(
            self._command(), cwd=self.checkout.path, env=environment(), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
        )  # fmt: skip

    def _unlock(self) -> None:
        """Do what Snakemake says after it was killed: unlock, where the folder is locked."""
        if any((self.checkout.path / ".snakemake" / "locks").glob("*")):
            self.unlocked += 1
            command = [word for word in self._command() if word not in ("--cores", "2")]
            subprocess.run(
                [*command, "--unlock"], cwd=self.checkout.path, env=environment(), check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600,
            )  # fmt: skip

    def _command(self) -> list[str]:
        config = str(self.checkout.config_file.relative_to(self.checkout.path))
        return ["snakemake", "--cores", "2", "--configfile", config]

    def _records(self) -> dict[str, bytes]:
        """Finished records by id: those that Snakemake deleted before a job are stored still."""
        stored = self.checkout.study.glob("state/*/record.json")
        merged = self.checkout.study.glob("runs/[0-9a-f]*.json")
        return {path.parent.name: path.read_bytes() for path in stored} | {
            path.stem: path.read_bytes() for path in merged
        }

    def _note_retrained(self, before: dict[str, bytes]) -> None:
        """A record holds the time of its training, so changed content means another training."""
        now = self._records()
        self.retrained += [name for name, content in before.items() if now.get(name) != content]

    def _finished(self) -> bool:
        return (self.checkout.study / "table.md").exists()

    def _processes(self, victim: str | None = None) -> list[psutil.Process]:
        """Living processes of this checkout, of one kind or all of them."""
        words = [WORDS[victim]] if victim else list(WORDS.values())
        found = []
        for process in psutil.process_iter():
            try:
                here = process.cwd() == str(self.checkout.path)
                command = " ".join(process.cmdline()[:4])
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if here and alive and any(word in command for word in words):
                found.append(process)
        return found


def in_company(process: psutil.Process) -> bool:
    """Whether a trainer works together with others."""
    try:
        return process.environ().get("WORLD_SIZE", "1") != "1"
    except psutil.Error:
        return False


def run_undisturbed(folder: Path) -> tuple[Checkout, bytes]:
    """Plan the study, keep a copy of that, run it through, and return the copy and its runs.csv."""
    whole = unhurried_checkout(folder / "undisturbed")
    whole.succeed("plan", "--cores", "1")
    planned = folder / "planned"
    shutil.copytree(whole.path, planned)
    output = whole.succeed("--cores", "2")
    assert jobs_of(output) == 6
    return Checkout(planned), (whole.study / "runs.csv").read_bytes()


def fresh_copy(planned: Checkout, folder: Path) -> Checkout:
    """A copy of the planned study, with no runs."""
    shutil.copytree(planned.path, folder)
    return Checkout(folder)
