"""Leases on this node's GPUs, which end with the processes that hold them.

Snakemake counts GPUs but does not say which one a job has. A lease is a lock on a node-local file,
named after the GPU's UUID. It has two halves, so that it is held without a gap from before the
training starts until its last process is gone, whichever process is killed first:

- the *claim*, an exclusive lock of the launcher, which ``accelerate launch`` inherits;
- the *use*, a shared lock of every training process.

A GPU is free when both halves are unlocked. Files that nobody holds any more, because their
launcher was killed, are removed by the next launcher. Imports no torch.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flops_fit.errors import UserError
from flops_fit.files.locks import lock, lock_if_free, remove_if_free
from flops_fit.launch.gpus import GpuState, states_of
from flops_fit.launch.markers import mark

USE_FILES = "FLOPS_FIT_GPU_USE"  # environment variable: paths that training processes lock
GATE = "gate"  # the lock of who looks for something to lease
_LEFTOVERS = ("*.claim", "*.use", "status-*")
_SECONDS_BETWEEN_TRIES = 0.5
# How often the driver has to show another process on a GPU: one that has just ended is still shown
# while the driver takes back its memory.
_LOOKS = 4


def print_warning(text: str) -> None:
    """Print a warning to standard error."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def lease_gpus(
    count: int,
    gpus: Sequence[str],
    folder: Path | None = None,
    warn: Callable[[str], None] = print_warning,
) -> list[str]:
    """Claim ``count`` of the visible GPUs, waiting until that many are free.

    GPUs that nothing else is known to run on are preferred: no process that the driver shows, no
    experiment whose lease lies in another folder. One that is in use is taken where no other is
    left, with a warning: an experiment waits for no process but those that hold leases here.
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
    waiting, looks = False, 0
    while True:
        with lock(folder / GATE):  # it keeps launchers from blocking each other halfway
            free = [gpu for gpu in gpus if _is_free(gpu, folder)]
            if len(free) >= count:
                looks += 1
                chosen, in_use = _calmest(count, free)
                if (not in_use or looks >= _LOOKS) and _claimed(chosen, folder):
                    if in_use:
                        warn(_beside_others(in_use))
                    return chosen
        if not waiting and len(free) < count:
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
        keep(lock(path, shared=True))


def keep(held: IO[str] | socket.socket) -> None:
    """Hold a lock or a port until this process ends: they would end when these are closed."""
    _KEPT.append(held)


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


@contextmanager
def status_file() -> Iterator[Path]:
    """Make an empty file for the block, which is a leftover once nobody holds its lock.

    That is held by this process and by children that inherit its open files.
    """
    folder = lease_folder()
    path = folder / f"status-{uuid.uuid4().hex}"
    with lock(folder / GATE):  # `remove_leftovers` must not find it before it is locked
        file = lock_if_free(path, inheritable=True)
    assert file is not None
    with file:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path | None = None) -> None:
    """Remove the files of launchers and trainings that were killed: those that nobody holds."""
    folder = folder or lease_folder()
    with lock(folder / GATE):
        for pattern in _LEFTOVERS:
            for path in folder.glob(pattern):
                remove_if_free(path)


_KEPT: list[IO[str] | socket.socket] = []


def _is_free(gpu: str, folder: Path) -> bool:
    """Whether no process holds either half; none does where there is no file."""
    halves = (folder / f"{gpu}.claim", *use_files([gpu], folder))
    return all(not path.exists() or _locked_for_a_moment(path) for path in halves)


def _locked_for_a_moment(path: Path) -> bool:
    file = lock_if_free(path)
    if file is not None:
        file.close()
    return file is not None


def _calmest(count: int, free: Sequence[str]) -> tuple[list[str], list[GpuState]]:
    """Choose GPUs that nothing else runs on, then those with the least memory in use.

    Returns
    -------
    chosen
        UUIDs, in the order of ``free``.
    in_use
        States of those among them that something else runs on.
    """
    states = states_of(free)
    calmest = sorted(states, key=lambda state: (state.in_use, state.used_mb * state.in_use))
    chosen = {state.uuid for state in calmest[:count]}
    return (
        [gpu for gpu in free if gpu in chosen],
        [state for state in states if state.uuid in chosen and state.in_use],
    )


def _claimed(gpus: Sequence[str], folder: Path) -> bool:
    """Claim all of these GPUs or none."""
    claims: list[IO[str]] = []
    for gpu in gpus:
        claim = lock_if_free(folder / f"{gpu}.claim", inheritable=True)
        # A training may have outlived its launcher.
        if claim is None or not _locked_for_a_moment(*use_files([gpu], folder)):
            for file in filter(None, [*claims, claim]):
                file.close()
            return False
        claims.append(claim)
    _KEPT.extend(claims)
    mark(gpus)
    return True


def _beside_others(states: Sequence[GpuState]) -> str:
    return (
        f"{'; '.join(map(str, states))}; leased all the same, as no other is free: the training "
        "may be slow, or run out of memory. Experiments wait for the leases of one user and one "
        "TMPDIR only: let jobs of one user share a TMPDIR, and give users different GPUs "
        "(CUDA_VISIBLE_DEVICES)"
    )
