"""Counted FLOPs and parameters against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.user_code.flops import (
    ParameterCount,
    build_on_meta,
    count_parameters,
    lookup_tables,
    measure_flops_per_unit,
    measure_size,
    to_meta,
)
from flops_fit.zoo.gpt import GPT
from flops_fit.zoo.losses import next_token, next_token_masked
from torch import nn
from torch.utils.checkpoint import checkpoint


def gpt_flops_per_token(d: int, n_layer: int, V: int, T: int) -> int:
    """6 per weight of a matrix, and 12 T d for the scores and mixtures of each attention."""
    return 6 * (12 * d**2 * n_layer + V * d) + 12 * n_layer * T * d


def tokens(n_sequences: int, T: int, V: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    both = torch.randint(V, (2, n_sequences, T), generator=generator)
    return both[0], both[1]


def mean_square(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean()


class Linears(nn.Sequential):
    """Two matrices, 3 -> 5 -> 2; the batch below has 4 rows of them."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


LINEAR_BATCH = (torch.ones(4, 3), torch.zeros(4, 2))
# The first layer needs no gradient for its input, which is data: two products and not three.
LINEAR_FLOPS = 2 * (2 * 3 * 5) + 3 * (2 * 5 * 2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("d", "n_layer", "V", "T"), [(8, 2, 256, 16), (24, 3, 50, 7), (64, 1, 9, 33)]
)
def test_gpt_matches_the_closed_form(device, d, n_layer, V, T):
    with torch.device(device):
        model = GPT(d, n_layer=n_layer, vocab_size=V, seq_len=T)
    inputs, targets = (part.to(device) for part in tokens(2, T, V))
    counted = measure_flops_per_unit(model, (inputs, targets), next_token, 2 * T)
    assert counted == gpt_flops_per_token(d, n_layer, V, T)  # integers: exact


def test_loss_as_sum_and_count_costs_the_same():
    model = GPT(16, n_layer=1, vocab_size=9, seq_len=8)
    counted = measure_flops_per_unit(model, tokens(2, 8, 9), next_token_masked, 16)
    assert counted == gpt_flops_per_token(16, 1, 9, 8)


def test_linear_layers_match_the_closed_form():
    assert measure_flops_per_unit(Linears(), LINEAR_BATCH, mean_square, 4) == LINEAR_FLOPS


def test_convolutions_match_the_closed_form():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1)
    )
    batch = (torch.ones(5, 3, 8, 8), torch.zeros(5, 6, 4, 4))
    first = 2 * (8 * 8) * 4 * (3 * 9)
    second = 2 * (4 * 4) * 6 * (4 * 9)
    counted = measure_flops_per_unit(model, batch, mean_square, 5)
    assert counted == 2 * first + 3 * second


def test_counting_leaves_no_gradients_and_works_without_grad_mode():
    model = Linears()
    with torch.no_grad():
        assert measure_flops_per_unit(model, LINEAR_BATCH, mean_square, 4) == LINEAR_FLOPS
    assert all(parameter.grad is None for parameter in model.parameters())


class Checkpointed(nn.Module):
    """Recomputes its hidden layers in the backward pass; `frozen` layers need no gradient."""

    def __init__(self, *, use_reentrant: bool, frozen: bool) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.hidden = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.hidden.requires_grad_(not frozen)
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.hidden, self.first(x), use_reentrant=self.use_reentrant)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_checkpointing_is_not_counted(device, use_reentrant, frozen):
    model = Checkpointed(use_reentrant=use_reentrant, frozen=frozen).to(device)
    batch = (torch.ones(4, 8, device=device), torch.zeros(4, 8, device=device))
    counted = measure_flops_per_unit(model, batch, mean_square, 4)
    hidden_products = 2 if frozen else 3
    assert counted == 2 * (2 * 8 * 8) + hidden_products * (2 * 2 * 8 * 16)


class RecomputingProduct(torch.autograd.Function):
    """x W whose backward pass does the forward product again, as fused kernels do."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        again = x @ weight
        return gradient @ weight.T + 0 * again.sum(), x.T @ gradient


class RecomputingModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 6)
        self.weight = nn.Parameter(torch.ones(6, 7))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return RecomputingProduct.apply(self.embedding(tokens).flatten(0, 1), self.weight)


def test_recomputation_inside_a_kernel_is_cut():
    batch = (tokens(2, 3, 5)[0], torch.zeros(6, 7))
    assert measure_flops_per_unit(RecomputingModel(), batch, mean_square, 6) == 6 * 6 * 7


class Stated(Linears):
    def flops_per_unit(self) -> float:
        return 12.5


def test_stated_flops_win():
    assert measure_flops_per_unit(Stated(), LINEAR_BATCH, mean_square, 4) == 12.5
    # Far below 6 per parameter, which only a counted number has to reach.
    measure = measure_size(Stated, LINEAR_BATCH, mean_square, 4, "token")
    assert measure.flops_per_unit == 12.5


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_impossible_stated_flops_are_refused(monkeypatch, value):
    monkeypatch.setattr(Stated, "flops_per_unit", lambda _: value)
    with pytest.raises(UserError, match=r"Stated\.flops_per_unit\(\) returned .*positive"):
        measure_flops_per_unit(Stated(), LINEAR_BATCH, mean_square, 4)


def test_an_attribute_in_place_of_a_method_is_refused(monkeypatch):
    monkeypatch.setattr(Stated, "flops_per_unit", 12.5)
    with pytest.raises(UserError, match=r"flops_per_unit is 12.5; expected a method"):
        measure_flops_per_unit(Stated(), LINEAR_BATCH, mean_square, 4)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(UserError, match=r"The loss returned \(4, 2\); expected a scalar"):
        measure_flops_per_unit(Linears(), LINEAR_BATCH, lambda y, _: y, 4)
    with pytest.raises(UserError, match="The loss returned float"):
        measure_flops_per_unit(Linears(), LINEAR_BATCH, lambda y, _: y.sum().item(), 4)


def test_an_empty_batch_is_refused():
    with pytest.raises(UserError, match="holds 0 units"):
        measure_flops_per_unit(Linears(), LINEAR_BATCH, mean_square, 0)


class Tables(nn.Module):
    """Two tables of words (one of them tied to a head) and a bag, beside one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(7, 4)
        self.words = nn.Embedding(11, 4)
        self.bag = nn.EmbeddingBag(13, 4)
        self.mix = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.words.weight
        self.same_positions = nn.Embedding(7, 4)
        self.same_positions.weight = self.positions.weight


def test_lookup_tables_are_those_that_nothing_multiplies():
    model = Tables()
    assert lookup_tables(model) == {model.positions.weight, model.bag.weight}


def test_tied_weights_are_counted_once():
    in_tables = 7 * 4 + 13 * 4
    expected = ParameterCount(total=in_tables + 11 * 4 + 16, non_embedding=11 * 4 + 16)
    assert count_parameters(Tables()) == expected


@pytest.mark.parametrize("tie_head", [True, False])
def test_counting_agrees_with_the_models_own_methods(tie_head):
    model = GPT(16, n_layer=2, vocab_size=9, seq_len=8, tie_head=tie_head)
    own = ParameterCount(total=model.num_params(), non_embedding=model.num_params_non_embedding())
    assert count_parameters(model) == own
    counted = nn.Sequential(model)  # a wrapper without the methods
    assert count_parameters(counted) == own


def test_the_models_own_counts_win():
    model = Tables()
    model.num_params = lambda: 1000
    in_tables = 7 * 4 + 13 * 4
    assert count_parameters(model) == ParameterCount(total=1000, non_embedding=1000 - in_tables)
    model.num_params_non_embedding = lambda: 900
    assert count_parameters(model) == ParameterCount(total=1000, non_embedding=900)


@pytest.mark.parametrize(
    ("total", "non_embedding", "message"),
    [
        (0, 0, "num_params = 0"),
        (10.5, 5, "num_params = 10.5"),
        (10, -1, "num_params_non_embedding = -1"),
        (10, 11, "11 parameters without lookup tables but 10 in all"),
    ],
)
def test_impossible_counts_are_refused(total, non_embedding, message):
    model = Tables()
    model.num_params = lambda: total
    model.num_params_non_embedding = lambda: non_embedding
    with pytest.raises(UserError, match=message):
        count_parameters(model)


def test_nested_batches_move_to_meta():
    moved = to_meta({"a": [torch.ones(2, 3)], "b": (torch.zeros(4, dtype=torch.int64), "text", 5)})
    assert (moved["a"][0].shape, moved["a"][0].device.type) == ((2, 3), "meta")
    assert (moved["b"][0].dtype, moved["b"][0].device.type) == (torch.int64, "meta")
    assert moved["b"][1:] == ("text", 5)


def test_a_100B_model_is_measured_without_memory():
    d, n_layer, V, T = 16_384, 32, 50_257, 2048

    def factory() -> GPT:
        # Built in memory it would need 400 GB: stop before that.
        assert torch.empty(0).device.type == "meta"
        return GPT(d, n_layer=n_layer, vocab_size=V, seq_len=T, head_dim=128)

    assert {p.device.type for p in build_on_meta(factory).parameters()} == {"meta"}
    measure = measure_size(factory, tokens(1, T, V), next_token, T, "token")
    blocks = n_layer * (12 * d**2 + 2 * d) + d
    assert measure.n_params == blocks + 2 * V * d > 100e9
    assert measure.n_params_non_embedding == blocks + V * d
    assert measure.flops_per_unit == gpt_flops_per_token(d, n_layer, V, T)


class ReadsAValue(Linears):
    """Cannot run on the meta device, whose tensors have no values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum().item() > 0 else x


def test_models_that_need_values_are_measured_in_memory():
    measure = measure_size(ReadsAValue, LINEAR_BATCH, mean_square, 4, "row")
    assert measure.flops_per_unit == LINEAR_FLOPS
    assert measure.n_params == measure.n_params_non_embedding == 3 * 5 + 5 + 5 * 2 + 2
    assert "meta tensors" in measure.refused_by_meta_device
    assert measure_size(Linears, LINEAR_BATCH, mean_square, 4, "row").refused_by_meta_device is None


def test_losses_that_need_values_are_measured_in_memory():
    def clipped(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = mean_square(outputs, targets)
        return loss if loss.item() < 1e9 else loss / loss.item()

    assert measure_size(Linears, LINEAR_BATCH, clipped, 4, "row").flops_per_unit == LINEAR_FLOPS


def test_a_real_failure_is_raised_as_it_is():
    batch = (torch.ones(4, 17), torch.zeros(4, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        measure_size(Linears, batch, mean_square, 4, "row")


def test_a_users_mistake_is_not_tried_again_in_memory():
    built = []

    def factory() -> GPT:
        built.append(1)
        return GPT(22, n_layer=1, vocab_size=5, seq_len=4)

    with pytest.raises(UserError, match="d_model=22"):
        measure_size(factory, tokens(1, 4, 5), next_token, 4, "token")
    assert len(built) == 1


class NumpyProduct(torch.autograd.Function):
    """A product that torch cannot see."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return torch.from_numpy(x.detach().numpy() @ weight.detach().numpy())

    @staticmethod
    def backward(ctx, gradient):
        x, weight = (tensor.detach().numpy() for tensor in ctx.saved_tensors)
        gradient = gradient.numpy()
        return torch.from_numpy(gradient @ weight.T), torch.from_numpy(x.T @ gradient)


class CustomKernel(nn.Module):
    """Half of its work is seen, so that the count is positive and still wrong."""

    def __init__(self, *, with_head: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.weight = nn.Parameter(torch.ones(8, 8))
        self.head = nn.Linear(8, 9, bias=False) if with_head else nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens).flatten(0, 1)
        return self.head(NumpyProduct.apply(x, self.weight))


def next_token_flat(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return next_token(outputs, targets.flatten())


def test_a_custom_kernel_is_noticed():
    with pytest.raises(UserError, match="custom kernel") as caught:
        measure_size(CustomKernel, tokens(2, 4, 9), next_token_flat, 8, "token")
    message = str(caught.value)
    assert "CustomKernel" in message
    assert f"{6 * 8 * 9} training FLOPs per token for {8 * 8 + 8 * 9}" in message
    assert "flops_per_unit()" in message


def test_only_tokens_are_held_to_six_flops_per_parameter():
    measure = measure_size(CustomKernel, tokens(2, 4, 9), next_token_flat, 8, "image")
    assert measure.flops_per_unit == 6 * 8 * 9


def test_a_count_of_nothing_is_refused_for_any_unit():
    with pytest.raises(UserError, match="counter saw 0 training FLOPs per image"):
        measure_size(
            lambda: CustomKernel(with_head=False),
            (tokens(2, 4, 9)[0], torch.zeros(8, 8)),
            mean_square,
            8,
            "image",
        )


@pytest.mark.parametrize(("seen", "is_error"), [(5.4, True), (5.6, False)])
def test_the_limit_is_5_5_flops_per_parameter(seen, is_error):
    # 100 weights in a matrix and `idle` others: 600 / (100 + idle) FLOPs per parameter.
    idle = round(600 / seen) - 100

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(3, 10)
            self.matrix = nn.Linear(10, 10, bias=False)
            self.idle = nn.Parameter(torch.ones(idle))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.matrix(self.embedding(tokens))

    def measured():
        return measure_size(Model, tokens(1, 4, 3), next_token, 4, "token")

    if is_error:
        with pytest.raises(UserError, match="custom kernel"):
            measured()
    else:
        assert measured().flops_per_unit == 600
