"""A training that was cut and went on gives the very bits of one that was not."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from cut_training import CASES, STEPS, outcome, reset, train
from flops_fit.errors import Interrupted
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    state_folder,
    weights_file,
)
from flops_fit.train import curve, saving
from flops_fit.train.agreement import Agreement
from flops_fit.train.checkpoint import (
    decode,
    encode,
    read_checkpoint,
    write_checkpoint,
    write_weights,
)
from flops_fit.train.experiment import train_experiment
from flops_fit.train.generators import random_state, restore_random_state
from safetensors.torch import load_file

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.mark.parametrize("case", sorted(CASES))
def test_cut_after_every_step_it_ends_with_the_same_bits(planned_cut, tmp_path, monkeypatch, case):
    """Rows of the curve lie several steps apart, so that sums are cut as well."""
    monkeypatch.setattr(curve, "CURVE_ROWS", 5)
    changes, names = CASES[case]
    job, _ = planned_cut(changes, **names)
    whole = train(job, tmp_path / "whole")
    assert (whole["status"], whole["world"]["resumed"]) == ("completed", False)
    assert len(whole["curve"]) < whole["steps"]
    folder = tmp_path / "cut"
    for step in range(1, STEPS + 1):
        with pytest.raises(Interrupted, match=f"after step {step} of {STEPS}; a rerun"):
            train(job, folder, looks=0)
    resumed = train(job, folder)
    assert resumed["world"]["resumed"] is True
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("case", ["plain", "everything"])
@pytest.mark.parametrize("looks", [STEPS, STEPS + 1, STEPS + 7])
def test_cut_during_the_evaluation(planned_cut, tmp_path, case, looks):
    changes, names = CASES[case]
    job, _ = planned_cut(changes, **names)
    whole = train(job, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after step {STEPS} of {STEPS}; a rerun"):
        train(job, tmp_path, looks=looks)
    resumed = train(job, tmp_path)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("case", ["plain", "everything"])
@pytest.mark.parametrize("crash", [1, 2, 5, 9])
def test_a_crash_between_checkpoints_loses_the_steps_since_the_last(
    planned_cut, tmp_path, monkeypatch, case, crash
):
    """It saves every third step, and dies within one."""
    changes, names = CASES[case]
    job, module = planned_cut(changes, **names)
    whole = train(job, tmp_path / "whole")

    def reach(self, step, *, save, leave):
        return step % 3 == 0, leave

    monkeypatch.setattr(Agreement, "reach", reach)
    passes = whole["world"]["gradient_accumulation"]
    trials = 1 + (passes > 1)  # of a batch that fits
    module.calls[0], module.crash_at[0] = 0, trials + (crash - 1) * passes + 1
    with pytest.raises(ArithmeticError, match="power cut"):
        train(job, tmp_path)
    module.crash_at[0] = None
    resumed = train(job, tmp_path)
    assert resumed["world"]["resumed"] is (crash > 3)
    assert outcome(resumed) == outcome(whole)


def test_a_training_saves_as_often_as_it_is_told(planned_cut, tmp_path, monkeypatch):
    written = []
    original = saving.write_checkpoint
    monkeypatch.setattr(saving, "write_checkpoint", lambda *a: (written.append(1), original(*a)))
    for minutes, count in ((10, 0), (None, 0), (1e-9, 16)):
        job, _ = planned_cut({"train.checkpoint_minutes": minutes})
        record = train(job, tmp_path / str(minutes))
        assert (record["steps"], len(written)) == (16, count)
        written.clear()


def test_seconds_are_those_of_the_steps_that_count_over_all_attempts(planned_cut, tmp_path):
    job, _ = planned_cut()
    with pytest.raises(Interrupted):
        train(job, tmp_path, looks=9)
    path = state_folder(tmp_path, job.id) / CHECKPOINT
    structure, tensors = read_checkpoint(path)
    stored = decode(structure, lambda keys, name: tensors[name])
    assert stored["step"] == 10
    assert 0 < stored["training"] < 60
    stored |= {"training": 1000.0, "saving": 500.0, "start": "2020-01-01T00:00:00Z"}
    write_checkpoint(path.parent, *encode(stored))
    record = train(job, tmp_path)
    throughput = record["throughput"]
    assert 1000 < throughput["train_seconds"] < 1060
    assert 500 <= throughput["checkpoint_seconds"] < 560
    assert throughput["units_per_second"] == record["D"] / throughput["train_seconds"]
    assert record["provenance"]["start"] == "2020-01-01T00:00:00Z"


def test_a_loss_that_explodes_is_seen_wherever_the_run_was_cut(planned_cut, tmp_path):
    """Adam moves every weight by its rate: the outputs grow, and stay finite."""
    job, _ = planned_cut({"train.lr": 100.0, "train.schedule": "constant"})
    whole = train(job, tmp_path / "whole")
    assert (whole["status"], whole["loss"], whole["steps"]) == ("diverged", None, STEPS)
    losses = [row[2] for row in whole["curve"]]
    assert losses[-1] > losses[0] + 20
    assert losses[-2] > losses[0] + 20
    with pytest.raises(Interrupted):
        train(job, tmp_path, looks=STEPS - 2)
    assert outcome(train(job, tmp_path)) == outcome(whole)


# What is kept -------------------------------------------------------------------------------------


def test_final_weights_are_those_of_the_state_dict(planned_cut, tmp_path):
    job, module = planned_cut(model="Everything")
    weights = {}
    reset()
    record = train_experiment(job, gpus=0, weights=weights).to_json()
    write_weights(weights_file(tmp_path, job.id), weights)
    path = tmp_path / "weights" / f"{job.id}.safetensors"
    weights = load_file(path)
    assert "tied.weight" not in weights  # it is middle.weight
    assert "average" not in weights  # no part of the state dict
    model = module.Everything(3)
    found = model.load_state_dict({**weights, "_extra_state": {"steps": 0}}, strict=False)
    assert found.missing_keys == ["tied.weight"]
    assert torch.equal(model.tied.weight, weights["middle.weight"])
    assert record["status"] == "completed"


def test_the_micro_batch_of_the_checkpoint_is_kept_where_it_still_fits(planned_cut, tmp_path):
    """A machine with more memory would take other sums."""
    job, module = planned_cut(model="Everything")
    whole = train(job, tmp_path / "whole")
    assert whole["world"]["micro_batch"] == 5
    with pytest.raises(Interrupted):
        train(job, tmp_path, looks=5)
    module.most[0] = 10
    resumed = train(job, tmp_path)
    assert outcome(resumed) == outcome(whole)


def test_random_generators_go_on_where_they_were():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.randn(), torch.rand(3).tolist()

    random.gauss(0, 1)  # leaves a second number for the next call
    np.random.randn()
    cpu = torch.device("cpu")
    state = random_state(cpu)
    structure, tensors = encode(state)
    expected = draw()
    draw()
    restore_random_state(decode(structure, lambda keys, name: tensors[name]), cpu)
    assert draw() == expected
