"""Files that one step of the workflow wrote for another one, read with care.

What is damaged is refused by name and makes room: a plain rerun finds it missing and writes it
again.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError


class DamagedFileError(ValueError):
    """A file holds nothing that can be read; the message says why."""


def other_kind(path: str | Path) -> str | None:
    """Return what a path is if it is no regular file, such as "a folder"; None for one or nothing.

    Reading a pipe waits until somebody writes to it, and gives its content only once.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # missing, or no possible name
        return None
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def make_room(path: str | Path, reason: str, consequence: str = "writes it again") -> UserError:
    """Rename a damaged file to ``<name>.damaged`` and return the error that says so.

    Parameters
    ----------
    reason
        What is wrong with it.
    consequence
        What a rerun does.
    """
    path = Path(path)
    aside = path.with_name(f"{path.name}.damaged")
    with suppress(FileNotFoundError):  # another process was faster
        os.replace(path, aside)
    return UserError(f"{path}: {reason}; it is {aside.name} now, and a rerun {consequence}")


def read_json_object(path: str | Path, expected: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON object of a file.

    Parameters
    ----------
    expected
        Names of fields that it has to have.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    try:
        content = parse_json(path)
    except DamagedFileError as error:
        raise make_room(path, str(error)) from None
    if not isinstance(content, Mapping):
        raise make_room(path, f"found {type(content).__name__}, expected an object")
    missing = [name for name in expected if name not in content]
    if missing:
        raise make_room(path, f"{missing[0]}: is missing")
    return dict(content)


def parse_json(path: str | Path, *, finite: bool = False) -> Any:
    """Return what a JSON file holds, and leave it where it is if that is damaged.

    Parameters
    ----------
    finite
        Refuse NaN and infinity, which Python writes and JSON does not know.

    Raises
    ------
    DamagedFileError
        If it is no JSON file.
    """
    refuse = _refuse_constant if finite else None
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except RecursionError:
        raise DamagedFileError("is no JSON file (nested too deeply)") from None
    except ValueError as error:
        raise DamagedFileError(f"is no JSON file ({error})") from None


def fields_of(path: str | Path, *names: str) -> list[Any]:
    """Return fields of the JSON object of a file, without parsing the others where possible.

    A file that :func:`flops_fit.files.writing.write_json` wrote has each field of its object on a
    line of its own, indented by one space: no text can hold a line break, and what lies deeper is
    indented more. One of ten thousand fields is found in a hundredth of the time of reading all.

    Raises
    ------
    DamagedFileError
        If a field cannot be found like that, and the file is no JSON object that has it.
    """
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    found = []
    for name in names:
        start = f"\n {json.dumps(name)}: "
        place = text.rfind(start)  # of two fields with one name the last one counts
        with suppress(ValueError, RecursionError):
            if place >= 0:
                found.append(json.JSONDecoder().raw_decode(text, place + len(start))[0])
    if len(found) == len(names):
        return found
    content = parse_json(path)
    missing = [n for n in names if not isinstance(content, Mapping) or n not in content]
    if missing:
        raise DamagedFileError(f"{missing[0]}: is missing")
    return [content[name] for name in names]


def names_of_fields(path: str | Path) -> list[str]:
    """Return the names of the fields of the JSON object of a file, as cheaply as `fields_of`.

    Raises
    ------
    DamagedFileError
        If the file is no JSON object.
    """
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    if found := re.findall(r'^ ("(?:[^"\\]|\\.)*"): ', text, re.MULTILINE):
        return list(dict.fromkeys(map(json.loads, found)))
    content = parse_json(path)
    if not isinstance(content, Mapping):
        raise DamagedFileError(f"found {type(content).__name__}, expected an object")
    return list(content)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def read_csv_rows(path: str | Path, columns: Collection[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text by column.

    Parameters
    ----------
    columns
        Those that it has to have.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    try:
        return parse_csv(path, columns)
    except DamagedFileError as error:
        raise make_room(path, str(error)) from None


def parse_csv(path: str | Path, columns: Collection[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text by column, and leave it where it is if it is damaged.

    Parameters
    ----------
    columns
        Those that it has to have.

    Raises
    ------
    DamagedFileError
        If it is no CSV file, or lacks a column or a field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        header, *rows = list(csv.reader(io.StringIO(text), strict=True)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedFileError(f"is no CSV file ({error})") from None
    missing = [name for name in columns if name not in header]
    if missing:
        raise DamagedFileError(f"column {missing[0]}: is missing")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DamagedFileError(
                f"row {number} has {len(row)} fields, expected the {len(header)} columns"
            )
    return [dict(zip(header, row, strict=True)) for row in rows]
