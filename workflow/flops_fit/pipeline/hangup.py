"""How the main process of Snakemake handles signals from a terminal and from SLURM.

A closed terminal or a lost connection sends SIGHUP, which kills Snakemake on the spot and leaves
its folder locked. With this module it ends as on Ctrl-C. It does not import Snakemake.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from types import FrameType

import psutil

_SECONDS_UNTIL_LOGGED = 0.05
_FAREWELL = (
    b"hangup: experiments that are running save and end; the same command goes on from there "
    b"(what is left to say is in .snakemake/log)\n"
)


def leave_warnings_to_the_trainer(environment: MutableMapping[str, str]) -> None:
    """Ignore SLURM's warning before the time limit, if this process is part of a SLURM job.

    SLURM sends it to all processes of an experiment's job step, including the Snakemake in it and
    the shell it starts. Only the trainer should act on it.
    """
    if "SLURM_JOB_ID" in environment and _in_main_thread():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def end_at_hangup() -> None:
    """Make SIGHUP end this process and all that it started, as an interrupt (Ctrl-C) does.

    If the signal is ignored (nohup), it stays ignored.
    """
    if _in_main_thread() and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hang_up)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _hang_up(number: int, frame: FrameType | None) -> None:
    """Silence the terminal, pass the hangup on, and interrupt the main thread, once.

    A shell and the kernel may both send the signal to the whole process group; but a person's
    `kill` reaches only this process, and so does the kernel's signal if it leads its session.

    Raises
    ------
    KeyboardInterrupt
        On this, Snakemake waits for its jobs and releases its lock.
    """
    if _logs(frame):
        # Snakemake's log handler swallows an interrupt that arrives while it writes.
        main = threading.main_thread().ident
        threading.Timer(_SECONDS_UNTIL_LOGGED, signal.pthread_kill, (main, number)).start()
        return
    signal.signal(number, signal.SIG_IGN)
    _silence()
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.send_signal(number)
    raise KeyboardInterrupt


def _logs(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "emit":
            return True
        frame = frame.f_back
    return False


def _silence() -> None:
    """Discard further output, since writing to a closed terminal or to a pipe to it fails.

    Output to files is kept.
    """
    with suppress(OSError):
        os.write(2, _FAREWELL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        with suppress(OSError):
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.dup2(nowhere, number)
    os.close(nowhere)
