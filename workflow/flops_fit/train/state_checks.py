"""What each field of a checkpoint has to be, checked before any of it is used.

A checksum says that a file is as it was written, not that a training can go on from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch

from flops_fit.train.checkpoint import FORMAT, UnusableCheckpointError
from flops_fit.train.curve import curve_steps
from flops_fit.train.divergence import Divergence
from flops_fit.train.generators import (
    is_cuda_state,
    is_numpy_state,
    is_python_state,
    is_torch_state,
)
from flops_fit.train.provenance import TIME_FORMAT

_LONGEST = 60  # characters of a value in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a checkpoint is compared with: the training that would go on from it."""

    run_id: str
    steps: int
    warmup: int  # steps
    batch: int  # units per step
    samples_per_step: int
    lr_of_step: Callable[[int], float]  # of a step, counted from 0
    device: torch.device
    scaler: Mapping[str, Any] | None  # state of the gradient scaler, where there is one


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table.

    Parameters
    ----------
    path
        Keys from the outermost dictionary, joined by dots; ``*`` stands for every item of a list.
    expected
        In words; ``{t.steps}`` is one of the training's values, ``{s[step]}`` one of the
        checkpoint's.
    fits
        Whether a value is possible, given the training, the checkpoint (of which the fields higher
        up in the table are right) and the indices for which the stars stand.
    """

    path: str
    expected: str
    fits: Callable[..., bool]


def expect(path: str, value: Any, fits: bool, expected: str) -> None:
    """Raise an UnusableCheckpointError that names field, value and expectation, unless it fits."""
    if not fits:
        raise UnusableCheckpointError(f"{path}: found {shown(value)}, expected {expected}")


def shown(value: Any) -> str:
    """Return a value in one short line."""
    if torch.is_tensor(value):
        return f"a tensor of {value.dtype} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dictionary of {len(value)}"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a {type(value).__name__} of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Return whether a value is an integer (no truth value) in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that a finite float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_list(value: Any, length: int) -> bool:
    """Return whether a value is a list of that length."""
    return isinstance(value, list) and len(value) == length


def check_fields(saved: Any, training: Training) -> None:
    """Check what can be said of a checkpoint without its model and optimizer.

    Raises
    ------
    UnusableCheckpointError
        With the first field that cannot be as it is.
    """
    expect("its content", saved, isinstance(saved, dict), "a dictionary")
    for field in FIELDS:
        for path, value, indices in _found(saved, field.path.split(".")):
            if not field.fits(value, training, saved, *indices):
                expect(path, value, False, field.expected.format(t=training, s=saved))


def _found(value: Any, parts: list[str]) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Yield path, value and indices of whatever a path with stars stands for."""
    if not parts:
        yield "", value, ()
        return
    first, *others = parts
    if first == "*":
        items = [(str(i), item, (i,)) for i, item in enumerate(value)]
    else:
        items = [(first, value.get(first, MISSING), ())]
    for name, item, index in items:
        for path, found, indices in _found(item, others):
            yield f"{name}.{path}" if path else name, found, index + indices


# What the table says of a field that has several parts ----------------------------------------


def _has_rows(rows: Any, t: Training, s: Mapping) -> bool:
    return is_list(rows, sum(step <= s["step"] for step in curve_steps(t.steps)))


def _is_row(row: Any, t: Training, s: Mapping, i: int) -> bool:
    if not is_list(row, 4):
        return False
    step, D, mean, lr = row
    expected = curve_steps(t.steps)[i]
    return (
        is_whole(step, expected, expected)
        and is_whole(D, expected * t.batch, expected * t.batch)
        and (mean is None or is_finite(mean))
        and is_finite(lr)
        and math.isclose(lr, t.lr_of_step(expected - 1), rel_tol=1e-9)
    )


def _is_initial(initial: Any, t: Training, s: Mapping) -> bool:
    means = [row[2] for row in s["rows"]]
    if means and means[0] is not None:
        return is_finite(initial) and initial == means[0]
    return is_finite(initial) or (initial is None and not any(mean is not None for mean in means))


def _is_since(since: Any, t: Training, s: Mapping) -> bool:
    if since is not None and not is_whole(since, t.warmup + 1, s["step"]):
        return False
    initial = s["divergence"]["initial"]
    if initial is None:
        return since is None
    rule = Divergence(steps=t.steps, warmup=t.warmup, initial=initial, since=since)
    return rule.follows_from(s["rows"], s["step"])


def _is_time(start: Any, t: Training, s: Mapping) -> bool:
    try:
        datetime.strptime(start, TIME_FORMAT)
    except (TypeError, ValueError):
        return False
    return True


def _is_place(place: Any, t: Training, s: Mapping, i: int) -> bool:
    return is_list(place, 2) and isinstance(place[0], str) and is_whole(place[1], 1)


def _is_scaler(scaler: Any, t: Training, s: Mapping) -> bool:
    if t.scaler is None:
        return scaler is None
    if not isinstance(scaler, dict) or scaler.keys() != t.scaler.keys():
        return False
    changing = {"scale": 0.0, "_growth_tracker": -1.0}  # above that
    return all(
        is_finite(value) and (value > changing[key] if key in changing else value == t.scaler[key])
        for key, value in scaler.items()
    )


def _are_processes(processes: Any, t: Training, s: Mapping) -> bool:
    return isinstance(processes, list) and len(processes) in {n for _, n in s["hardware"]}


def _share(t: Training, s: Mapping) -> int:
    """Samples of a step that one of the saved processes takes at most."""
    return -(-t.samples_per_step // len(s["processes"]))


def _are_sums(sums: Any, t: Training, s: Mapping, i: int) -> bool:
    """Zero after a row. A sum that is not finite means that the run diverges at its next check: an
    earlier checkpoint, or the beginning, leads to the same end."""
    after_row = bool(s["rows"]) and s["rows"][-1][0] == s["step"]
    return is_list(sums, 2) and all(is_finite(x) and (x == 0 or not after_row) for x in sums)


def _is_cuda(value: Any, t: Training, s: Mapping, i: int) -> bool:
    """Absent in a checkpoint of a CPU."""
    if t.device.type != "cuda":
        return True
    if value is MISSING:
        return any(device == "cpu" for device, _ in s["hardware"])
    return is_cuda_state(value, t.device)


def _is_dictionary(value: Any, *_: Any) -> bool:
    return isinstance(value, dict)


def _are_fingerprints(value: Any, *_: Any) -> bool:
    return (
        isinstance(value, dict)
        and _are_texts(list(value))
        and _are_texts([one for one in value.values() if one is not None])
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_named_tensors(value: Any, *_: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in value.items()
    )


def _is_seconds(value: Any, *_: Any) -> bool:
    return is_finite(value) and value >= 0


_SECONDS = "a finite number of seconds, not below 0"

FIELDS = (
    Field("format", str(FORMAT), lambda v, t, s: is_whole(v, FORMAT, FORMAT)),
    Field("id", "that of this experiment, {t.run_id!r}", lambda v, t, s: v == t.run_id),
    Field("source", "fingerprints by name", _are_fingerprints),
    # Version 0.1 did not save its trainer.
    Field("trainers", "a list of fingerprints", lambda v, t, s: v is MISSING or _are_texts(v)),
    # No checkpoint is written before the first step.
    Field("step", "a whole number from 1 to {t.steps}", lambda v, t, s: is_whole(v, 1, t.steps)),
    Field("rows", "one row for each step of the curve up to {s[step]}", _has_rows),
    Field("rows.*", "step, D, mean loss (finite or None) and learning rate as planned", _is_row),
    Field("divergence", "a dictionary", _is_dictionary),
    Field("divergence.initial", "the first mean loss of its rows, a finite number", _is_initial),
    Field("divergence.since", "None, or a step since which its rows are too high", _is_since),
    Field("training", _SECONDS, _is_seconds),
    Field("saving", _SECONDS, _is_seconds),
    Field("start", "a time such as 2026-01-31T12:00:00Z", _is_time),
    Field("hardware", "a list", lambda v, t, s: isinstance(v, list)),
    Field("hardware.*", "the name of a device and a number of processes", _is_place),
    Field("scaler", "the state of this training's gradient scaler (None without one)", _is_scaler),
    Field("processes", "one item for each of the processes that `hardware` counts", _are_processes),
    Field("processes.*", "a dictionary", _is_dictionary),
    Field("processes.*.sums", "two finite numbers, both 0 right after a row", _are_sums),
    Field("processes.*.random", "a dictionary", _is_dictionary),
    Field("processes.*.random.python", "a state of Python's generator",
          lambda v, t, s, i: is_python_state(v)),
    Field("processes.*.random.numpy", "a state of numpy's generator",
          lambda v, t, s, i: is_numpy_state(v)),
    Field("processes.*.random.torch", "a state of torch's generator",
          lambda v, t, s, i: is_torch_state(v)),
    Field("processes.*.random.cuda", "a state of the GPU's generator", _is_cuda),
    Field("micro_batch", "a whole number of samples from 1 to one process's share of a step",
          lambda v, t, s: is_whole(v, 1, _share(t, s))),
    Field("model", "a dictionary of tensors", _is_named_tensors),
    Field("extra", "a dictionary", _is_dictionary),
    Field("optimizer", "a dictionary", _is_dictionary),
)  # fmt: skip
