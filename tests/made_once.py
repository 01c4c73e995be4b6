"""Makes expensive fixtures once for all workers of a test run (pytest -n)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]
) -> tuple[Path, Any]:
    """Return a folder that all workers share, and what its maker returned.

    Whoever asks first makes it while the others wait. After a failure the next one tries again.

    Parameters
    ----------
    tmp_path_factory
        pytest's fixture.
    name
        Of the folder.
    make
        Called with the folder, which is empty; what it returns goes through JSON.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # every worker has a folder of its own in there
    folder, finished = base / name, base / f"{name}.json"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            finished.write_text(json.dumps(make(folder)))
    return folder, json.loads(finished.read_text())
