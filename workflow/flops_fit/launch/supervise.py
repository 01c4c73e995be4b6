"""Runs ``accelerate launch`` as a child, passes signals to its training, and returns its status.

On a signal, ``accelerate launch`` dies while its training goes on, or gives it 30 seconds; and it
turns every failure status of a training into 1. So it is started with these signals ignored, and
the supervisor passes them to the training processes directly. The supervisor's leases are
inherited: they last as long as any of the processes is alive. Imports no torch.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from flops_fit.files.patience import seconds_from
from flops_fit.launch.leases import status_file
from flops_fit.launch.signals import INTERRUPTED, STATUS_FILE, WARNINGS

# Warnings: the training takes as long as it needs to save; the sender of the signal sets a limit.
_PATIENT = (signal.SIGUSR1, signal.SIGUSR2)
# Requests to end: a training that has not left in time is killed.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = "FLOPS_FIT_PATIENCE"  # environment variable: seconds to wait before killing
_DEFAULT_PATIENCE = 30.0  # as long as SLURM waits by default (KillWait)
_SECONDS_BETWEEN_REMINDERS = 1.0

# Read by the agent of several processes (torch.distributed.run): it leaves signals to the
# supervisor.
_AGENT = {"PET_SIGNALS_TO_HANDLE": "SIGQUIT"}


def supervise(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command that starts trainings and return the status for the launcher to end with.

    Parameters
    ----------
    command
        ``accelerate launch ...``; its direct children are the training processes.
    environment
        Its environment variables.

    Returns
    -------
    int
        75 (EX_TEMPFAIL) if the training was asked to leave and did; 128 plus the number of the
        signal if it had to be killed; otherwise the status that the training reported, or else the
        command's own.
    """
    with status_file() as told_in:
        environment = {**environment, **_AGENT, STATUS_FILE: str(told_in)}
        messenger = _Messenger(seconds_from(environment, PATIENCE, _DEFAULT_PATIENCE))
        with messenger.listening():
            messenger.process = subprocess.Popen(
                command, env=environment, close_fds=False, preexec_fn=_ignore_signals
            )
            status = messenger.process.wait()
        told = int(told_in.read_bytes() or 0)
    if told == INTERRUPTED:
        return INTERRUPTED
    if messenger.killed:
        return 128 + messenger.asked_by
    return told or (status if status >= 0 else 128 - status)


def _ignore_signals() -> None:
    for number in (*_PATIENT, *_ENDINGS):
        signal.signal(number, signal.SIG_IGN)


class _Messenger:
    """Repeats signals to the trainings every second, as one that is starting may miss the first."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.process: subprocess.Popen | None = None
        self.asked_by: int | None = None
        self.deadline: float | None = None
        self.killed = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Pass on signals in the block, except requests to end that are ignored already (nohup).

        Warnings are always passed on: an enclosing Snakemake ignores them only to survive them.
        """
        heard = [n for n in _ENDINGS if signal.getsignal(n) is not signal.SIG_IGN]
        heard += _PATIENT
        before = {number: signal.signal(number, self._ask) for number in heard}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._remind)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number in _ENDINGS and self.deadline is None:
            self.asked_by, self.deadline = number, time.monotonic() + self.patience
        elif self.asked_by is None:
            self.asked_by = number
        self._remind(number, frame)

    def _remind(self, number: int, frame: FrameType | None) -> None:
        if self.process is not None:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self._kill()
            else:
                own = self.asked_by if self.asked_by in WARNINGS else signal.SIGTERM
                self._send(own, recursive=False)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_REMINDERS)

    def _kill(self) -> None:
        if not self.killed:
            self.killed = True
            with suppress(OSError):  # the terminal was closed
                reason = f"the training has not left within {self.patience:g} s and is killed"
                print(reason, file=sys.stderr)
        self._send(signal.SIGKILL, recursive=True)
        self.process.kill()

    def _send(self, number: int, *, recursive: bool) -> None:
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=recursive):
                with suppress(psutil.Error):
                    child.send_signal(number)
