"""A whole training run against a loop in plain PyTorch, and runs that come to nothing.

Both sides work in float64, where a few hundred steps of a tiny model agree to 1e-12.
"""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from flops_fit.errors import UserError
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan, plan_jobs
from flops_fit.records.run_record import read_record, store_record
from flops_fit.study.spec import Spec
from flops_fit.study.study import Study
from flops_fit.train import curve, loop
from flops_fit.train.accelerator import start_accelerator
from flops_fit.train.data_order import samples_of_steps
from flops_fit.train.evaluate import evaluation_chunks
from flops_fit.train.experiment import train_experiment
from flops_fit.train.state import Attempts
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare
from hand_computed import changed

UNITS = 4  # per sample
IGNORED = -1e9

MODULE = """
import numpy as np
import torch
from torch import nn

seen = []
calls = []


class Model(nn.Module):
    def __init__(self, width, flops=None):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x):  # (B, T, 3) -> (B, T)
        return self.last(self.first(x).tanh()).squeeze(-1)

    def flops_per_unit(self):
        return 6 * sum(parameter.numel() for parameter in self.parameters())


class BlindModel(Model):
    '''Learns as usual, and is not to be evaluated.'''

    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x) * float("nan")


class Data(torch.utils.data.Dataset):
    units_per_sample = 4
    unit = "token"

    def __init__(self, split, folder, ignore=0.0, ignored_samples=()):
        rng = np.random.default_rng({"train": 0, "validation": 1}[split])
        length = {"train": 30, "validation": 70}[split]
        self.inputs = torch.tensor(rng.normal(size=(length, 4, 3)), dtype=torch.float32)
        targets = rng.normal(size=(length, 4))
        targets[rng.random((length, 4)) < ignore] = -1e9
        targets[list(ignored_samples)] = -1e9
        self.targets = torch.tensor(targets, dtype=torch.float32)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        seen.append(index)
        return self.inputs[index], self.targets[index]


class Images(Data):
    unit = "image"


def mean_square(outputs, targets):
    return (outputs - targets).square().mean()


def masked_square(outputs, targets):
    mask = targets > -1e9
    return ((outputs - targets).square() * mask).sum(), mask.sum()


def nan_after_60(outputs, targets):
    calls.append(1)
    return (outputs - targets).square().mean() * (float("nan") if len(calls) > 60 else 1)
"""

STUDY = {
    "study": "tiny",
    "model": {"size_param": "width", "sizes": [2, 4, 8]},
    "dataset": {},
    # N = 5 width + 1 and C = 6 N D: 191, 100 and 51 steps of 8 units
    "plan": {"budgets": [100_800], "min_steps": 50},
    "train": {
        "batch": 8,
        "lr": 0.05,
        "lr_scaling": {"power": -1, "reference_size": 4},
        "weight_decay": 0.1,
        "grad_clip": 0.5,
        "precision": "float64",
    },
}
STEPS = {2: 191, 4: 100, 8: 51}


@pytest.fixture(autouse=True)
def fresh_process():
    """What a process of its own would start with."""

    def reset():
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(False)

    reset()
    with torch.random.fork_rng():
        yield
    reset()


@pytest.fixture
def planned(tmp_path, user_module):
    """Return a function that plans a study and returns one job and the module of the user."""
    name = user_module(MODULE)

    def plan(size: int, changes: dict | None = None, **names: str):
        paths = {
            "model.target": f"{name}:{names.get('model', 'Model')}",
            "dataset.target": f"{name}:{names.get('dataset', 'Data')}",
            "loss": f"{name}:{names.get('loss', 'mean_square')}",
        }
        study = Study.from_config(
            changed(STUDY, {**paths, **(changes or {})}), tmp_path / "tiny.yaml"
        )
        data_folder = tmp_path / "data"
        prepare(study, data_folder / "meta.json")
        meta = DatasetMeta.load(data_folder / "meta.json")
        made = make_plan(study, measure_sizes(study, data_folder), meta)
        jobs = plan_jobs(made, study, data_folder=str(data_folder), search_folder=str(tmp_path))
        (run_id,) = (row.id for row in made.experiments if row.size == size)
        module = importlib.import_module(name)
        module.seen.clear()
        module.calls.clear()
        return jobs[run_id], module

    return plan


def train(job: Job) -> dict:
    return train_experiment(job, gpus=0)


# The independent loop ----------------------------------------------------------------------------


def reference(module, spec: Spec) -> dict:
    """Train the same experiment without flops_fit.train, but for the order of the samples."""
    train = module.Data("train", None, **spec.dataset.kwargs)
    validation = module.Data("validation", None, **spec.dataset.kwargs)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(spec.seed)
    model = module.Model(spec.size)
    scale = (spec.size / 4) ** -1
    groups = [  # peak learning rate, decay, parameters
        (spec.lr * scale, spec.weight_decay, [model.first.weight, model.last.weight]),
        (spec.lr, 0.0, [model.first.bias, model.last.bias]),
    ]
    moments = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()}
    steps, samples = spec.D // spec.batch, spec.batch // UNITS
    order = samples_of_steps(0, steps, samples, len(train), spec.seed)
    warmup = round(spec.warmup_fraction * steps)
    sums, rates = [], []
    for t in range(steps):
        if t < warmup:
            factor = (t + 1) / warmup
        else:
            angle = math.pi * (t - warmup + 1) / (steps - warmup)
            factor = 0.1 + 0.9 * (1 + math.cos(angle)) / 2
        x, y = train.inputs[order[t]].double(), train.targets[order[t]].double()
        mask = y > IGNORED
        errors = (model(x) - y)[mask].square()
        gradients = torch.autograd.grad(
            errors.sum() / max(1, len(errors)), list(model.parameters())
        )
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        clip = 1.0 if spec.grad_clip is None else min(1.0, spec.grad_clip / (norm + 1e-6))
        gradient = {p: g * clip for p, g in zip(model.parameters(), gradients, strict=True)}
        with torch.no_grad():
            for peak, decay, parameters in groups:
                lr = peak * factor
                for p in parameters:
                    m, v = moments[p]
                    m.mul_(0.9).add_(0.1 * gradient[p])
                    v.mul_(0.95).add_(0.05 * gradient[p] ** 2)
                    p.sub_(lr * decay * p)
                    m_hat, v_hat = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.95 ** (t + 1))
                    p.sub_(lr * m_hat / (v_hat.sqrt() + 1e-8))
        sums.append((errors.sum().item(), len(errors)))
        rates.append(spec.lr * factor)
    with torch.no_grad():
        y = validation.targets.double()
        errors = (model(validation.inputs.double()) - y).square()
    torch.set_default_dtype(torch.float32)
    chosen = evaluation_chunks(len(validation), spec.eval_units // UNITS)
    rows = [i for chunk in chosen for i in chunk]
    mask = y > IGNORED
    return {
        "loss": errors[rows][mask[rows]].mean().item(),
        "chunks": [(errors[c][mask[c]].sum().item(), int(mask[c].sum())) for c in chosen],
        "sums": sums,
        "rates": rates,
        "order": order,
    }


def check_against(record: dict, truth: dict, rel: float = 1e-12) -> None:
    assert record["loss"] == pytest.approx(truth["loss"], rel=rel)
    n = sum(count for _, count in truth["chunks"])
    squares = sum((s - truth["loss"] * count) ** 2 for s, count in truth["chunks"])
    chunks = sum(count > 0 for _, count in truth["chunks"])
    std_err = math.sqrt(squares * chunks / (chunks - 1)) / n
    assert record["loss_std_err"] == pytest.approx(std_err, rel=1e-9)
    last = 0
    for step, units, train_loss, lr in record["curve"]:
        assert units == 8 * step
        errors, counts = zip(*truth["sums"][last:step], strict=True)
        assert train_loss == pytest.approx(sum(errors) / sum(counts), rel=rel)
        assert lr == pytest.approx(truth["rates"][step - 1], rel=1e-14)
        last = step
    assert last == record["steps"]


CASES = {
    "mean": ({}, "mean_square"),
    "another seed": ({"plan.seeds": [3]}, "mean_square"),
    "no clipping": ({"train.grad_clip": None}, "mean_square"),
    "part of the validation set": ({"train.eval_units": 100}, "mean_square"),
    "masked": ({"dataset.kwargs": {"ignore": 0.4}}, "masked_square"),
    "masked, nothing ignored": ({}, "masked_square"),
}


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_run_is_what_a_plain_loop_computes(planned, case, size):
    changes, loss = CASES[case]
    job, module = planned(size, changes, loss=loss)
    record = train(job)
    assert record["status"] == "completed"
    assert record["steps"] == STEPS[size]
    assert len(record["curve"]) >= 30
    check_against(record, reference(module, job.spec))


def trainer_of(job: Job) -> loop.Trainer:
    attempts = Attempts(source={}, start="", place=["cpu", 1])
    return loop.Trainer(job, start_accelerator(job, gpus=0), attempts)


def test_exactly_the_planned_samples_are_seen_in_their_order(planned):
    job, module = planned(4)
    trainer = trainer_of(job)
    module.seen.clear()
    trainer.train()
    # 100 steps of 2 samples: the 30 samples 6 times and two thirds of them once more
    assert module.seen == samples_of_steps(0, 100, 2, 30, seed=0).ravel().tolist()
    assert sorted(module.seen[:180]) == sorted(list(range(30)) * 6)
    assert (trainer.state.step, len(set(module.seen[180:]))) == (100, 20)


@pytest.mark.parametrize("loss", ["mean_square", "masked_square"])
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5])
def test_gradient_accumulation_changes_nothing(planned, loss, micro_batch):
    """5 samples a step as 1+1+1+1+1, 2+2+1, 3+2 and 5: every unit weighs the same."""
    changes = {"train.batch": 20, "plan.min_steps": 1, "plan.budgets": [2e5]}
    if loss == "masked_square":
        changes["dataset.kwargs"] = {"ignore": 0.2}
    job, module = planned(2, changes, loss=loss)
    trainer = trainer_of(job)
    trainer.state.micro_batch = micro_batch
    assert trainer.accumulation == math.ceil(5 / micro_batch)
    trainer.train()
    assert trainer.evaluate().loss == pytest.approx(reference(module, job.spec)["loss"], rel=1e-12)


def test_steps_without_anything_to_predict_are_no_divergence(planned):
    """Some batches hold padding alone: no gradient, no loss, and the run goes on."""
    padding = samples_of_steps(0, 2, 1, 30, seed=0).ravel().tolist()  # of the first two steps
    changes = {
        "dataset.kwargs": {"ignored_samples": padding},
        "train.batch": 4,
        "plan.min_steps": 1,
    }
    job, module = planned(4, changes, loss="masked_square")
    record = train(job)
    truth = reference(module, job.spec)
    empty = [step for step, (_, count) in enumerate(truth["sums"], start=1) if not count]
    assert empty[:2] == [1, 2]  # two of 30 samples, in every epoch anew
    assert len(empty) > 5
    assert record["status"] == "completed"
    assert record["loss"] == pytest.approx(truth["loss"], rel=1e-12)
    rows = {row[0]: row[2] for row in record["curve"]}
    assert (rows[1], rows[2]) == (None, None)  # the first rows are single steps
    assert rows[3] == pytest.approx(truth["sums"][2][0] / 4, rel=1e-12)


# The record --------------------------------------------------------------------------------------


def test_the_record_of_a_run(planned, tmp_path):
    job, _ = planned(4)
    record = train(job)
    store_record(record, tmp_path)
    assert read_record(tmp_path / "runs" / f"{job.id}.json") == record
    assert record["spec"] == job.spec.to_json()
    expected = {
        "id": job.id, "study": "tiny", "status": "completed", "n_params": 21,
        "n_params_non_embedding": 21, "D": 800, "steps": 100, "C": 6 * 21 * 800,
        "C_6nd": 6 * 21 * 800,
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert record["world"].items() >= {
        "num_processes": 1, "device": "cpu", "precision": "float64", "gradient_accumulation": 1,
        "micro_batch": 2, "resumed": False,
    }.items()  # fmt: skip
    throughput = record["throughput"]
    seconds = throughput["train_seconds"]
    assert throughput["units_per_second"] == 800 / seconds > 0
    assert throughput["flops_per_second"] == 6 * 21 * 800 / seconds
    assert throughput["mfu"] is None
    assert throughput["peak_memory_bytes"] > 10**7
    assert min(throughput["eval_seconds"], throughput["startup_seconds"]) > 0
    provenance = record["provenance"]
    assert set(provenance["source"]) == {"model", "dataset", "loss"}
    assert provenance["content_fingerprint"] == job.spec.dataset.content
    assert provenance["torch"] == torch.__version__
    assert provenance["start"] <= provenance["end"]


def test_two_runs_in_a_row_give_the_same_bits(planned):
    job, _ = planned(8, {"train.precision": "no"})
    first, second = (train(job) for _ in range(2))
    for name in ("loss", "loss_std_err", "curve", "D", "C"):
        assert first[name] == second[name]


def test_6nd_is_for_tokens(planned):
    job, _ = planned(8, dataset="Images")
    record = train(job)
    assert record["C"] == 6 * 41 * 8 * 51
    assert record["C_6nd"] is None


@pytest.mark.parametrize("steps", [1, 2, 3, 199, 200, 201, 5000, 10**6])
def test_the_rows_of_a_curve(steps):
    found = curve.curve_steps(steps)
    assert found[0] == 1
    assert found[-1] == steps
    assert len(found) <= 200
    assert found == sorted(set(found))
    assert all(type(step) is int for step in found)
    if steps > 10**4:  # evenly in the logarithm, once steps are fine enough
        ratios = [b / a for a, b in itertools.pairwise(found) if a > 1000]
        assert max(ratios) / min(ratios) < 1.01


# Runs that come to nothing -----------------------------------------------------------------------


def check_diverged(record: dict, steps: int, tmp_path: Path) -> None:
    assert record["status"] == "diverged"
    assert (record["loss"], record["loss_std_err"]) == (None, None)
    assert (record["steps"], record["D"]) == (steps, 8 * steps)
    assert record["C"] == 6 * (5 * record["spec"]["size"] + 1) * 8 * steps
    assert record["spec"]["D"] == 8 * STEPS[record["spec"]["size"]]  # what was planned
    store_record(record, tmp_path)  # it is a valid record


def test_a_rate_that_is_too_large_ends_the_run_where_it_breaks(planned, tmp_path):
    """After one step of 1e30 the outputs are of that order, and their squares overflow float32."""
    job, _ = planned(4, {"train.lr": 1e30, "train.precision": "no", "train.warmup_fraction": 0})
    record = train(job)
    check_diverged(record, 2, tmp_path)
    assert [row[:2] for row in record["curve"]] == [[1, 8], [2, 16]]
    assert 0 < record["curve"][0][2] < 10
    assert record["curve"][1][2] is None


@pytest.fixture
def only_training_counts(monkeypatch):
    """Forget the calls of the loss that come before the first step: trials of what fits."""
    original = loop.Trainer.__init__

    def counted(self, job, *arguments):
        original(self, job, *arguments)
        importlib.import_module(job.spec.loss.target.partition(":")[0]).calls.clear()

    monkeypatch.setattr(loop.Trainer, "__init__", counted)


@pytest.mark.usefixtures("only_training_counts")
def test_a_loss_that_becomes_nan_is_seen_at_the_next_row(planned, tmp_path):
    job, module = planned(2, loss="nan_after_60")
    record = train(job)
    expected = min(step for step in curve.curve_steps(191) if step > 60)
    check_diverged(record, expected, tmp_path)
    assert len(module.calls) == expected < 70
    assert [row[2] is None for row in record["curve"]] == [False] * (len(record["curve"]) - 1) + [
        True
    ]
    assert record["curve"][-1][:2] == [expected, 8 * expected]


@pytest.mark.usefixtures("only_training_counts")
def test_a_loss_that_becomes_nan_between_far_rows_is_seen_after_100_steps(
    planned, tmp_path, monkeypatch
):
    monkeypatch.setattr(curve, "CURVE_ROWS", 2)
    job, _ = planned(2, loss="nan_after_60")
    record = train(job)
    check_diverged(record, 100, tmp_path)
    assert [row[0] for row in record["curve"]] == [1, 100]


def test_a_loss_that_is_nan_in_the_end_only_is_a_divergence(planned, tmp_path):
    job, _ = planned(4, model="BlindModel")
    record = train(job)
    check_diverged(record, 100, tmp_path)
    assert all(row[2] is not None for row in record["curve"])


# What was planned and is there no more -----------------------------------------------------------


def test_another_model_than_planned_is_refused(planned):
    job, _ = planned(4)
    with pytest.raises(UserError) as caught:
        train(replace(job, n_params=22, n_params_non_embedding=20))
    assert str(caught.value).startswith(
        "model: width=4 C=1.01e+05 has 21 parameters (21 without lookup tables), but 22 (20) were "
        "planned; the model's code changed since: raise model.version"
    )


def test_another_number_of_processes_than_asked_for_is_refused(planned):
    job, _ = planned(4)
    with pytest.raises(UserError, match=r"2 processes were asked for, but 1 work together"):
        train(replace(job, processes=2))
