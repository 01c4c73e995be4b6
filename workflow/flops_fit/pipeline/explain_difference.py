"""The lines of `flops-fit explain` for two experiments: what differs between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flops_fit.pipeline.explain import Explained, Place
from flops_fit.pipeline.explain_text import (
    circumstances,
    columns,
    flat,
    remarks_on_spec,
    shown,
    title,
)

_ABSENT = object()
# Two trainings always differ in these, and no number follows from them: they come last.
_WHEN_AND_WHERE = ("start", "end", "hosts")
_OUTCOME = (
    "status", "loss", "loss_std_err", "D", "steps", "C", "C_6nd", "n_params",
    "n_params_non_embedding",
)  # fmt: skip


def lines_of_two(first: Explained, second: Explained) -> list[str]:
    """Return what differs between two experiments, for reading on a terminal.

    Equal fields are counted. Each experiment is taken as it lies in its first study. One id that
    lies in two studies was trained twice, perhaps: those trainings are compared.
    """
    if _same_place(first, second):
        second = replace(second, places=second.places[1:] + second.places[:1])
    both = (first, second)
    names = _names(first, second)
    states = [f"{one.place.study}: {one.place.state}" for one in both]
    lines = columns([(n, title(o), s) for n, o, s in zip(names, both, states, strict=True)])
    lines.append("")
    if first.id == second.id:
        lines.append(f"both are {first.id}: nothing in the spec differs")
        if _same_place(first, second):
            return lines
    else:
        lines += _group("what the id depends on", names, *map(_spec, both), of=" of the spec")
    lines += [f"  {remark}" for one in both for remark in remarks_on_spec(one)]
    unrecorded = dict.fromkeys(o.id for o in both if o.place.record is None)
    if unrecorded:
        ids = f"{' and '.join(unrecorded)} {'has' if len(unrecorded) == 1 else 'have'}"
        return [*lines, "", f"{ids} no usable record, so nothing more can be compared"]
    trained = [
        {name: value for name, value in circumstances(one.place) if value is not None}
        for one in both
    ]
    lines += ["", *_group("what it was trained with", names, *trained)]
    outcomes = [_outcome(one.place) for one in both]
    return [*lines, "", *_group("what came out", names, *outcomes, compared=True)]


def _same_place(first: Explained, second: Explained) -> bool:
    return first.id == second.id and first.place.files == second.place.files


def _names(first: Explained, second: Explained) -> tuple[str, str]:
    """Return what tells the two apart."""
    if first.id != second.id:
        return first.id, second.id
    if first.place.study != second.place.study:
        return first.place.study, second.place.study
    return "first", "second"


def _spec(explained: Explained) -> dict[str, Any]:
    return dict(flat(explained.spec or {}))


def _outcome(place: Place) -> dict[str, Any]:
    return {name: getattr(place.record, name) for name in _OUTCOME}


def _group(
    head: str,
    names: tuple[str, str],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    *,
    of: str = "",
    compared: bool = False,
) -> list[str]:
    """Return the fields that differ, one a line, and how many do not.

    Parameters
    ----------
    of
        What the fields belong to, for the sentence that counts.
    compared
        Whether numbers are rounded, and a last column says by how much they differ.
    """
    rows: list[tuple[str, ...]] = []
    equal = 0
    for name in sorted({**first, **second}, key=lambda name: name in _WHEN_AND_WHERE):
        one, other = (fields.get(name, _ABSENT) for fields in (first, second))
        if _spelled(one) == _spelled(other):
            equal += 1
        elif {} not in (one, other):  # the other's entries stand for themselves
            row = (name, *(_cell(value, rounded=compared) for value in (one, other)))
            rows.append((*row, _difference(name, one, other)) if compared else row)
    if rows:
        rows.insert(0, ("", *names, "difference") if compared else ("", *names))
    count = f"{equal} {'other ' if rows else ''}field{'' if equal == 1 else 's'}{of}"
    return [
        head,
        *(f"  {line}" for line in columns(rows)),
        f"  {count} {'is' if equal == 1 else 'are'} equal",
    ]


def _spelled(value: Any) -> str:
    """Return what tells values apart as an id does: 1, 1.0, true and "1" are four."""
    return "" if value is _ABSENT else json.dumps(value, sort_keys=True)


def _cell(value: Any, *, rounded: bool = False) -> str:
    if value is _ABSENT:
        return "-"
    return f"{value:.6g}" if rounded and isinstance(value, float) else shown(value)


def _difference(name: str, first: Any, second: Any) -> str:
    """Return by how much two numbers differ: a loss by a difference, a count by a factor."""
    if name == "loss_std_err" or not all(isinstance(one, int | float) for one in (first, second)):
        return ""
    if name == "loss":
        return f"{second - first:+.4g}"
    return f"x {second / first:.4g}" if first else ""
