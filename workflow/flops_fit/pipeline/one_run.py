"""One run of a study at a time, and what to do where Snakemake refuses another one.

Snakemake locks what a run writes, but a run that ends removes the locks of all runs in the folder,
those of other studies included. So a run also holds a file of its study, as long as it lives: a
killed one holds nothing. Imports no Snakemake: callers pass in its logger.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from flops_fit.errors import UserError
from flops_fit.files.locks import is_locked, lock_if_free

_held: list[IO[str]] = []  # until this process ends


def hold_study(study: str, study_folder: str | Path) -> None:
    """Hold a study until this process ends.

    On a file system without locks nothing is held.

    Raises
    ------
    UserError
        If another run holds it.
    """
    with suppress(OSError):
        file = lock_if_free(_lock_file(study_folder))
        if file is None:
            raise UserError(_running(study))
        _held.append(file)


def explain_refusals(logger: logging.Logger, study: str, study_folder: str | Path) -> None:
    """Have a sentence follow what Snakemake says where it finds a study locked."""
    for handler in [h for h in logger.handlers if type(h).__name__ == _OnRefusal.__name__]:
        logger.removeHandler(handler)  # of an earlier workflow in this process
    logger.addHandler(_OnRefusal(study, study_folder))


def refusal(study: str, study_folder: str | Path) -> str:
    """Return why a study is locked, as far as that is known, and what to do."""
    if is_locked(_lock_file(study_folder)):
        return _running(study)
    return (
        f"{study}: a run of this study was killed, or has just begun elsewhere: if it was killed, "
        "type the same command with --unlock once, and again without"
    )


def _running(study: str) -> str:
    return (
        f"{study}: another snakemake runs this study; wait until it ends, or end it (Ctrl-C), and "
        "start again; --unlock is not needed"
    )


def _lock_file(study_folder: str | Path) -> Path:
    return Path(study_folder) / "run.lock"


class _OnRefusal(logging.Handler):
    """Prints the sentence when the exception of a locked folder is logged."""

    def __init__(self, study: str, study_folder: str | Path) -> None:
        super().__init__()
        self.study, self.folder = study, study_folder

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "exception", None) == "LockException":
            with suppress(OSError):  # the terminal was closed
                print(refusal(self.study, self.folder), file=sys.stderr)
