"""Signals that ask a training to save and leave, and how it says that it did. Imports no torch."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType

# Of EX_TEMPFAIL in sysexits.h: nothing is wrong, a later attempt goes on from what was saved.
INTERRUPTED = 75
# Environment variable: a file of the launcher's, to which a training writes its status.
# `accelerate launch` turns every status but 0 into 1, and prints a page about it.
STATUS_FILE = "FLOPS_FIT_STATUS_FILE"
WARNINGS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """The training has stopped between two steps because it was asked to; the message says so."""


class Warned:
    """Remembers the first signal that asked this process to leave."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def asked(self) -> bool:
        """Whether there was one."""
        return self.signal is not None

    def listen(self) -> Warned:
        """Remember signals from now on, instead of dying of them.

        An interrupt of the terminal (SIGINT) counts unless it is ignored, as it is where a
        launcher passes it on in its own way.
        """
        for number in WARNINGS:
            signal.signal(number, self._remember)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._remember)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number


def status_to_leave_with() -> int:
    """Tell the launcher, if there is one, that the training was interrupted; return the status."""
    path = os.environ.get(STATUS_FILE)
    if not path:
        return INTERRUPTED
    try:
        Path(path).write_text(str(INTERRUPTED), encoding="ascii")
    except OSError:
        return INTERRUPTED
    return 0


def leave_signals_to_the_trainer(worker: int) -> None:
    """Let a data-loading process survive a signal that asks its trainer to save and leave.

    A signal often goes to all processes of a job at once, and a trainer whose loader dies cannot
    save. A termination by the trainer itself still counts.

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
