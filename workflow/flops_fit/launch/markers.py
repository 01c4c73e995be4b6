"""Marks on GPUs that other users see, and jobs with a temporary folder of their own. Linux only.

A launcher marks the GPUs that it leases, as the driver does not show a training before it computes.
A mark is an abstract socket, named after the GPU, the user and the process: the kernel lists it to
all who share the network, it needs no folder, and it ends with the last process that inherited it.
Unlike a lease it excludes nobody, since any user can set one. Imports no torch.
"""

from __future__ import annotations

import os
import pwd
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PREFIX = "flops-fit"
_SOCKETS = Path("/proc/net/unix")
_KEPT: list[socket.socket] = []


def mark(gpus: Sequence[str]) -> None:
    """Mark GPUs until this process and the children that inherit its open files have ended.

    Where the system has no such sockets, or forbids them, nothing happens.
    """
    for gpu in gpus:
        made = socket.socket(socket.AF_UNIX)
        made.set_inheritable(True)
        with suppress(OSError):
            name = f"{_PREFIX}/{gpu}/{os.getuid()}/{os.getpid()}/{secrets.token_hex(4)}"
            made.bind(f"\0{name}")
        _KEPT.append(made)


def marks() -> dict[str, list[str]]:
    """Return the launchers that have marked each GPU, described for a person."""
    found: dict[str, list[str]] = {}
    try:
        text = _SOCKETS.read_text(errors="replace")
    except OSError:
        return {}
    for line in text.splitlines():
        name = line.rpartition(" ")[2]
        prefix, *rest = name.split("/")
        if prefix == f"@{_PREFIX}" and len(rest) == 4:
            gpu, user, pid, _ = rest
            if not (user.isdigit() and pid.isdigit()):  # any program can choose such a name
                continue
            who = f"an experiment of flops-fit (pid {pid}, user {_name_of(user)})"
            found.setdefault(gpu, []).append(who)
    return found


def _name_of(user: str) -> str:
    try:
        return pwd.getpwuid(int(user)).pw_name
    except (KeyError, OverflowError):
        return user
