"""Which runs of a table have finished: the states that people and trackers write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError

COMPLETED, DIVERGED = "completed", "diverged"

_FINISHED = frozenset(
    (
        "",
        COMPLETED,
        "complete",
        "finished",
        "done",
        "success",
        "succeeded",
        "ok",
        "true",
        "1",
        "yes",
    )
)
UNFINISHED = frozenset(
    (
        "crashed", "failed", "killed", "running",  # wandb's, beside finished
        "preempting", "preempted", "pending", "queued", "canceled", "cancelled", "stopped",
        "aborted", "interrupted", "timeout", "error", "unfinished", "incomplete",
    )
)  # fmt: skip
"""States of runs that did not reach their end: their loss is not that of N and D."""
_FALSE = ("false", "0", "no")


def holds_states(cells: Sequence[Any]) -> bool:
    """Say whether a column holds any word for a run that has finished or has not."""
    words = {str(cell).strip().lower() for cell in cells if cell is not None}
    return bool(words & (_FINISHED | UNFINISHED | {DIVERGED}))


def read_states(cells: Sequence[Any], path: Path) -> list[str]:
    """Return `completed`, `diverged` or one of `UNFINISHED` for each cell; empty is completed.

    A column of true and false says whether a run is done.

    Raises
    ------
    UserError
        If a cell holds another word, or no run has finished.
    """
    states = []
    for i, cell in enumerate(cells):
        word = "" if cell is None else str(cell).strip().lower()
        if word in _FINISHED:
            word = COMPLETED
        elif word in _FALSE:
            word = "unfinished"
        elif word != DIVERGED and word not in UNFINISHED:
            raise UserError(
                f"{path}: status of row {i + 1} is {cell!r:.80}, expected {COMPLETED}, {DIVERGED}, "
                "or a tracker's word such as finished, crashed, failed, killed, running"
            )
        states.append(word)
    if states and all(state in UNFINISHED for state in states):
        counts = ", ".join(f"{n} {state}" for state, n in Counter(states).most_common())
        raise UserError(f"{path}: no run of the table has finished ({counts})")
    return states
