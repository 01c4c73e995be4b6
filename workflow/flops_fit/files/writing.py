"""The one way to write a file: whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: str | Path, *, earlier: Path | None = None) -> Iterator[Path]:
    """Yield a name beside ``path``; the file that the block writes there takes its place.

    A reader sees the old file or the new one, and a crash loses neither: the new one is on the disk
    before it is renamed. If the block raises, what it wrote is removed and the old file stays. The
    folder is created where it is missing.

    Parameters
    ----------
    earlier
        Where the old file is moved to; None replaces it.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # No name of `tempfile`'s: its files may be read by their owner alone.
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        if earlier is not None and path.exists():
            os.replace(path, earlier)
        os.replace(aside, path)
    except OSError as error:
        # A failed write does not say where. (Without a number, a file name would hide the message.)
        if error.errno is not None and error.filename in (None, aside, str(aside)):
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes, with :func:`whole_file`."""
    with whole_file(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with :func:`write_whole`; NaN and infinity are refused."""
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
