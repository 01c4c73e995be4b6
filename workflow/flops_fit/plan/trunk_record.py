"""The record of a trunk, ``trunks/<id>.json``: what was trained of it, and for which experiments.

It is written from a stored copy if it was deleted, as long as no experiment waits for the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.reading import read_json_object
from flops_fit.files.writing import write_json
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    state_folder,
    trunk_file,
    waits_for_trunk,
)


def nothing_to_share(jobs: Sequence[Job], study_folder: str | Path) -> bool:
    """Return whether no two experiments wait for their trunk.

    One alone trains its beginning itself, unless the trunk was interrupted.
    """
    waiting = sum(waits_for_trunk(study_folder, job.id) for job in jobs)
    begun = (state_folder(study_folder, jobs[-1].trunk) / CHECKPOINT).exists()
    return waiting < (1 if begun else 2)


def store_trunk(
    jobs: Sequence[Job], study_folder: str | Path, training: Mapping[str, Any] | None = None
) -> None:
    """Write the record of a trunk with one more training, or as it was stored.

    Parameters
    ----------
    jobs
        All experiments that branch off it, the shortest first.
    training
        What was trained now; None if nothing was.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    trunk = jobs[-1].trunk
    stored = state_folder(study_folder, trunk) / "record.json"
    record = {
        "id": trunk,
        "study": jobs[-1].study,
        "spec": {k: v for k, v in jobs[-1].spec.to_json().items() if k != "D"},
        "branches": [job.id for job in jobs],
        "trainings": _trainings(stored) + ([dict(training)] if training else []),
    }
    write_json(stored, record)
    write_json(trunk_file(study_folder, trunk), record)


def _trainings(stored: Path) -> list[Any]:
    """Return what is known of earlier trainings; information that nothing depends on."""
    try:
        found = read_json_object(stored, ("trainings",))["trainings"]
    except (OSError, UserError):
        return []
    return found if isinstance(found, list) else []
