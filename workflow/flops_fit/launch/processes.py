"""Names of other processes, for a person who wants to know whose they are. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import psutil

_LONGEST_NAME = 15  # Linux cuts the name of a process here (TASK_COMM_LEN)


def described(pid: int, name: str | None = None, *details: str) -> str:
    """Return a process's name with its number, its user (where known), and more details.

    Parameters
    ----------
    pid
        Its number.
    name
        Its name as somebody else knows it, who may count processes of another container: the user
        is told only if the process with this number has this name here as well. None: it is a
        process of this system.
    """
    own_name, user = _name_and_user(pid)
    if name is not None and Path(name).name[:_LONGEST_NAME] != (own_name or "")[:_LONGEST_NAME]:
        user = None
    parts = [f"pid {pid}", *([f"user {user}"] if user else []), *details]
    shown = name or own_name or "a process"
    # A process can give itself any name, also one that would write over a terminal.
    shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return f"{shown} ({', '.join(parts)})"


def _name_and_user(pid: int) -> tuple[str | None, str | None]:
    try:
        process = psutil.Process(pid)
        return process.name(), process.username()
    except psutil.Error:
        return None, None
