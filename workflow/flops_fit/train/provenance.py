"""Where a number comes from: versions, code, data, machine, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import accelerate
import torch

import flops_fit
from flops_fit.records.run_record import Provenance
from flops_fit.train.state import Attempts

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """Return the time in UTC to the second."""
    return datetime.now(UTC).strftime(TIME_FORMAT)


def collect_provenance(folder: str, attempts: Attempts, *, content: str) -> Provenance:
    """Return the ``provenance`` of a run record.

    Parameters
    ----------
    folder
        Folder of the configuration file: the user's code, whose git commit is recorded.
    attempts
        Its code is that at the start: the files may have been edited or deleted since.
    content
        Fingerprint of the data that were read.
    """
    code = attempts.code
    return Provenance(
        python=platform.python_version(),
        torch=str(torch.__version__),
        accelerate=accelerate.__version__,
        flops_fit=flops_fit.__version__,
        git=git_state(folder),
        source=code.source,
        content_fingerprint=content,
        start=attempts.start,
        end=now(),
        trainer="+".join(attempts.all_trainers),
        packages=code.packages,
        imported=list(code.imported),
        alone=code.alone,
        file_source=code.file_source,
    )


def git_state(folder: str | Path) -> dict[str, Any] | None:
    """Return ``commit`` and ``dirty`` of the git repository around ``folder``, if any."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(status)}


def _git(folder: str | Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
