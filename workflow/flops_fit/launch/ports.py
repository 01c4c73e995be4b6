"""Leases on this node's TCP ports, where the processes of an experiment find each other.

A lease is a lock on a file, as for GPUs, and the port itself, bound as long as the training runs:
other users, and jobs with a TMPDIR of their own, do not see the file. Imports no torch.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import psutil

from flops_fit.errors import UserError
from flops_fit.files.locks import lock, lock_if_free
from flops_fit.launch.leases import GATE, keep, lease_folder, print_warning
from flops_fit.launch.processes import described

# Below the range from which systems draw ports for outgoing connections (32768 and above).
PORTS = range(20_000, 32_000)


def lease_port(folder: Path | None = None, warn: Callable[[str], None] = print_warning) -> int:
    """Claim a TCP port of this node for the rendezvous of one experiment's processes.

    Two experiments never get the same port: the claim is held by this process and by children that
    inherit its open files (``close_fds=False``). Ports that other programs use are passed over,
    with a warning that names who listens there.

    Raises
    ------
    UserError
        If no port is free.
    """
    folder = folder or lease_folder()
    start = os.getpid() % len(PORTS)
    taken = []
    with lock(folder / GATE):
        for port in (*PORTS[start:], *PORTS[:start]):
            file = lock_if_free(folder / f"port-{port}.claim", inheritable=True)
            if file is None:
                continue
            bound = _occupied(port)
            if bound is None:
                file.close()
                taken.append(port)
                continue
            keep(file)
            keep(bound)
            for other in taken:
                if listener := _listener(other):
                    warn(f"port {other} of this node is in use by {listener}; {port} is used")
            return port
    raise UserError(f"no TCP port between {PORTS[0]} and {PORTS[-1]} is free on this node")


def _occupied(port: int) -> socket.socket | None:
    """Bind a port that nobody else has, so that nobody else gets it but the experiment's store.

    The store of torch.distributed asks to share it (SO_REUSEADDR). Linux lets it listen beside a
    socket that allows that and does not listen itself, and refuses the port to all others that
    do not ask. Where a system does not (macOS), the port is given up again at once.
    """
    try:
        bound = _bound(port, shared=False)
    except OSError:
        return None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.set_inheritable(True)
    try:
        with _bound(port, shared=True) as store:
            store.listen()
    except OSError:
        bound.close()
    return bound


def _bound(port: int, *, shared: bool) -> socket.socket:
    """Bind a port on all addresses, of IPv6 as well where there is any."""
    if socket.has_dualstack_ipv6():
        try:
            return _bound_to(socket.AF_INET6, port, shared)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    return _bound_to(socket.AF_INET, port, shared)


def _bound_to(family: socket.AddressFamily, port: int, shared: bool) -> socket.socket:
    made = socket.socket(family)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        made.bind(("", port))
    except BaseException:
        made.close()
        raise
    return made


def _listener(port: int) -> str | None:
    """Describe who listens at a port: None if nobody does, or the system does not say."""
    try:
        found = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.laddr and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
        ]  # fmt: skip
    except psutil.Error:
        return None
    if not found:
        return None
    return described(found[0]) if found[0] else "a process of another user"
