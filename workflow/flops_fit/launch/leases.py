"""Leases on this node's GPUs and ports, which end with the processes that hold them.

Snakemake counts GPUs but does not say which one a job has. A lease is a lock on a node-local file,
named after the GPU's UUID. It has two halves, so that it is held without a gap from before the
training starts until its last process is gone, whichever process is killed first:

- the *claim*, an exclusive lock of the launcher, which ``accelerate launch`` inherits;
- the *use*, a shared lock of every training process.

A GPU is free when both halves are unlocked. Imports no torch.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from flops_fit.errors import UserError
from flops_fit.files.locks import lock, lock_if_free

USE_FILES = "FLOPS_FIT_GPU_USE"  # environment variable: paths that training processes lock
NO_GPU = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES; the last one is SLURM's
_SECONDS_BETWEEN_TRIES = 0.5
# Below the range from which systems draw ports for outgoing connections (32768 and above).
_PORTS = range(20_000, 32_000)


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the UUIDs of the GPUs that this process may use, in order.

    All GPUs of the node, or those that ``CUDA_VISIBLE_DEVICES`` names (by index in PCI order, or by
    UUID), as a batch system or a user has set it. None in a SLURM job without that variable: SLURM
    sets it when it allocates GPUs, and the node's other GPUs belong to other jobs.

    Raises
    ------
    UserError
        If the variable names a GPU that the node does not have, or one twice.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None and named.strip() in NO_GPU:
        return []
    if named is None and "SLURM_JOB_ID" in environment:
        return []
    present = _gpus_of_node()
    if named is None:
        return present
    chosen = []
    for name in (part.strip() for part in named.split(",")):
        if name.startswith("MIG-"):  # an instance is leased by its own name
            matches = [name]
        elif name.isdigit():
            matches = present[int(name) : int(name) + 1]
        else:
            matches = [uuid for uuid in present if name and uuid.startswith(name)]
        if len(matches) != 1 or matches[0] in chosen:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES: found {name!r} in {named!r}, expected indices or UUIDs of "
                f"the {len(present)} GPUs of this node, each once"
            )
        chosen += matches
    return chosen


def lease_gpus(count: int, gpus: Sequence[str], folder: Path | None = None) -> list[str]:
    """Claim ``count`` of the visible GPUs, waiting until that many are free.

    The claims are held by this process and by children that inherit its open files
    (``close_fds=False``).

    Returns
    -------
    list of str
        UUIDs.

    Raises
    ------
    UserError
        If ``count`` exceeds the number of visible GPUs.
    """
    if count > len(gpus):
        raise UserError(
            f"train.processes: {count} GPUs were asked for, but {len(gpus)} are visible; lower "
            "train.processes, or make more of them visible (CUDA_VISIBLE_DEVICES)"
        )
    folder = folder or lease_folder()
    waiting = False
    while True:
        claims = _try_to_claim(count, gpus, folder)
        if claims is not None:
            _KEPT.extend(claims.values())
            return list(claims)
        if not waiting:
            print(f"waiting for {count} of {len(gpus)} GPUs to become free", file=sys.stderr)
            waiting = True
        time.sleep(_SECONDS_BETWEEN_TRIES)


def use_files(gpus: Sequence[str], folder: Path | None = None) -> list[Path]:
    """Return the files that the training processes on ``gpus`` lock."""
    folder = folder or lease_folder()
    return [folder / f"{gpu}.use" for gpu in gpus]


def hold_use(environment: Mapping[str, str]) -> None:
    """Hold the shared half of the leases named by the launcher until this process ends."""
    for path in filter(None, environment.get(USE_FILES, "").split(os.pathsep)):
        _KEPT.append(lock(path, shared=True))


def lease_port(folder: Path | None = None) -> int:
    """Claim a TCP port of this node for the rendezvous of one experiment's processes.

    Two experiments never get the same port: the claim is a lock, held by this process and by
    children that inherit its open files. No other program uses the port at the time of the claim.
    """
    folder = folder or lease_folder()
    start = os.getpid() % len(_PORTS)
    for port in (*_PORTS[start:], *_PORTS[:start]):
        file = lock_if_free(folder / f"port-{port}.claim", inheritable=True)
        if file is None:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                file.close()
                continue
        _KEPT.append(file)
        return port
    raise UserError(f"no TCP port between {_PORTS[0]} and {_PORTS[-1]} is free on this node")


def lease_folder() -> Path:
    """Return this user's folder for locks, local to the node."""
    folder = Path(tempfile.gettempdir()) / f"flops-fit-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be used for locks ({error.strerror}); expected a node-local folder "
            "that this user may write to (TMPDIR chooses another one)"
        ) from None
    if owner != os.getuid():
        raise UserError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    return folder


_KEPT: list[IO[str]] = []  # a lock ends when its file is closed


def _try_to_claim(count: int, gpus: Sequence[str], folder: Path) -> dict[str, IO[str]] | None:
    """Claim ``count`` GPUs or none; the gate keeps launchers from blocking each other halfway."""
    claims: dict[str, IO[str]] = {}
    with lock(folder / "gate"):
        for gpu in gpus:
            claim = lock_if_free(folder / f"{gpu}.claim", inheritable=True)
            if claim is None:
                continue
            use = lock_if_free(folder / f"{gpu}.use")
            if use is None:  # a training outlived its launcher
                claim.close()
                continue
            use.close()
            claims[gpu] = claim
            if len(claims) == count:
                return claims
        for file in claims.values():
            file.close()
    return None


def _gpus_of_node() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs that this process can see, in PCI order."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return []
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if line.startswith("GPU-")] if done.returncode == 0 else []
