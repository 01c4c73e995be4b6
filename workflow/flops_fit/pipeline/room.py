"""Whether the disk has room for a run to start. Imports no torch."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from flops_fit.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ONE_BLOCK = bytes(4096)


def check_room(*folders: str | Path) -> None:
    """Raise a UserError if not even one block can be written where a run writes.

    Snakemake itself would end in a traceback, as it writes its locks before anything else.

    Parameters
    ----------
    folders
        Those that do not exist yet count as the nearest one above that does.
    """
    for folder in map(Path, folders):
        there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        probe = there / f".room.{os.getpid()}.tmp"
        try:
            with probe.open("wb") as file:
                file.write(_ONE_BLOCK)
        except OSError as error:
            if error.errno in _FULL:
                # Snakemake's log may lie on the same disk, and Python would report that at length.
                logging.raiseExceptions = False
                raise UserError(
                    f"{folder}: cannot be written ({error.strerror}); free some space and run "
                    "snakemake again"
                ) from None
        finally:
            if probe.exists():
                probe.unlink()
