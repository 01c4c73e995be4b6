"""The zoo's GPT against a naive transformer, its closed forms, and what its docstring promises."""

from __future__ import annotations

import math

import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.zoo.gpt import GPT, rotary_tables, rotate


def small_gpt(**kwargs) -> GPT:
    torch.manual_seed(0)
    settings = {"d_model": 12, "n_layer": 2, "vocab_size": 11, "seq_len": 9, "head_dim": 6}
    return GPT(**(settings | kwargs)).double()


def random_tokens(n_sequences: int, n_positions: int, vocab_size: int = 11) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(vocab_size, (n_sequences, n_positions), generator=generator)


def rms_normalised(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def naive_attention(x: torch.Tensor, weight: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Causal attention of one sequence (T, d) by loops; channel pairs turn as complex numbers."""
    T, d = x.shape
    half = head_dim // 2
    queries, keys, values = (x @ weight.T).split(d, dim=-1)
    mixed = torch.zeros(T, d, dtype=x.dtype)

    def turned(row: torch.Tensor, position: int) -> torch.Tensor:
        angles = [position * 10_000 ** (-2 * j / head_dim) for j in range(half)]
        turns = torch.exp(1j * torch.tensor(angles, dtype=x.dtype))
        return torch.complex(row[:half], row[half:]) * turns

    for head in range(d // head_dim):
        own = slice(head * head_dim, (head + 1) * head_dim)
        for t in range(T):
            query = turned(queries[t, own], t)
            scores = torch.stack(
                [(query.conj() * turned(keys[s, own], s)).real.sum() for s in range(t + 1)]
            )
            shares = torch.softmax(scores / math.sqrt(head_dim), dim=0)
            mixed[t, own] = shares @ values[: t + 1, own]
    return mixed


@torch.no_grad()
def naive_logits(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    x = model.embedding.weight[tokens]
    for block in model.blocks:
        attention, mlp = block.attention, block.mlp
        normal = rms_normalised(x, block.attention_norm.weight)
        mixed = naive_attention(normal, attention.query_key_value.weight, model.head_dim)
        x = x + mixed @ attention.output.weight.T
        up = rms_normalised(x, block.mlp_norm.weight) @ mlp.up.weight.T
        gelu = up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))
        x = x + gelu @ mlp.output.weight.T
    return rms_normalised(x, model.final_norm.weight) @ model.head.weight.T


def test_logits_equal_those_of_a_naive_transformer():
    model = small_gpt()
    with torch.no_grad():
        for parameter in model.parameters():  # norms of 1 would hide a norm that is not applied
            parameter.add_(0.3 * torch.randn_like(parameter))
    tokens = random_tokens(1, 9)
    logits = model(tokens)
    assert logits.shape == (1, 9, 11)
    # float64, some thousand additions per logit of order 1: rounding alone is near 1e-14.
    torch.testing.assert_close(logits[0], naive_logits(model, tokens[0]), rtol=1e-12, atol=1e-12)


def test_batch_is_independent_sequences_and_short_ones_are_prefixes():
    model = small_gpt()
    tokens = random_tokens(3, 9)
    together = model(tokens)
    alone = torch.cat([model(row[None, :5]) for row in tokens])
    torch.testing.assert_close(together[:, :5], alone, rtol=1e-12, atol=1e-12)


def test_no_logit_sees_a_later_token():
    model = small_gpt()
    tokens = random_tokens(1, 9)
    logits = model(tokens)
    for changed in range(9):
        other = tokens.clone()
        other[0, changed] = (other[0, changed] + 1) % 11
        difference = (model(other) - logits).abs().amax(-1)[0]
        assert torch.equal(difference[:changed], torch.zeros(changed, dtype=torch.float64))
        assert (difference[changed:] > 0).all()


def test_rotated_products_depend_on_the_distance_alone():
    n_positions, head_dim = 40, 8
    generator = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, head_dim, generator=generator, dtype=torch.float64)
    cos, sin = rotary_tables(n_positions, head_dim, dtype=torch.float64)
    assert cos.shape == sin.shape == (n_positions, head_dim // 2)
    queries = rotate(q.expand(n_positions, -1), cos, sin)
    keys = rotate(k.expand(n_positions, -1), cos, sin)
    products = queries @ keys.T
    torch.testing.assert_close(products.diagonal(), (q @ k).expand(n_positions))
    by_distance = [products.diagonal(offset) for offset in range(-20, 21)]
    for values in by_distance:
        # Angles up to 40 rad carry a relative rounding of 1e-16 each.
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=0, atol=1e-12)
    first_of_each = torch.stack([values[0] for values in by_distance])
    assert first_of_each.std() > 0.1


def test_rotation_keeps_half_precision():
    cos, sin = rotary_tables(4, 8)
    assert rotate(torch.ones(4, 8, dtype=torch.bfloat16), cos, sin).dtype == torch.bfloat16


@pytest.mark.parametrize(("d", "n_layer", "V"), [(8, 1, 5), (24, 3, 256), (64, 2, 100)])
def test_parameter_counts_match_the_closed_form(d, n_layer, V):
    settings = {"n_layer": n_layer, "vocab_size": V, "seq_len": 4}
    blocks = n_layer * (12 * d**2 + 2 * d) + d
    untied = GPT(d, **settings)
    assert untied.num_params() == blocks + 2 * V * d
    assert untied.num_params_non_embedding() == blocks + V * d
    tied = GPT(d, **settings, tie_head=True)
    assert tied.num_params() == tied.num_params_non_embedding() == blocks + V * d


def test_initial_scales():
    torch.manual_seed(3)
    d, n_layer, V = 128, 3, 600
    model = GPT(d, n_layer=n_layer, vocab_size=V, seq_len=4)
    expected = {"embedding.weight": 0.5, "head.weight": 1 / math.sqrt(d)}
    for index in range(n_layer):
        expected |= {
            f"blocks.{index}.attention.query_key_value.weight": d**-0.5,
            f"blocks.{index}.attention.output.weight": d**-0.5 / math.sqrt(2 * n_layer),
            f"blocks.{index}.mlp.up.weight": d**-0.5,
            f"blocks.{index}.mlp.output.weight": (4 * d) ** -0.5 / math.sqrt(2 * n_layer),
        }
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert torch.equal(parameter, torch.ones(d)), name
            continue
        # The standard deviation of n normal numbers scatters by 1/sqrt(2 n): at most 0.6% here.
        assert parameter.std().item() == pytest.approx(expected.pop(name), rel=0.03), name
        assert abs(parameter.mean().item()) < 0.03 * parameter.std().item(), name
    assert not expected


def test_initial_loss_is_that_of_knowing_nothing():
    model = small_gpt(d_model=64, vocab_size=256, seq_len=64, head_dim=16)
    tokens = random_tokens(8, 64, vocab_size=256)
    loss = torch.nn.functional.cross_entropy(
        model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    )
    # Logits of standard deviation 1 add 1/2 to ln V; 504 targets scatter by 1/sqrt(504) = 0.045.
    assert loss.item() == pytest.approx(math.log(256) + 0.5, abs=0.15)


def test_tied_head_is_one_weight_with_the_heads_scale():
    model = small_gpt(tie_head=True, d_model=64, vocab_size=256)
    assert model.head.weight is model.embedding.weight
    # 16384 normal numbers: the standard deviation scatters by 0.6%.
    assert model.head.weight.std().item() == pytest.approx(1 / 8, rel=0.03)


@pytest.mark.parametrize(
    ("d_model", "head_dim", "expected"),
    [
        (8, 16, 8),
        (12, 16, 12),
        (16, 16, 16),
        (24, 16, 12),
        (40, 16, 10),
        (48, 16, 16),
        (96, 64, 48),
    ],
)
def test_heads_are_the_widest_even_divisor(d_model, head_dim, expected):
    model = GPT(d_model, n_layer=1, vocab_size=5, seq_len=4, head_dim=head_dim)
    assert model.head_dim == expected
    assert model(random_tokens(2, 4, 5)).shape == (2, 4, 5)


@pytest.mark.parametrize(("d_model", "head_dim"), [(22, 16), (15, 16), (1, 16), (8, 1), (18, 16)])
def test_widths_without_fitting_heads_are_refused(d_model, head_dim):
    with pytest.raises(UserError, match=f"d_model={d_model} has no even divisor between"):
        GPT(d_model, n_layer=1, vocab_size=5, seq_len=4, head_dim=head_dim)


def test_a_number_of_heads_holds_for_every_width():
    for d_model in (8, 24, 96):
        model = GPT(d_model, n_layer=1, vocab_size=5, seq_len=4, n_head=2)
        assert model.head_dim == d_model // 2
    with pytest.raises(UserError, match="n_head=2 heads of even width; choose a multiple of 4"):
        GPT(10, n_layer=1, vocab_size=5, seq_len=4, n_head=2)


@pytest.mark.parametrize(
    "name", ["n_head", "d_model", "n_layer", "vocab_size", "seq_len", "head_dim"]
)
@pytest.mark.parametrize("value", [0, -8, 8.0, "8", True])
def test_numbers_are_positive_integers(name, value):
    with pytest.raises(UserError, match=rf"{name} is {value!r}; expected an integer"):
        small_gpt(**{name: value})


@pytest.mark.parametrize("shape", [(1, 10), (9,)])
def test_tokens_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"tokens have shape .* at most seq_len=9"):
        small_gpt()(torch.zeros(shape, dtype=torch.int64))


def test_meta_model_runs_and_gets_the_same_weights_once_it_has_memory():
    settings = {"n_layer": 2, "vocab_size": 11, "seq_len": 9, "head_dim": 6}
    with torch.device("meta"):
        model = GPT(12, **settings)
    assert model(torch.zeros(2, 9, dtype=torch.int64, device="meta")).device.type == "meta"
    model.to_empty(device="cpu")
    torch.manual_seed(4)
    model.reset_parameters()
    with torch.random.fork_rng():
        built = GPT(12, **settings)
    torch.manual_seed(4)
    built.reset_parameters()
    for name, parameter in built.named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name]), name


def test_nothing_but_parameters_is_stored():
    model = small_gpt()
    assert list(model.buffers()) == []
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_gradients_reach_every_parameter():
    model = small_gpt()
    model(random_tokens(2, 9)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
