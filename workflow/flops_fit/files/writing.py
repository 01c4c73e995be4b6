"""The one way to write a file: whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: str | Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, and a crash loses neither."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        error.filename = str(path)  # a write that fails does not say where
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with :func:`write_whole`; NaN and infinity are refused."""
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
