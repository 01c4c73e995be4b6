"""The zoo's losses against logarithms of softmax probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from flops_fit.zoo.losses import next_token, next_token_masked


def logits_and_targets() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    return logits, torch.randint(7, (2, 5), generator=generator)


def nats(logits: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Minus the log of each target's softmax probability, one by one."""
    rows = zip(
        logits.reshape(-1, logits.shape[-1]).tolist(), targets.flatten().tolist(), strict=True
    )
    return [math.log(sum(math.exp(z) for z in row)) - row[target] for row, target in rows]


def test_mean_over_all_positions():
    logits, targets = logits_and_targets()
    expected = nats(logits, targets)
    assert next_token(logits, targets).item() == pytest.approx(sum(expected) / 10, rel=1e-13)


def test_equal_logits_give_the_log_of_the_vocabulary():
    loss = next_token(torch.zeros(3, 4, 256), torch.zeros(3, 4, dtype=torch.int64))
    assert loss.item() == pytest.approx(math.log(256), rel=1e-6)  # float32


def test_masked_sum_and_count_leave_ignored_targets_out():
    logits, targets = logits_and_targets()
    expected = nats(logits, targets)
    targets[0, 1] = targets[1, 4] = -100
    loss_sum, count = next_token_masked(logits, targets)
    kept = [value for index, value in enumerate(expected) if index not in (1, 9)]
    assert count.item() == 8
    assert loss_sum.item() == pytest.approx(sum(kept), rel=1e-13)


def test_masked_equals_mean_where_nothing_is_ignored():
    logits, targets = logits_and_targets()
    loss_sum, count = next_token_masked(logits, targets)
    assert (loss_sum / count).item() == pytest.approx(next_token(logits, targets).item(), rel=1e-13)


def test_nothing_left_is_zero_over_zero_tokens():
    logits, targets = logits_and_targets()
    loss_sum, count = next_token_masked(logits.requires_grad_(), torch.full_like(targets, -100))
    loss_sum.backward()
    assert (loss_sum.item(), count.item()) == (0.0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_plain_loss_refuses_ignored_targets():
    logits, targets = logits_and_targets()
    targets[0, 0] = -100
    with pytest.raises(IndexError, match="-100"):
        next_token(logits, targets)


@pytest.mark.parametrize("loss", [next_token, next_token_masked])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_lifted(loss, dtype):
    logits, targets = logits_and_targets()
    logits = logits.to(dtype)
    value, lifted = loss(logits, targets), loss(logits.float(), targets)
    value, lifted = (v[0] if isinstance(v, tuple) else v for v in (value, lifted))
    assert value.dtype == torch.float32
    assert torch.equal(value, lifted)


def test_double_precision_is_kept():
    assert next_token(*logits_and_targets()).dtype == torch.float64


@pytest.mark.parametrize("loss", [next_token, next_token_masked])
def test_shapes_that_do_not_belong_together_are_refused(loss):
    logits, targets = logits_and_targets()
    with pytest.raises(ValueError, match=r"\(2, 5, 7\) do not fit targets of shape \(5, 2\)"):
        loss(logits, targets.T)
