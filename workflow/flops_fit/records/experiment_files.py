"""Where an experiment keeps its files, and the locks on it. Imports no torch.

Checkpoints of a training lie in the folder of its stored record until the record is written; final
weights, if kept, lie elsewhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flops_fit.errors import InterruptedAlone
from flops_fit.files.locks import is_locked, lock_if_free

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS_CHECKPOINT = "checkpoint.previous.safetensors"
TRUNK_STATE = "trunk.safetensors"  # where the trunk of an experiment leaves it
TRAINING_LOCK, LAUNCH_LOCK = "lock", "launch.lock"
_SECONDS_BETWEEN_LOOKS = 0.2


def state_folder(study_folder: str | Path, run_id: str) -> Path:
    """Folder for everything that an experiment keeps besides its declared output."""
    return Path(study_folder) / "state" / run_id


def clear_stored_records(study_folder: str | Path, run_ids: Iterable[str]) -> None:
    """Remove the stored records of merged runs, their checkpoints, and half-written files.

    Killed processes leave half-written files behind.
    """
    merged = set(run_ids)
    for run_id in merged:
        clear_checkpoints(study_folder, run_id)
        (state_folder(study_folder, run_id) / "record.json").unlink(missing_ok=True)
    for folder in ("runs", "logs"):  # one listing of each, however many runs there are
        for path in (Path(study_folder) / folder).glob(".*.tmp"):
            if path.name.split(".")[1] in merged:
                path.unlink(missing_ok=True)


def clear_checkpoints(study_folder: str | Path, run_id: str) -> None:
    """Remove an experiment's checkpoints, including half-written ones of killed processes."""
    folder = state_folder(study_folder, run_id)
    whole = [folder / name for name in (CHECKPOINT, PREVIOUS_CHECKPOINT, TRUNK_STATE)]
    for path in (*whole, *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def waits_for_trunk(study_folder: str | Path, run_id: str) -> bool:
    """Return whether a trunk would help an experiment: nothing of it was trained or stored yet."""
    state = state_folder(study_folder, run_id)
    own = [state / name for name in (CHECKPOINT, TRUNK_STATE, "record.json")]
    return not any(path.exists() for path in (run_file(study_folder, run_id), *own))


def trunk_file(study_folder: str | Path, trunk: str) -> Path:
    """Path of the record of a trunk."""
    return Path(study_folder) / "trunks" / f"{trunk}.json"


def weights_file(study_folder: str | Path, run_id: str) -> Path:
    """Where the final weights are kept for the user (``train.keep_checkpoint``)."""
    return Path(study_folder) / "weights" / f"{run_id}.safetensors"


@contextmanager
def held_experiment(
    study_folder: str | Path,
    run_id: str,
    lock: str = TRAINING_LOCK,
    *,
    asked_to_leave: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Wait for a lock of one experiment and hold it, at most until this process ends.

    Parameters
    ----------
    lock
        ``TRAINING_LOCK`` while it trains; ``LAUNCH_LOCK`` from before a trainer starts, since it
        takes a while to get that far, until the ``accelerate launch`` that inherits it has ended.
    asked_to_leave
        Whether to stop waiting.

    Raises
    ------
    InterruptedAlone
        If this process was asked to leave while it waited.
    """
    path = state_folder(study_folder, run_id) / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = False
    while (file := lock_if_free(path, inheritable=lock == LAUNCH_LOCK)) is None:
        if asked_to_leave():
            raise InterruptedAlone(f"{run_id}: stopped while it waited for another process")
        if not waiting:
            print(f"waiting for the process that is already training {run_id}", file=sys.stderr)
            waiting = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    with file:
        yield


def is_held(study_folder: str | Path, run_id: str) -> bool:
    """Return whether a process is training an experiment, or about to.

    It may run on this node, or on any node that shares its file locks.
    """
    folder = state_folder(study_folder, run_id)
    return any(is_locked(folder / lock) for lock in (TRAINING_LOCK, LAUNCH_LOCK))


def run_file(study_folder: str | Path, run_id: str) -> Path:
    """Path of the run record."""
    return Path(study_folder) / "runs" / f"{run_id}.json"


def recorded(study_folder: str | Path) -> set[str]:
    """Return the ids of the experiments that have a file of a run record."""
    try:
        names = os.listdir(Path(study_folder) / "runs")
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name.removesuffix(".json") for name in names if name.endswith(".json")}
