"""What stopped a study last, from the logs of its steps. Imports no torch.

A step that ends well leaves an empty log, so one with an error is that of its last try.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flops_fit.pipeline.status import Outcome, last_lines

_LONGEST_SENTENCE = 5000  # mixed code names every run
_SENTENCE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?(\[process \d+\] )?(?P<said>error: .+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a log says about a failure."""

    said: str  # its sentence, or else its last line
    asks: bool  # whether it is a sentence about a mistake: the same command would say it again
    log: Path


def failure_in(log: str | Path) -> Failure | None:
    """Return the failure that ends a log, or None if the log is empty or missing."""
    text = last_lines(log, longest=_LONGEST_SENTENCE)
    if text is None:
        return None
    lines = text.splitlines()
    sentences = [found["said"] for line in lines if (found := _SENTENCE.match(line))]
    said = sentences[-1] if sentences else lines[-1]
    return Failure(said=said, asks=bool(sentences), log=Path(log))


def last_failure(logs: Iterable[str | Path], later: Iterable[str | Path] = ()) -> Failure | None:
    """Return the failure of the step that ran last; None if it ended well.

    Parameters
    ----------
    logs
        Of steps that never run side by side.
    later
        Files that supersede the failure if one of them is newer.
    """
    times = {log: time for log in logs if (time := _time_of(log))}
    if not times:
        return None
    last = max(times, key=times.__getitem__)
    if any(_time_of(file) > times[last] for file in later):
        return None
    return failure_in(last)


def files_of_experiments(outcomes: Sequence[Outcome], study_folder: str | Path) -> list[Path]:
    """Return the record and the log of every experiment, there or not."""
    folder = Path(study_folder)
    records = [folder / "runs" / f"{outcome.id}.json" for outcome in outcomes]
    return records + [folder / "logs" / f"{outcome.id}.log" for outcome in outcomes]


def _time_of(file: str | Path) -> int:
    """Return when a file was written, in nanoseconds; 0 if there is none."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def follow_each_other(files: Sequence[str | Path]) -> bool:
    """Return whether all files are there, and none is older than the one before."""
    times = [_time_of(file) for file in files]
    return all(times) and times == sorted(times)
