"""Validation: each unit once, the same number from any number of processes."""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.train.batches import Batches
from flops_fit.train.evaluate import evaluate, evaluation_chunks, summarise
from torch import nn


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 1000, 5123])
@pytest.mark.parametrize("samples", [0, 1, 2, 63, 64, 65, 999, 10**9])
def test_chunks_hold_each_chosen_sample_once(length, samples):
    chunks = evaluation_chunks(length, samples)
    chosen = [i for chunk in chunks for i in chunk]
    wanted = max(1, min(samples, length))
    assert len(chosen) == wanted
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(length))
    assert len(chunks) == min(64, wanted)
    sizes = {len(chunk) for chunk in chunks}
    assert max(sizes) - min(sizes) <= 1
    # evenly over the split
    gaps = np.diff([*chosen, chosen[0] + length])
    assert gaps.max() - gaps.min() <= 1


def test_chunks_by_hand():
    assert evaluation_chunks(5, 5) == [[0], [1], [2], [3], [4]]
    assert evaluation_chunks(10, 3) == [[0], [3], [6]]
    chunks = evaluation_chunks(1000, 130)
    assert (len(chunks), chunks[0], chunks[1]) == (64, [0, 7], [15, 23])


# The mean and its error --------------------------------------------------------------------------


def totals(sums, counts) -> torch.Tensor:
    return torch.tensor(np.array([sums, counts]), dtype=torch.float64)


def test_equal_chunks_have_the_standard_error_of_their_means():
    means = np.random.default_rng(0).normal(2, 0.5, 64)
    found = summarise(totals(means * 7, np.full(64, 7)))
    assert found.units == 64 * 7
    assert found.loss == pytest.approx(means.mean(), rel=1e-14)
    assert found.loss_std_err == pytest.approx(means.std(ddof=1) / 8, rel=1e-12)


def test_unequal_chunks_are_weighted_by_their_units():
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 50, 40)
    sums = counts * rng.normal(2, 0.5, 40)
    found = summarise(totals(sums, counts))
    assert found.units == counts.sum()
    assert found.loss == pytest.approx(sums.sum() / counts.sum(), rel=1e-14)
    residuals = sums - found.loss * counts
    expected = math.sqrt(40 * residuals.var(ddof=1)) / counts.sum()
    assert found.loss_std_err == pytest.approx(expected, rel=1e-12)


def test_the_standard_error_is_how_much_the_mean_varies():
    """2000 validation sets of 64 chunks with unequal counts, from one law.

    The relative error of a standard deviation out of 2000 is 1/sqrt(4000) = 1.6%, and chunks
    differ; 10% is six of these.
    """
    rng = np.random.default_rng(2)
    counts = rng.integers(5, 50, (2000, 64))
    sums = counts * rng.normal(2, 0.5, (2000, 64))
    found = [summarise(totals(s, n)) for s, n in zip(sums, counts, strict=True)]
    spread = np.std([evaluation.loss for evaluation in found], ddof=1)
    stated = np.sqrt(np.mean([evaluation.loss_std_err**2 for evaluation in found]))
    assert stated == pytest.approx(spread, rel=0.1)


def test_chunks_without_a_predicted_unit_do_not_count():
    found = summarise(totals([3.0, 0.0, 5.0], [2, 0, 2]))
    assert (found.loss, found.units) == (2.0, 4)
    assert found.loss_std_err == summarise(totals([3.0, 5.0], [2, 2])).loss_std_err == 0.5


def test_one_chunk_has_no_standard_error():
    found = summarise(totals([6.0], [3]))
    assert (found.loss, found.loss_std_err, found.units) == (2.0, None, 3)


def test_a_validation_set_without_a_predicted_unit_is_a_sentence():
    with pytest.raises(UserError, match="the validation set holds no unit that the loss predicts"):
        summarise(totals([0.0, 0.0], [0, 0]))


def test_a_loss_that_is_no_number_stays_one():
    assert math.isnan(summarise(totals([math.nan, 1.0], [1, 1])).loss)


# The model ---------------------------------------------------------------------------------------

UNITS = 4


class Pairs(torch.utils.data.Dataset):
    """Sequences of four positions; where a target is -1, there is nothing to predict."""

    units_per_sample = UNITS

    def __init__(self, length: int) -> None:
        rng = np.random.default_rng(3)
        self.inputs = rng.normal(size=(length, UNITS, 3))
        self.targets = rng.normal(size=(length, UNITS)) ** 2
        self.targets[rng.random((length, UNITS)) < 0.3] = -1
        self.targets[:5] = -1
        self.seen: list[int] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index):
        self.seen.append(index)
        return torch.tensor(self.inputs[index]), torch.tensor(self.targets[index])


def mean_loss(outputs, targets):
    assert not torch.is_grad_enabled()
    return (outputs.squeeze(-1) - targets).square().mean()


def masked_loss(outputs, targets):
    mask = targets >= 0
    return ((outputs.squeeze(-1) - targets).square() * mask).sum(), mask.sum()


class OneOf:
    """What evaluation needs to know of one process among several; `reduce` keeps its own share."""

    def __init__(self, process: int, processes: int) -> None:
        self.process_index, self.num_processes = process, processes
        self.device = torch.device("cpu")
        self.share: torch.Tensor | None = None

    def autocast(self):
        return contextlib.nullcontext()

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "sum"
        self.share = tensor.clone()
        return tensor if self.num_processes == 1 else torch.ones_like(tensor)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).double()


def run(model, loss, data, eval_units, batch_samples, process=0, processes=1):
    accelerator = OneOf(process, processes)
    result = evaluate(
        model, loss, data, eval_units, batch_samples, accelerator, Batches(accelerator)
    )
    return result, accelerator.share


def squares(model: nn.Sequential, data: Pairs, indices: list[int]) -> np.ndarray:
    """The squared errors in plain numpy: without dropout."""
    first, last = model[0], model[3]
    hidden = np.tanh(
        data.inputs[indices] @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    )
    outputs = hidden @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    return (outputs[..., 0] - data.targets[indices]) ** 2


@pytest.mark.parametrize("batch_samples", [1, 3, 1000])
def test_a_mean_loss_is_the_mean_over_all_units(model, batch_samples):
    data = Pairs(150)
    found, _ = run(model, mean_loss, data, 10**9, batch_samples)
    assert found.loss == pytest.approx(squares(model, data, list(range(150))).mean(), rel=1e-13)
    assert found.units == 150 * UNITS
    assert sorted(data.seen) == list(range(150))


def test_a_masked_loss_is_the_mean_over_what_is_predicted(model):
    data = Pairs(150)
    found, _ = run(model, masked_loss, data, 10**9, 2)
    mask = data.targets >= 0
    assert found.loss == pytest.approx(
        squares(model, data, list(range(150)))[mask].mean(), rel=1e-13
    )
    assert found.units == mask.sum() < 150 * UNITS


@pytest.mark.parametrize(
    ("eval_units", "samples"), [(400, 100), (403, 100), (399, 99), (1, 1), (600, 150), (604, 150)]
)
def test_only_whole_samples_are_evaluated(model, eval_units, samples):
    data = Pairs(150)
    found, _ = run(model, mean_loss, data, eval_units, 8)
    chosen = [i * 150 // samples for i in range(samples)]
    assert sorted(data.seen) == chosen
    assert found.units == samples * UNITS
    assert found.loss == pytest.approx(squares(model, data, chosen).mean(), rel=1e-13)


@pytest.mark.parametrize("loss", [mean_loss, masked_loss])
@pytest.mark.parametrize("processes", [2, 3, 64, 70])
def test_any_number_of_processes_finds_the_same_number(model, loss, processes):
    """Each computes whole chunks; every entry of the sum over processes has one addend."""
    _, alone = run(model, loss, Pairs(150), 600, 2)
    shares, seen = [], []
    for process in range(processes):
        data = Pairs(150)
        _, share = run(model, loss, data, 600, 2, process, processes)
        shares.append(share)
        seen += data.seen
    assert torch.equal(torch.stack(shares).sum(0), alone)
    assert sorted(seen) == list(range(150))


def test_evaluation_leaves_the_model_as_it_was(model):
    for training in (True, False):
        model.train(training)
        run(model, mean_loss, Pairs(20), 80, 4)
        assert model.training is training
        assert all(parameter.grad is None for parameter in model.parameters())


def test_inputs_are_placed_and_cast():
    accelerator = SimpleNamespace(device=torch.device("cpu"))
    samples = [(torch.ones(2), 3), (torch.zeros(2), 4)]
    ((inputs, targets),) = Batches(accelerator, torch.float64).load(samples, [[1, 0]])
    assert (inputs.dtype, targets.dtype) == (torch.float64, torch.int64)
    assert (inputs.tolist(), targets.tolist()) == ([[0, 0], [1, 1]], [4, 3])
    ((inputs, _),) = Batches(accelerator).load(samples, [[0]])
    assert inputs.dtype == torch.float32
    nested = [({"a": torch.ones(1), "b": torch.ones(1, dtype=torch.int32)}, torch.ones(1))]
    (((values), _),) = Batches(accelerator, torch.float64).load(nested, [[0]])
    assert (values["a"].dtype, values["b"].dtype) == (torch.float64, torch.int32)


def test_batches_come_as_they_are_listed():
    accelerator = SimpleNamespace(device=torch.device("cpu"))
    samples = [(i, 10 * i) for i in range(10)]
    lists = [[3], [1, 1, 9], [0, 2]]
    loaded = [inputs.tolist() for inputs, _ in Batches(accelerator).load(samples, lists)]
    assert loaded == lists
