"""How a script of the workflow finds the library, and how it ends on a mistake or a defect."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from flops_fit.errors import UserError

LIBRARY_FOLDER = Path(__file__).resolve().parent.parent


def share_library(environment: MutableMapping[str, str]) -> None:
    """Let child processes import the library of this very checkout, whatever is installed."""
    others = environment.get("PYTHONPATH", "").split(os.pathsep)
    ours = str(LIBRARY_FOLDER)
    kept = [path for path in others if path and path != ours]
    environment["PYTHONPATH"] = os.pathsep.join([ours, *kept])


@contextmanager
def reported(log: str | Path) -> Iterator[None]:
    """Write the error of the block to ``log`` and leave with exit status 1.

    A log without an error is emptied, so that an old one does not mislead.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
    try:
        yield
    except UserError as error:
        path.write_text(f"error: {error}\n", encoding="utf-8")
        sys.exit(1)
    except Exception:
        path.write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(1)
