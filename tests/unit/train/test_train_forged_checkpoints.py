"""Checkpoints with a right checksum and an impossible content: not used, and nothing worse."""

from __future__ import annotations

import json
import logging
import math
import shutil
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_training import CASES, STEPS, cut, outcome, train
from flops_fit.plan.job import Job
from flops_fit.records.run_record import RunRecord
from flops_fit.train import curve
from flops_fit.train.generators import restore_random_state
from flops_fit.train.progress import LOG
from forged_checkpoints import at, content_of, forgeries, write_content, write_structure
from hypothesis import event, given
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture
def said(caplog, monkeypatch):
    """The lines of the trainer's log."""
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level(logging.INFO, logger=LOG.name)
    return lambda: [r.getMessage() for r in caplog.records]


class Cut:
    """The checkpoints of a training that was cut, and the record of an undisturbed one.

    The newest is of step 6, two steps after a row of the curve; the previous one of step 5.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.whole = train(job, folder / "whole")
        self.newest, self.previous = cut(job, folder)
        torch.set_flush_denormal(False)  # hypothesis draws such numbers
        self.content, self.earlier = content_of(self.newest), self.previous.read_bytes()

    def __repr__(self) -> str:
        return self.job.id

    def train(self) -> dict:
        try:
            return train(self.job, self.folder)
        finally:
            torch.set_flush_denormal(False)


@pytest.fixture
def cuts(planned_cut, tmp_path, monkeypatch) -> list[Cut]:
    """AdamW, SGD, and one with dropout, buffers and extra state."""
    monkeypatch.setattr(curve, "CURVE_ROWS", 5)
    found = []
    for case in ("plain", "momentum", "everything"):
        changes, names = CASES[case]
        # Noise draws from every generator, also while the data are prepared.
        job, _ = planned_cut({**changes, "dataset.kwargs": {"noise": 0.5}}, **names)
        folder = tmp_path / case
        shutil.copytree(job.data_folder, folder / "data")
        found.append(Cut(replace(job, data_folder=str(folder / "data")), folder))
    return found


# Some fields, by name -----------------------------------------------------------------------


def last_step(content: dict) -> None:
    content["step"] = STEPS


def shorter_generator(content: dict) -> None:
    random = content["processes"][0]["random"]
    random["torch"] = random["torch"][:-1]


def numpy_position(content: dict) -> None:
    content["processes"][0]["random"]["numpy"][2] = 10**6


def sets(key: str, value: Any):
    def change(content: dict) -> None:
        content[key] = value

    return change


def untrained_moments(content: dict) -> None:
    for entries in content["optimizer"]["state"].values():
        entries["step"] = entries["step"] + 1


def other_betas(content: dict) -> None:
    content["optimizer"]["param_groups"][0]["betas"] = (0.5, 0.5)


def without_moments(content: dict) -> None:
    del content["optimizer"]["state"][1]


def nan_weight(content: dict) -> None:
    content["model"]["layers.0.bias"][0] = math.nan


SENTENCES = [
    (sets("step", -5), "step: found -5, expected a whole number from 1 to 16"),
    (sets("step", "x"), "step: found 'x', expected a whole number from 1 to 16"),
    (sets("step", 10**30), f"step: found {10**30}, expected a whole number from 1 to 16"),
    (last_step, "rows: found a list of 6, expected one row for each step of the curve up to 16"),
    (sets("micro_batch", 0), "micro_batch: found 0, expected a whole number of samples from 1 to"),
    (sets("rows", "garbage"), "rows: found 'garbage', expected one row for each step"),
    (sets("training", -1.0), "training: found -1.0, expected a finite number of seconds, not bel"),
    (sets("start", "yesterday"), "start: found 'yesterday', expected a time such as 2026-"),
    (shorter_generator, "processes.0.random.torch: found a tensor of torch.uint8 (5055,), ex"),
    (numpy_position, "processes.0.random.numpy: found a list of 5, expected a state of numpy's"),
    (untrained_moments, "optimizer.state: most steps of a parameter: found 7, expected 6"),
    (without_moments, "optimizer.state.1: found nothing, expected the entries of layers."),
    (other_betas, "optimizer.param_groups.0.betas: found (0.5, 0.5), expected (0.9, 0.95)"),
    (nan_weight, "model.layers.0.bias: found nan or inf, expected numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), SENTENCES)
def test_an_impossible_checkpoint_is_named_with_what_is_wrong(
    planned_cut, tmp_path, said, change, sentence
):
    job, _ = planned_cut()
    checkpoint = Cut(job, tmp_path)
    change(checkpoint.content)
    for path in (checkpoint.newest, checkpoint.previous):
        write_content(path, checkpoint.content)
    record = checkpoint.train()
    lines = [line for line in said() if "is not used" in line]
    assert len(lines) == 2
    for line, path in zip(lines, (checkpoint.newest, checkpoint.previous), strict=True):
        assert f"{job.title}: {path}: is not used: {sentence}" in line
    assert record["world"]["resumed"] is False
    assert outcome(record) == outcome(checkpoint.whole)


def test_a_micro_batch_that_the_model_cannot_take_is_not_used(planned_cut, tmp_path, said):
    """Batch normalisation needs two samples."""
    job, _ = planned_cut(model="Everything")
    checkpoint = Cut(job, tmp_path)
    write_content(checkpoint.newest, checkpoint.content | {"micro_batch": 1})
    assert outcome(checkpoint.train()) == outcome(checkpoint.whole)
    (line,) = [line for line in said() if "is not used" in line]
    assert "micro_batch: passes of so few samples fail (ValueError: Expected more than 1" in line


NO_CHECKPOINTS = [
    "", "null", "[]", "{}", '"x"', "1" * 5000, "[" * 10**5, '{"dict": 3}', '{"dict": [[1]]}',
    '{"tensor": "99"}', '{"tensor": [], "dict": []}', '{"dict": [[{"list": []}, 1]]}',
    '{"dict": []}', '{"dict": [["format", 1]]}', '{"new": [1]}',
]  # fmt: skip


def test_no_other_text_in_its_place_stops_a_training(planned_cut, tmp_path, said):
    job, _ = planned_cut()
    checkpoint = Cut(job, tmp_path)
    checkpoint.previous.unlink()
    for number, text in enumerate(NO_CHECKPOINTS, 1):
        write_structure(checkpoint.newest, text, {"0": torch.zeros(3)})
        assert outcome(checkpoint.train()) == outcome(checkpoint.whole)
        lines = [line for line in said() if f"{checkpoint.newest}: is not used: " in line]
        assert len(lines) == number
        assert "\n" not in lines[-1]


# Any field ------------------------------------------------------------------------------------

# What cannot be told from a true state: another value of the same kind, in these places.
TRUE_ELSEWHERE = {
    "model.*": "a weight or a buffer may have any value",
    "optimizer.state.*": "so may a mean of gradients or of their squares",
    "extra.*": "the state of the user's module is its own affair",
    "processes.0.sums*": "the loss since the last row of the curve may be any number",
    "processes.0.random*": "a generator may be in any of its states",
    "step": "between two rows of the curve, only an optimizer that counts knows the step",
    "micro_batch": "on a machine with less memory it would have been less",
}


def is_true_elsewhere(place: tuple, before: dict, after: dict) -> bool:
    """Whether the checkpoint may be that of another training of the same experiment."""
    name = ".".join(map(str, place))
    if not any(fnmatch(name, pattern) for pattern in TRUE_ELSEWHERE):
        return False
    if place[:3] == ("processes", 0, "random"):
        return is_generator_state(after["processes"][0].get("random"))
    try:
        old, new = at(before, place), at(after, place)
    except (KeyError, IndexError):
        return False  # it is missing
    if place[0] == "step":
        counts = "step" in before["optimizer"]["state"][0]
        return not counts and type(new) is int and 4 < new < 8
    if place[0] == "micro_batch":
        return type(new) is int and 0 < new < old
    return same_form(old, new, name)


def same_form(old: Any, new: Any, name: str) -> bool:
    if name.startswith("extra."):  # a number may become a tensor
        new = new.item() if torch.is_tensor(new) and new.shape == () else new
        return isinstance(new, int | float) and math.isfinite(min(new, 1))
    if isinstance(old, list):
        return isinstance(new, list) and [type(x) for x in old] == [type(x) for x in new]
    if isinstance(old, float):
        return isinstance(new, float)
    if not (torch.is_tensor(old) and torch.is_tensor(new)):
        return False
    if name.endswith("_sq") and not (new >= 0).all():
        return False
    is_weight = name.startswith("model.") and name.rsplit(".")[-1] in ("weight", "bias")
    good = torch.isfinite(new) if is_weight else ~torch.isnan(new)
    return (old.dtype, old.shape) == (new.dtype, new.shape) and bool(good.all())


def is_generator_state(state: Any) -> bool:
    """Whether the generators take it (they are seeded again when the next training begins).

    numpy takes positions beyond the end of its state, and reads there.
    """
    try:
        restore_random_state(state, torch.device("cpu"))
        return 0 <= state["numpy"][2] <= 624
    except Exception:  # whatever it is
        return False


@given(data=st.data())
def test_whatever_one_field_holds_the_loss_is_right(cuts, said, caplog, data):
    """With a checksum that is right. The previous checkpoint is there, or not."""
    checkpoint = data.draw(st.sampled_from(cuts))
    forged = data.draw(forgeries(checkpoint))
    write_content(checkpoint.newest, forged.content)
    checkpoint.previous.unlink(missing_ok=True)
    if data.draw(st.booleans()):
        checkpoint.previous.write_bytes(checkpoint.earlier)
    caplog.clear()
    record = checkpoint.train()
    refused = [line for line in said() if "is not used" in line]
    assert len(refused) <= 1
    assert not any("\n" in s or f"{checkpoint.newest}: is not used: " not in s for s in refused)
    assert record["world"]["resumed"] is (not refused or checkpoint.previous.exists())
    if not refused and is_true_elsewhere(forged.place, checkpoint.content, forged.content):
        event("another true state")
        return
    event("not used" if refused else "used")
    RunRecord.from_json(json.loads(json.dumps(record, allow_nan=False)), checkpoint.job.id)
    assert (record["status"], record["loss"]) == ("completed", checkpoint.whole["loss"])
    if refused:
        assert outcome(record) == outcome(checkpoint.whole)
