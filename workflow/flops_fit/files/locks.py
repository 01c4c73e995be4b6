"""Locks on files: they end when the file is closed, or with the process that holds them.

They are advisory locks of the whole file (``flock``), shared by child processes that inherit the
open file. On a network file system that supports them, they also work between nodes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


def lock(path: str | Path, *, shared: bool = False) -> IO[str]:
    """Wait for the lock of a file and return the open file that holds it.

    Parameters
    ----------
    path
        Created where it is missing; its folder has to be there.
    shared
        Share the lock with other shared holders, instead of holding it exclusively.
    """
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - the caller closes or keeps it
    try:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except BaseException:
        file.close()
        raise
    return file


def lock_if_free(path: str | Path, *, inheritable: bool = False) -> IO[str] | None:
    """Lock a file exclusively and return the open file, or None if it is locked already.

    Parameters
    ----------
    path
        Created where it is missing; its folder has to be there.
    inheritable
        Whether child processes that inherit open files hold the lock as well.
    """
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - the caller closes or keeps it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    os.set_inheritable(file.fileno(), inheritable)
    return file


def is_locked(path: str | Path) -> bool:
    """Return whether a process holds the file's exclusive lock; a missing file is not locked."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # missing, or on a file system without locks
        return False
    return False
