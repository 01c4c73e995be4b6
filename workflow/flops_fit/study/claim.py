"""A study's folder under ``results/`` belongs to one configuration file. Imports no torch."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room
from flops_fit.files.writing import write_whole
from flops_fit.study.study import Study


def as_claimed(study: Study, results: str | Path = "results") -> Study:
    """Return the study with its configuration spelled as in the folder that it owns already.

    One file has several spellings: through another mount, in other letter case where the disk does
    not care, with ``..``. The first one stays: the folder of the prepared dataset may derive from
    it, and a new one would plan again.
    """
    folder = Path(results) / study.name
    for file in (folder / "study.json", folder / "planned_study.json"):
        try:
            owner = _owner(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if owner == study.config_file:
            return study
        if isinstance(owner, str) and _is_same_file(owner, study.config_file):
            return Study.from_config(study.config, owner)
    return study


def _is_same_file(one: str, other: str) -> bool:
    """Whether two paths are one file in one folder, where relative paths in it mean the same."""
    try:
        return os.path.samefile(one, other) and os.path.samefile(
            Path(one).parent, Path(other).parent
        )
    except (OSError, ValueError):
        return False


def claim_study(study: Study, results: str | Path = "results") -> Path:
    """Write ``results/<study>/study.json`` if its content changed, and return its path.

    Its modification time is when the study last changed, and makes the plan run again.

    Raises
    ------
    UserError
        If the name already belongs to a configuration at another path, or the folder cannot be
        written.
    """
    path = Path(results) / study.name / "study.json"
    try:
        old = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        old = None
    except UnicodeDecodeError:
        old = ""  # not ours, as reported below
    except OSError as error:
        raise UserError(_inaccessible(path, "read", error.strerror)) from None
    text = study.to_json()
    damaged = old is not None and old != text and _is_damaged(path, old, study)
    if old is not None and old != text and not damaged:
        _check_owner(path, old, study)
    for folder in (path.parent, *(path.parent / name for name in ("runs", "state", "logs"))):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise UserError(_inaccessible(folder, "written", "read-only"))
    if old == text:
        return path
    try:
        if damaged:
            reason = str(make_room(path, "is damaged", "reads the new one"))
            print(f"{reason}; it was rewritten from {study.config_file}", file=sys.stderr)
        write_whole(path, text)
    except OSError as error:
        raise UserError(_inaccessible(path, "written", error.strerror)) from None
    return path


def _inaccessible(path: Path, verb: str, reason: str) -> str:
    return (
        f"{path}: cannot be {verb} ({reason}); expected a results folder that this user "
        "may write to"
    )


def _owner(text: str) -> str | None:
    """Return the configuration that a study.json names, None if it names none."""
    try:
        return json.loads(text)["config_file"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_damaged(path: Path, old: str, study: Study) -> bool:
    """Return whether a study.json was this study's and has been damaged.

    Only the planned study can disprove that, as it names the configuration as well.
    """
    planned_file = path.with_name("planned_study.json")
    try:
        planned = _owner(planned_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        planned = None
    owner = _owner(old)
    if owner is None:
        return planned in (None, study.config_file)
    # A flipped bit in the name: that file does not exist, and the plan belongs to this one.
    return planned == study.config_file != owner and not Path(owner).exists()


def _check_owner(path: Path, old: str, study: Study) -> None:
    owner = _owner(old)
    if owner is None:
        raise UserError(f"{path}: is not a study.json of flops-fit; move it away and run again")
    if owner != study.config_file:
        raise UserError(
            f"{study.config_file}: study: the name {study.name!r} already belongs to {owner}, "
            f"whose results are in {path.parent}; give this study another name (or, if the file "
            f"was moved, edit config_file in {path})"
        )
