"""Where one experiment keeps what, and the locks that say who works on it. Imports no torch.

Checkpoints of a training lie beside its stored record, until that is written; final weights that
are kept lie elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flops_fit.errors import InterruptedAlone
from flops_fit.files.locks import is_locked, lock_if_free

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS_CHECKPOINT = "checkpoint.previous.safetensors"
TRAINING_LOCK, LAUNCH_LOCK = "lock", "launch.lock"
_SECONDS_BETWEEN_LOOKS = 0.2


def state_folder(study_folder: str | Path, run_id: str) -> Path:
    """Folder for all that an experiment keeps beside its declared output."""
    return Path(study_folder) / "state" / run_id


def clear_stored_records(study_folder: str | Path, run_ids: Iterable[str]) -> None:
    """Forget the stored records of runs that have been merged, and what else is left of them.

    That is checkpoints, and what killed processes left half written.
    """
    merged = set(run_ids)
    for run_id in merged:
        clear_checkpoints(study_folder, run_id)
        (state_folder(study_folder, run_id) / "record.json").unlink(missing_ok=True)
    for folder in ("runs", "logs"):  # one look at each, however many runs there are
        for path in (Path(study_folder) / folder).glob(".*.tmp"):
            if path.name.split(".")[1] in merged:
                path.unlink(missing_ok=True)


def clear_checkpoints(study_folder: str | Path, run_id: str) -> None:
    """Remove an experiment's checkpoints, and what killed processes left of one half written."""
    folder = state_folder(study_folder, run_id)
    for path in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT, *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def weights_file(study_folder: str | Path, run_id: str) -> Path:
    """Where the final weights are kept for their user (``train.keep_checkpoint``)."""
    return Path(study_folder) / "weights" / f"{run_id}.safetensors"


@contextmanager
def held_experiment(
    study_folder: str | Path,
    run_id: str,
    lock: str = TRAINING_LOCK,
    *,
    asked_to_leave: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold a lock of one experiment, waiting for it; it ends with the process, however that ends.

    Parameters
    ----------
    lock
        ``TRAINING_LOCK`` while it trains; ``LAUNCH_LOCK`` from before a trainer starts until the
        ``accelerate launch`` that inherits it has ended: a trainer takes a while to get so far.
    asked_to_leave
        Whether it is no longer to be waited for.

    Raises
    ------
    InterruptedAlone
        If it was asked to leave while it waited.
    """
    path = state_folder(study_folder, run_id) / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = False
    while (file := lock_if_free(path, inheritable=lock == LAUNCH_LOCK)) is None:
        if asked_to_leave():
            raise InterruptedAlone(f"{run_id}: stopped while it waited for another process")
        if not waiting:
            print(f"waiting for the process that trains {run_id} already", file=sys.stderr)
            waiting = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    with file:
        yield


def is_held(study_folder: str | Path, run_id: str) -> bool:
    """Say whether a process trains an experiment at this moment, or is about to.

    On this node, or on any that shares its file locks.
    """
    folder = state_folder(study_folder, run_id)
    return any(is_locked(folder / lock) for lock in (TRAINING_LOCK, LAUNCH_LOCK))


def run_file(study_folder: str | Path, run_id: str) -> Path:
    """The run record that the file contract names."""
    return Path(study_folder) / "runs" / f"{run_id}.json"
