"""How a script of the workflow finds the library and reports errors."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from flops_fit.errors import UserError, is_trouble_of_the_machine

LIBRARY_FOLDER = Path(__file__).resolve().parents[2]


def share_library(environment: MutableMapping[str, str]) -> None:
    """Let child processes import the library of this checkout, whatever is installed."""
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
        yield
    except UserError as error:
        _end_with(f"error: {error}\n", path)
    except Exception as error:
        if is_trouble_of_the_machine(error):
            _end_with(f"error: {error}; run snakemake again once that is fixed\n", path)
        _end_with(traceback.format_exc(), path)


def _end_with(text: str, path: Path) -> NoReturn:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        print(text, end="", file=sys.stderr)
    sys.exit(1)
