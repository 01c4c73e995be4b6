"""Checkpoints that cannot be used, or cannot be written, stop no training."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cut_training import CASES, cut, outcome, train
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    state_folder,
)
from flops_fit.train import saving
from flops_fit.train.checkpoint import decode, encode, read_checkpoint, write_checkpoint
from safetensors import SafetensorError

pytestmark = pytest.mark.usefixtures("fresh_process")


def flip_bit(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"0"),
    "a bit of the first": lambda path: flip_bit(path, 0.0),
    "a bit of the header": lambda path: flip_bit(path, 0.01),
    "a bit of the tensors": lambda path: flip_bit(path, 0.5),
    "a bit of the last": lambda path: flip_bit(path, 1.0),
    "not ours": lambda path: path.write_bytes(b"hello" * 1000),
}


@pytest.fixture
def said(caplog, monkeypatch):
    """The lines of the trainer's log."""
    monkeypatch.setattr(saving.LOG, "propagate", True)
    caplog.set_level(logging.INFO, logger=saving.LOG.name)
    return lambda: [r.getMessage() for r in caplog.records]


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_instead_of_a_damaged_checkpoint_the_previous_one_is_used(
    planned_cut, tmp_path, said, damage
):
    job, _ = planned_cut()
    whole = train(job, tmp_path / "whole")
    newest, _ = cut(job, tmp_path)
    DAMAGES[damage](newest)
    resumed = train(job, tmp_path)
    lines = [line for line in said() if str(newest) in line]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert sum("goes on after step 5 of 16" in line for line in said()) >= 1
    assert outcome(resumed) == outcome(whole)


def test_without_any_good_checkpoint_it_starts_anew(planned_cut, tmp_path, said):
    job, _ = planned_cut()
    whole = train(job, tmp_path / "whole")
    for path in cut(job, tmp_path):
        flip_bit(path, 0.7)
    anew = train(job, tmp_path)
    assert anew["world"]["resumed"] is False
    assert outcome(anew) == outcome(whole)
    assert sum("is not used: it is damaged" in line for line in said()) == 2


def test_checkpoints_of_another_experiment_or_of_changed_code_are_not_used(
    planned_cut, tmp_path, said
):
    job, _ = planned_cut()
    other, _ = planned_cut({"train.lr": 0.1})
    assert other.id != job.id
    newest, previous = cut(other, tmp_path)
    ours = state_folder(tmp_path, job.id)
    ours.mkdir(parents=True)
    (ours / CHECKPOINT).write_bytes(newest.read_bytes())
    assert train(job, tmp_path)["world"]["resumed"] is False
    assert any(
        f"found {other.id!r}, expected that of this experiment, {job.id!r}" in line
        for line in said()
    )
    previous.unlink()
    (code,) = tmp_path.glob("user_module_*.py")
    code.write_text(code.read_text().replace("nn.Tanh()", "nn.Sigmoid()"))
    assert train(other, tmp_path)["world"]["resumed"] is False
    assert any("the code of model changed since" in s for s in said())


def test_a_state_of_other_shapes_is_not_used(planned_cut, tmp_path, said):
    job, _ = planned_cut()
    newest, previous = cut(job, tmp_path)
    structure, tensors = read_checkpoint(newest)
    stored = decode(structure, lambda keys, name: tensors[name])
    stored["model"]["layers.0.weight"] = torch.zeros(4, 3)
    write_checkpoint(newest.parent, *encode(stored))
    previous.unlink()
    assert train(job, tmp_path)["world"]["resumed"] is False
    assert any(
        "layers.0.weight: found a tensor of torch.float32 (4, 3), expected" in line
        for line in said()
    )


def reject_at_once(module, bad) -> None:
    """The optimizer takes nothing of it."""
    load = torch.optim.SGD.load_state_dict

    def rejecting(self, state):
        if state["state"] and bad():  # accelerate gives it an empty one
            raise KeyError("mine")
        load(self, state)

    module.Rejecting.load_state_dict = rejecting


def reject_afterwards(module, bad) -> None:
    """The optimizer takes all of it first."""
    load = torch.optim.SGD.load_state_dict

    def rejecting(self, state):
        load(self, state)
        if state["state"] and bad():
            raise RuntimeError("on\nsecond thoughts")

    module.Rejecting.load_state_dict = rejecting


def reject_in_the_model(module, bad) -> None:
    """The optimizer has its part when the model gets halfway."""

    def rejecting(self, state):
        self.steps = state["steps"]
        if bad():
            raise ValueError

    module.Everything.set_extra_state = rejecting


REJECTED = {
    reject_at_once: "model or optimizer rejects its saved state (KeyError: 'mine')",
    reject_afterwards: "model or optimizer rejects its saved state (RuntimeError: on second",
    reject_in_the_model: "model or optimizer rejects its saved state (ValueError)",
}


@pytest.mark.parametrize("rejected", [1, 2], ids=["newest", "both"])
@pytest.mark.parametrize("reject", REJECTED)
def test_a_state_that_model_or_optimizer_reject_leaves_no_trace(
    planned_cut, tmp_path, said, reject, rejected
):
    """Dropout, buffers, extra state, momentum: all are as without the checkpoint."""
    job, module = planned_cut(model="Everything", optimizer="rejecting")
    whole = train(job, tmp_path / "whole")
    newest, previous = cut(job, tmp_path)
    looks = iter(range(rejected))
    reject(module, lambda: next(looks, None) is not None)
    again = train(job, tmp_path)
    lines = [line for line in said() if "is not used" in line]
    for line, path in zip(lines, (newest, previous)[:rejected], strict=True):
        assert f"{path}: is not used: {REJECTED[reject]}" in line
        assert "\n" not in line
    assert again["world"]["resumed"] is (rejected == 1)
    assert outcome(again) == outcome(whole)


def test_a_disk_that_is_full_stops_no_training(planned_cut, tmp_path, monkeypatch, said):
    job, _ = planned_cut({"train.checkpoint_minutes": 1e-9})
    whole = train(replace(job, checkpoint_minutes=None), tmp_path / "whole")

    def full(*arguments, **keywords):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("flops_fit.train.checkpoint.save_file", full)
    record = train(job, tmp_path)
    assert outcome(record) == outcome(whole)
    assert sum("No space left on device" in line for line in said()) == 16
    assert list(state_folder(tmp_path, job.id).iterdir()) == []


def test_a_state_that_no_file_holds_is_said_once(planned_cut, tmp_path, said):
    job, module = planned_cut(*CASES["odd"][:1], optimizer="Odd")
    step = module.Odd.step

    def keep_a_set(self, closure=None):
        step(self)
        next(iter(self.state.values()))["kinds"] = {1, 2}

    module.Odd.step = keep_a_set
    record = train(replace(job, checkpoint_minutes=1e-9), tmp_path)
    assert record["status"] == "completed"
    (line,) = [line for line in said() if "no checkpoint can hold" in line]
    assert "optimizer.state.0.kinds is a set, expected tensors" in line
