"""How a training is asked to save and leave, and how it leaves. Imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

# EX_TEMPFAIL of sysexits.h: nothing is wrong, and a later attempt resumes from the checkpoint.
INTERRUPTED = 75
# Environment variable: the launcher's file to which a training writes its status, because
# `accelerate launch` turns every status but 0 into 1, and prints a page about it.
STATUS_FILE = "FLOPS_FIT_STATUS_FILE"
WARNINGS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_FOLLOW = 10.0
# Read before the slow imports: a process orphaned during them would see a different parent.
_PARENT_AT_START = os.getppid()


class Warned:
    """Remembers the first signal that asked this process to leave."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def asked(self) -> bool:
        """Whether such a signal has arrived."""
        return self.signal is not None

    def listen(self) -> Warned:
        """From now on remember signals instead of dying from them.

        An interrupt from the terminal (SIGINT) counts unless it is ignored, as it is under a
        launcher that passes it on itself. Once another process of the training has ended, the
        processes can no longer agree on a step to save at, so SIGTERM then terminates this one at
        once.
        """
        for number in WARNINGS:
            signal.signal(number, self._remember)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._remember)
        return self

    def finish(self) -> None:
        """Ignore signals from now on: the process is ending anyway."""
        for number in (*WARNINGS, signal.SIGINT):
            if signal.getsignal(number) == self._remember:
                signal.signal(number, signal.SIG_IGN)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and not _all_at_work():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.signal is None:
            self.signal = number


def _all_at_work() -> bool:
    """Whether all training processes that were started with this one are still alive."""
    started = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if started == 1:
        return True
    try:
        siblings = psutil.Process(os.getppid()).children()
        return sum(s.status() != psutil.STATUS_ZOMBIE for s in siblings) >= started
    except psutil.Error:
        return False


def end_with_agent() -> threading.Event:
    """Kill this process, silently, once the agent that started it has died.

    Several processes rendezvous through a store that their agent keeps. If the agent died,
    processes that have not joined yet would wait for half an hour, holding the experiment's lock.

    Returns
    -------
    threading.Event
        Set it once this process no longer needs the others; it may then outlive the agent.
    """
    alone = threading.Event()

    def look() -> None:
        while not alone.wait(_SECONDS_BETWEEN_LOOKS):
            # If the agent died while this process was starting, init has adopted this process.
            if os.getppid() != _PARENT_AT_START or _PARENT_AT_START == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=look, daemon=True).start()
    return alone


def leave(status: int, *, together: bool = False) -> NoReturn:
    """End this process, whose log says why, with a status that reaches the launcher.

    With several processes, the agent would print a page about each one that fails, burying the
    sentence that a person needs, and would wait for the others when one leaves alone. So the agent
    is killed first, and the other processes end with it.

    Parameters
    ----------
    status
        `INTERRUPTED`, or the status of a failure.
    together
        Whether all processes have agreed to leave.
    """
    if not _tell(status):
        sys.exit(status)
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if together or (status == INTERRUPTED and not several):
        sys.exit(0)
    if several and os.getppid() == _PARENT_AT_START != 1:
        os.kill(_PARENT_AT_START, signal.SIGKILL)
    sys.exit(status)


def follow() -> None:
    """Wait to be killed if another process has already reported why the training fails.

    This process's own error is then only a consequence (a lost connection) that would hide the
    cause.
    """
    try:
        told = Path(os.environ[STATUS_FILE]).read_bytes()
    except FileNotFoundError:
        told = True  # the launcher has already ended the agent and removed the file
    except (KeyError, OSError):
        return
    if told:
        time.sleep(_SECONDS_TO_FOLLOW)  # `end_with_agent` ends this process sooner


def _tell(status: int) -> bool:
    """Write a status for the launcher, unless another process has already written one."""
    try:
        # Other processes may write at the same time; the launcher may have removed the file.
        file = os.open(os.environ[STATUS_FILE], os.O_RDWR)
    except (KeyError, OSError):
        return False
    try:
        if not os.read(file, 1):
            os.write(file, f"{status:3d}".encode())
    finally:
        os.close(file)
    return True


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Block signals while new processes start, as they cannot handle any yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_trainer(worker: int) -> None:
    """Let a data-loading process survive a signal that asks its trainer to save and leave.

    A signal often goes to all processes of a job at once, and a trainer whose data-loading process
    dies cannot save. SIGTERM from the trainer itself still ends the process.

    Parameters
    ----------
    worker
        Its number, as ``torch.utils.data.DataLoader`` gives it to a ``worker_init_fn``.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    trainer = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
