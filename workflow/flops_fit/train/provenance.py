"""Where a number comes from: versions, code, data, machine, time."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import accelerate
import torch

import flops_fit
from flops_fit.records.run_record import Provenance
from flops_fit.study.spec import Spec
from flops_fit.user_code.source_fingerprint import source_fingerprint


def now() -> str:
    """Return the time in UTC to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def collect_provenance(
    spec: Spec, folder: str, start: str, source: Mapping[str, str | None]
) -> Provenance:
    """Return the ``provenance`` of a run record.

    Parameters
    ----------
    spec
        The experiment's spec.
    folder
        Folder of the configuration file: the user's code, whose git commit is recorded.
    start
        When the process started (UTC).
    source
        Source fingerprints of the user's code at that time.
    """
    return Provenance(
        python=platform.python_version(),
        torch=str(torch.__version__),
        accelerate=accelerate.__version__,
        flops_fit=flops_fit.__version__,
        git=git_state(folder),
        source=dict(source),
        content_fingerprint=spec.dataset.content,
        start=start,
        end=now(),
    )


def source_fingerprints(spec: Spec, folder: str | Path) -> dict[str, str | None]:
    """Return the source fingerprint of each piece of user code that a spec names."""
    targets = {
        "model": spec.model.target,
        "dataset": spec.dataset.target,
        "loss": spec.loss.target,
        "optimizer": spec.optimizer.target,
    }
    return {
        key: source_fingerprint(target, folder, key)
        for key, target in targets.items()
        if target != "adamw"
    }


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
