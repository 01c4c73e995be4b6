"""A loss returns a mean or a sum with its count; everything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flops_fit.user_code.loss_contract import loss_sum_and_count
from user_code_examples import sentence


def test_a_mean_becomes_a_sum():
    for mean in (torch.tensor(2.5), torch.tensor([2.5])):
        total, count = loss_sum_and_count(mean, 12)
        assert (total.shape, total.item(), count) == ((), 30.0, 12)
        assert type(count) is int


@pytest.mark.parametrize("count", [3, 3.0, np.int64(3), torch.tensor(3), torch.tensor([3.0])])
def test_a_sum_and_its_count_are_taken_as_they_are(count):
    weight = torch.tensor(2.0, requires_grad=True)
    for pair in ((weight * 4, count), [weight * 4, count]):
        total, found = loss_sum_and_count(pair, 12)
        assert (total.shape, total.item()) == ((), 8.0)
        assert (found.shape, found.item(), found.requires_grad) == ((), 3, False)
    (gradient,) = torch.autograd.grad(total, weight)
    assert gradient == 4


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (torch.ones(3), "returned a tensor of shape (3,)"),
        (torch.ones(2, 1), "returned a tensor of shape (2, 1)"),
        (torch.ones(0), "returned a tensor of shape (0,)"),
        (1.5, "returned float"),
        (None, "returned NoneType"),
        ({"loss": torch.tensor(1.0)}, "returned dict"),
        ((torch.tensor(1.0),), "returned 1 values"),
        ((torch.tensor(1.0), 2, 3), "returned 3 values"),
        ((1.0, 2), "the first of the pair is not a scalar tensor"),
        ((torch.ones(2), 2), "the first of the pair is not a scalar tensor"),
        ((torch.tensor(1.0), torch.ones(2)), "the second of the pair is not a number"),
        ((torch.tensor(1.0), None), "the second of the pair is not a number"),
        ((torch.tensor(1.0), "2"), "the second of the pair is not a number"),
    ],
)
def test_what_is_no_loss_is_a_sentence(value, cause):
    assert sentence(loss_sum_and_count, value, 12, "my loss") == (
        f"my loss: {cause}, expected a scalar (the mean over the batch's units) or a pair (sum, "
        "count)"
    )
