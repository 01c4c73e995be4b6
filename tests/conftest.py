"""Settings for all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The tests train on the CPU, also on a machine with GPUs, but for those that need one
# (tests/distributed/test_gpus.py), which find here what was visible.
os.environ.setdefault("FLOPS_FIT_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Waiting threads sleep: beside other work, spinning ones take many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The cores are shared by workers and by the processes that tests start.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Shells start background jobs with interrupts ignored, and children inherit that; tests send
# interrupts to the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples at every change; `make test-long` throws the dice, and many more of them.
UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("short", UNHURRIED, max_examples=150, derandomize=True)
settings.register_profile("long", UNHURRIED, max_examples=3000)
settings.load_profile("short")

TESTS = Path(__file__).parent
# Tests that start processes and wait for them begin first, so that none of them is the last.
SLURM = "tests/cluster/"
ORDER = ("cluster", "faults", "distributed", "workflow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than there are cores: one of them mostly waits for SLURM."""
    return min(len(os.sched_getaffinity(0)), 15) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Give all that uses the private SLURM to one worker, and every other test to any of them.

    Not by the mark xdist_group: it has no effect under pytest 9.2, whose node ids cannot be changed
    (pytest-xdist 3.8).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SLURM if nodeid.startswith(SLURM) else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow folders first."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(TESTS).parts[0]
        return ORDER.index(folder) if folder in ORDER else len(ORDER)

    items.sort(key=place)
