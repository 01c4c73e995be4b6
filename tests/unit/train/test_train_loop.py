"""A whole training run against a loop in plain PyTorch.

Both sides work in float64, where a few hundred steps of a tiny model agree to 1e-12.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from flops_fit.plan.job import Job
from flops_fit.records.run_record import RunRecord, read_record, store_record
from flops_fit.study.spec import Spec
from flops_fit.train import curve, loop
from flops_fit.train.accelerator import start_accelerator
from flops_fit.train.build import build
from flops_fit.train.data_order import samples_of_steps
from flops_fit.train.evaluate import evaluation_chunks
from flops_fit.train.state import Attempts
from tiny_training import IGNORED, STEPS, UNITS, train

pytestmark = pytest.mark.usefixtures("fresh_process")


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
def test_a_run_is_what_a_plain_loop_computes(planned_tiny, case, size):
    changes, loss = CASES[case]
    job, module = planned_tiny(size, changes, loss=loss)
    record = train(job)
    assert record["status"] == "completed"
    assert record["steps"] == STEPS[size]
    assert len(record["curve"]) >= 30
    check_against(record, reference(module, job.spec))


def trainer_of(job: Job) -> loop.Trainer:
    attempts = Attempts(start="", place=["cpu", 1])
    return loop.Trainer(job, start_accelerator(job, gpus=0), attempts)


def test_exactly_the_planned_samples_are_seen_in_their_order(planned_tiny):
    job, module = planned_tiny(4)
    trainer = trainer_of(job)
    module.seen.clear()
    trainer.train()
    # 100 steps of 2 samples: the 30 samples 6 times and two thirds of them once more
    assert module.seen == samples_of_steps(0, 100, 2, 30, seed=0).ravel().tolist()
    assert sorted(module.seen[:180]) == sorted(list(range(30)) * 6)
    assert (trainer.state.step, len(set(module.seen[180:]))) == (100, 20)


@pytest.mark.parametrize("loss", ["mean_square", "masked_square"])
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5])
def test_gradient_accumulation_changes_nothing(planned_tiny, loss, micro_batch):
    """5 samples a step as 1+1+1+1+1, 2+2+1, 3+2 and 5: every unit weighs the same."""
    changes = {"train.batch": 20, "plan.min_steps": 1, "plan.budgets": [2e5]}
    if loss == "masked_square":
        changes["dataset.kwargs"] = {"ignore": 0.2}
    job, module = planned_tiny(2, changes, loss=loss)
    trainer = trainer_of(job)
    trainer.state.micro_batch = micro_batch
    assert trainer.accumulation == math.ceil(5 / micro_batch)
    trainer.train()
    assert trainer.evaluate().loss == pytest.approx(reference(module, job.spec)["loss"], rel=1e-12)


def test_steps_without_anything_to_predict_are_no_divergence(planned_tiny):
    """Some batches hold padding alone: no gradient, no loss, and the run goes on."""
    padding = samples_of_steps(0, 2, 1, 30, seed=0).ravel().tolist()  # of the first two steps
    changes = {
        "dataset.kwargs": {"ignored_samples": padding},
        "train.batch": 4,
        "plan.min_steps": 1,
    }
    job, module = planned_tiny(4, changes, loss="masked_square")
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


def test_the_record_of_a_run(planned_tiny, tmp_path):
    job, _ = planned_tiny(4)
    record = train(job)
    made = RunRecord.from_json(record, job.id)
    store_record(made, tmp_path)
    assert read_record(tmp_path / "runs" / f"{job.id}.json") == made
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


def test_the_check_of_the_data_leaves_no_trace_in_them(planned_tiny):
    job, _ = planned_tiny(8, {"train.precision": "no"}, dataset="Drawing")
    set_seed(7)
    drawn = [torch.rand(1).item(), np.random.rand()]
    set_seed(7)
    data = build(job).train_data
    assert (data.drawn, data.reads) == (drawn, 1)  # the sample that shows it holds pairs


def test_two_runs_in_a_row_give_the_same_bits(planned_tiny):
    job, _ = planned_tiny(8, {"train.precision": "no"})
    first, second = (train(job) for _ in range(2))
    for name in ("loss", "loss_std_err", "curve", "D", "C"):
        assert first[name] == second[name]


def test_6nd_is_for_tokens(planned_tiny):
    job, _ = planned_tiny(8, dataset="Images")
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
