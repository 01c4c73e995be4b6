"""Locks on files: they end when the file is closed, or with the process that holds them.

They are advisory locks of the whole file (``flock``), shared by child processes that inherit the
open file. On a network file system that supports them, they also work between nodes.

`remove_if_free` removes a file that nobody holds. Whoever opened it before and locks it afterwards
would hold a file that no other process finds, so a lock on a removed file is taken again.
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
    return _locked(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def lock_if_free(path: str | Path, *, inheritable: bool = False) -> IO[str] | None:
    """Lock a file exclusively and return the open file, or None if it is locked already.

    Parameters
    ----------
    path
        Created where it is missing; its folder has to be there.
    inheritable
        Whether child processes that inherit open files hold the lock as well.
    """
    try:
        file = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    os.set_inheritable(file.fileno(), inheritable)
    return file


def remove_if_free(path: str | Path) -> bool:
    """Remove a file unless a process holds its lock, or share of it; return whether it is gone."""
    file = lock_if_free(path)
    if file is None:
        return False
    with file:  # who opened the file meanwhile is not let in before it is gone
        Path(path).unlink(missing_ok=True)
    return True


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


def _locked(path: str | Path, how: int) -> IO[str]:
    """Open the file at a path, created where it is missing, and lock it."""
    while True:
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - the caller closes or keeps it
        try:
            fcntl.flock(file, how)
            if not _removed(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _removed(path: str | Path, file: IO[str]) -> bool:
    """Whether an open file was removed: it has no name, and its path leads nowhere or elsewhere.

    Either alone might be wrong for good on an unusual file system.
    """
    status = os.fstat(file.fileno())
    if status.st_nlink:
        return False
    try:
        return not os.path.samestat(os.stat(path), status)
    except FileNotFoundError:
        return True
