"""A training that was cut and went on gives the very bits of one that was not."""

from __future__ import annotations

import importlib
import logging
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from flops_fit.errors import Interrupted, UserError
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan, plan_jobs
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    state_folder,
    weights_file,
)
from flops_fit.study.study import Study
from flops_fit.train import curve, saving
from flops_fit.train.agreement import Agreement
from flops_fit.train.checkpoint import write_weights
from flops_fit.train.experiment import train_experiment
from flops_fit.train.generators import random_state, restore_random_state
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare
from hand_computed import changed
from safetensors import SafetensorError
from safetensors.torch import load_file

MODULE = """
import random

import numpy as np
import torch
from torch import nn

crash_at = [None]
calls = [0]
most = [5]  # samples that fit into memory


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


class Everything(nn.Module):
    '''Dropout, batch normalisation, tied weights, a buffer outside of the state dict, extra state,
    and a batch that must be cut in two.'''

    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.middle = nn.Linear(width, width)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.middle.weight
        self.last = nn.Linear(width, 1)
        self.register_buffer("average", torch.zeros(width), persistent=False)
        self.steps = 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]

    def forward(self, x):
        if len(x) > most[0] and self.training and x.device.type != "meta":
            raise torch.OutOfMemoryError("CUDA out of memory (in a test)")
        y = self.norm(self.first(x)).tanh()
        if self.training:
            self.steps += 1
            with torch.no_grad():
                self.average.mul_(0.9).add_(0.1 * y.mean(dim=0))
        y = nn.functional.dropout(self.tied(self.middle(y) + self.average), 0.3, self.training)
        return self.last(y).squeeze(-1) / (1 + 0.01 * (self.steps % 7))


class Data(torch.utils.data.Dataset):
    def __init__(self, split, folder, noise=0.0):
        rng = np.random.default_rng({"train": 0, "validation": 1}[split])
        length = {"train": 50, "validation": 40}[split]
        self.inputs = torch.tensor(rng.normal(size=(length, 3)), dtype=torch.float32)
        self.targets = self.inputs.prod(dim=1)
        self.noise = noise

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        x = self.inputs[index]
        if self.noise:  # an augmentation that draws from all generators
            x = x * (1 + self.noise * (random.random() + np.random.rand() + torch.rand(())))
        return x, self.targets[index]


def mean_square(outputs, targets):
    if torch.is_grad_enabled() and outputs.device.type != "meta":
        calls[0] += 1
        if calls[0] == crash_at[0]:
            raise ArithmeticError("power cut")
    return (outputs - targets).square().mean()


def masked_square(outputs, targets):
    mean_square(outputs, targets)
    mask = targets > 0
    return ((outputs - targets).square() * mask).sum(), mask.sum()


def momentum(model, lr, weight_decay):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


class Odd(torch.optim.Optimizer):
    '''Keeps nested state of types that are not the parameters', and one value outside of it.'''

    def __init__(self, model, lr, weight_decay):
        super().__init__(model.parameters(), {"lr": lr, "calls": 0, "names": ("a", None)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["calls"] += 1
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["sum"] = torch.zeros_like(p, dtype=torch.float64)
                    state["history"] = {"lengths": [], 3: torch.zeros(2, dtype=torch.int64)}
                state["sum"].mul_(0.9).add_(p.grad.double() / 3)
                state["history"]["lengths"].append(float(p.grad.norm()))
                state["history"]["lengths"][:] = state["history"]["lengths"][-2:]
                state["history"][3] += 1
                scale = sum(state["history"]["lengths"]) / int(state["history"][3][0])
                p.sub_((group["lr"] * state["sum"] / (1 + scale)).float())
"""

STUDY = {
    "study": "cut",
    "model": {"size_param": "width", "sizes": [3, 4, 5]},
    "dataset": {},
    "plan": {"budgets": [1e6], "min_steps": 1, "tokens_per_param": [1, 1e6], "flops": "6ND"},
    "train": {"batch": 10, "lr": 0.05, "warmup_fraction": 0.3, "eval_units": 40},
}  # fmt: skip
STEPS = 16


def reset() -> None:
    """What a process of its own would start with, but for random states that are not the seed's."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    torch.set_default_dtype(torch.float32)
    torch.set_flush_denormal(False)
    torch.manual_seed(random.randrange(2**31))


@pytest.fixture(autouse=True)
def fresh_process():
    reset()
    with torch.random.fork_rng():
        yield
    reset()


@pytest.fixture
def planned(tmp_path, user_module):
    """Return a function that plans a study and returns one job and the module of the user."""
    name = user_module(MODULE)

    def plan(changes: dict | None = None, **names: str):
        paths = {
            "model.target": f"{name}:{names.get('model', 'Model')}",
            "dataset.target": f"{name}:{names.get('dataset', 'Data')}",
            "loss": f"{name}:{names.get('loss', 'mean_square')}",
        }
        if "optimizer" in names:
            paths["train.optimizer"] = f"{name}:{names['optimizer']}"
        config = changed(STUDY, {**paths, **(changes or {})})
        study = Study.from_config(config, tmp_path / "cut.yaml")
        data_folder = tmp_path / "data"
        prepare(study, data_folder / "meta.json")
        meta = DatasetMeta.load(data_folder / "meta.json")
        made = make_plan(study, measure_sizes(study, data_folder), meta)
        jobs = plan_jobs(made, study, data_folder=str(data_folder), search_folder=str(tmp_path))
        job = jobs[made.experiments[0].id]
        job = replace(job, spec=replace(job.spec, D=STEPS * job.spec.batch))
        return job, importlib.import_module(name)

    return plan


class Asked(Warned):
    """Is asked to leave when somebody looks for the n-th time: after every step, and every chunk
    of the evaluation."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def asked(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def train(job: Job, folder: Path, looks: int | None = None) -> dict:
    reset()
    asked = None if looks is None else Asked(looks)
    return train_experiment(job, gpus=0, study_folder=folder, warned=asked)


def outcome(record: dict) -> dict:
    """Everything but timings, provenance, and that it was resumed."""
    kept = {k: v for k, v in record.items() if k not in ("throughput", "provenance")}
    return {**kept, "world": {**record["world"], "resumed": None}}


CASES = {
    "plain": ({}, {}),
    "masked": ({}, {"loss": "masked_square"}),
    "everything": ({"dataset.kwargs": {"noise": 0.5}},
                   {"model": "Everything", "loss": "masked_square"}),
    "momentum": ({"train.lr_scaling.apply": "all"}, {"optimizer": "momentum"}),
    "odd": ({"train.lr_scaling.apply": "all"}, {"optimizer": "Odd", "model": "Everything"}),
    "float64": ({"train.precision": "float64"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_cut_after_every_step_it_ends_with_the_same_bits(planned, tmp_path, monkeypatch, case):
    """Rows of the curve lie several steps apart, so that sums are cut as well."""
    monkeypatch.setattr(curve, "CURVE_ROWS", 5)
    changes, names = CASES[case]
    job, _ = planned(changes, **names)
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
def test_cut_during_the_evaluation(planned, tmp_path, case, looks):
    changes, names = CASES[case]
    job, _ = planned(changes, **names)
    whole = train(job, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after step {STEPS} of {STEPS}; a rerun"):
        train(job, tmp_path, looks=looks)
    resumed = train(job, tmp_path)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("case", ["plain", "everything"])
@pytest.mark.parametrize("crash", [1, 2, 5, 9])
def test_a_crash_between_checkpoints_loses_the_steps_since_the_last(
    planned, tmp_path, monkeypatch, case, crash
):
    """It saves every third step, and dies within one."""
    changes, names = CASES[case]
    job, module = planned(changes, **names)
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


def test_a_training_saves_as_often_as_it_is_told(planned, tmp_path, monkeypatch):
    written = []
    original = saving.write_checkpoint
    monkeypatch.setattr(saving, "write_checkpoint", lambda *a: (written.append(1), original(*a)))
    for minutes, count in ((10, 0), (None, 0), (1e-9, 16)):
        job, _ = planned({"train.checkpoint_minutes": minutes})
        record = train(job, tmp_path / str(minutes))
        assert (record["steps"], len(written)) == (16, count)
        written.clear()


def test_seconds_are_those_of_the_steps_that_count_over_all_attempts(planned, tmp_path):
    job, _ = planned()
    with pytest.raises(Interrupted):
        train(job, tmp_path, looks=9)
    path = state_folder(tmp_path, job.id) / CHECKPOINT
    structure, tensors = saving.read_checkpoint(path)
    stored = saving.decode(structure, lambda keys, name: tensors[name])
    assert stored["step"] == 10
    assert 0 < stored["training"] < 60
    stored |= {"training": 1000.0, "saving": 500.0, "start": "2020-01-01T00:00:00Z"}
    saving.write_checkpoint(path.parent, *saving.encode(stored))
    record = train(job, tmp_path)
    throughput = record["throughput"]
    assert 1000 < throughput["train_seconds"] < 1060
    assert 500 <= throughput["checkpoint_seconds"] < 560
    assert throughput["units_per_second"] == record["D"] / throughput["train_seconds"]
    assert record["provenance"]["start"] == "2020-01-01T00:00:00Z"


def test_a_loss_that_explodes_is_seen_wherever_the_run_was_cut(planned, tmp_path):
    """Adam moves every weight by its rate: the outputs grow, and stay finite."""
    job, _ = planned({"train.lr": 100.0, "train.schedule": "constant"})
    whole = train(job, tmp_path / "whole")
    assert (whole["status"], whole["loss"], whole["steps"]) == ("diverged", None, STEPS)
    losses = [row[2] for row in whole["curve"]]
    assert losses[-1] > losses[0] + 20
    assert losses[-2] > losses[0] + 20
    with pytest.raises(Interrupted):
        train(job, tmp_path, looks=STEPS - 2)
    assert outcome(train(job, tmp_path)) == outcome(whole)


# Checkpoints that cannot be used ------------------------------------------------------------------


def cut(job: Job, folder: Path) -> tuple[Path, Path]:
    """Leave a checkpoint of the step 6 and a previous one of the step 5."""
    for looks in (4, 0):
        with pytest.raises(Interrupted):
            train(job, folder, looks=looks)
    state = state_folder(folder, job.id)
    return state / CHECKPOINT, state / PREVIOUS_CHECKPOINT


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
def test_instead_of_a_damaged_checkpoint_the_previous_one_is_used(planned, tmp_path, said, damage):
    job, _ = planned()
    whole = train(job, tmp_path / "whole")
    newest, _ = cut(job, tmp_path)
    DAMAGES[damage](newest)
    resumed = train(job, tmp_path)
    lines = [line for line in said() if str(newest) in line]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert sum("goes on after step 5 of 16" in line for line in said()) >= 1
    assert outcome(resumed) == outcome(whole)


def test_without_any_good_checkpoint_it_starts_anew(planned, tmp_path, said):
    job, _ = planned()
    whole = train(job, tmp_path / "whole")
    for path in cut(job, tmp_path):
        flip_bit(path, 0.7)
    anew = train(job, tmp_path)
    assert anew["world"]["resumed"] is False
    assert outcome(anew) == outcome(whole)
    assert sum("is not used: it is damaged" in line for line in said()) == 2


def test_checkpoints_of_another_experiment_or_of_changed_code_are_not_used(planned, tmp_path, said):
    job, _ = planned()
    other, _ = planned({"train.lr": 0.1})
    assert other.id != job.id
    newest, previous = cut(other, tmp_path)
    ours = state_folder(tmp_path, job.id)
    ours.mkdir(parents=True)
    (ours / CHECKPOINT).write_bytes(newest.read_bytes())
    assert train(job, tmp_path)["world"]["resumed"] is False
    assert any(f"it is of the experiment {other.id}" in line for line in said())
    previous.unlink()
    (code,) = tmp_path.glob("user_module_*.py")
    code.write_text(code.read_text().replace("nn.Tanh()", "nn.Sigmoid()"))
    assert train(other, tmp_path)["world"]["resumed"] is False
    assert any("the code of model and dataset and loss changed since" in s for s in said())


def test_a_state_of_other_shapes_is_not_used(planned, tmp_path, said):
    job, _ = planned()
    newest, previous = cut(job, tmp_path)
    structure, tensors = saving.read_checkpoint(newest)
    stored = saving.decode(structure, lambda keys, name: tensors[name])
    stored["model"]["layers.0.weight"] = torch.zeros(4, 3)
    saving.write_checkpoint(newest.parent, *saving.encode(stored))
    previous.unlink()
    assert train(job, tmp_path)["world"]["resumed"] is False
    assert any("layers.0.weight is torch.float32 (4, 3), but the" in line for line in said())


def test_an_optimizer_that_refuses_its_state_fails_once(planned, tmp_path, monkeypatch):
    job, _ = planned(*CASES["momentum"][:1], **CASES["momentum"][1])
    newest, _ = cut(job, tmp_path)
    with monkeypatch.context() as patch:

        def refuse(self, state_dict):
            if state_dict["state"]:
                raise KeyError("mine")

        patch.setattr(torch.optim.SGD, "load_state_dict", refuse)
        with pytest.raises(UserError, match=r"does not take up its own state .*was removed"):
            train(job, tmp_path)
    assert not newest.exists()
    assert train(job, tmp_path)["status"] == "completed"


def test_a_disk_that_is_full_stops_no_training(planned, tmp_path, monkeypatch, said):
    job, _ = planned({"train.checkpoint_minutes": 1e-9})
    whole = train(replace(job, checkpoint_minutes=None), tmp_path / "whole")

    def full(*arguments, **keywords):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("flops_fit.train.checkpoint.save_file", full)
    record = train(job, tmp_path)
    assert outcome(record) == outcome(whole)
    assert sum("No space left on device" in line for line in said()) == 16
    assert list(state_folder(tmp_path, job.id).iterdir()) == []


def test_a_state_that_no_file_holds_is_said_once(planned, tmp_path, said):
    job, module = planned(*CASES["odd"][:1], optimizer="Odd")
    step = module.Odd.step

    def keep_a_set(self, closure=None):
        step(self)
        next(iter(self.state.values()))["kinds"] = {1, 2}

    module.Odd.step = keep_a_set
    record = train(replace(job, checkpoint_minutes=1e-9), tmp_path)
    assert record["status"] == "completed"
    (line,) = [line for line in said() if "no checkpoint can hold" in line]
    assert "optimizer.state.0.kinds is a set, expected tensors" in line


# What is kept -------------------------------------------------------------------------------------


def test_final_weights_are_those_of_the_state_dict(planned, tmp_path):
    job, module = planned(model="Everything")
    weights = {}
    reset()
    record = train_experiment(job, gpus=0, weights=weights)
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


def test_the_micro_batch_of_the_checkpoint_is_kept_where_it_still_fits(planned, tmp_path):
    """A machine with more memory would take other sums."""
    job, module = planned(model="Everything")
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
    structure, tensors = saving.encode(state)
    expected = draw()
    draw()
    restore_random_state(saving.decode(structure, lambda keys, name: tensors[name]), cpu)
    assert draw() == expected
