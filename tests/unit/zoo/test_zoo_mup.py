"""The zoo's GPT in muP: the standard one at its base width, and table 3 of the paper elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.zoo import gpt, mup

SHAPE = {"n_layer": 2, "vocab_size": 11, "seq_len": 9}


def drawn(model):
    """A model with the weights that seed 3 gives."""
    torch.manual_seed(3)
    model.reset_parameters()
    return model


def weights(model) -> dict[str, torch.Tensor]:
    return dict(model.state_dict())


@pytest.mark.parametrize("heads", [{"head_dim": 8}, {"n_head": 4}])
def test_at_its_base_width_it_is_the_standard_gpt_bit_for_bit(heads):
    standard = drawn(gpt.GPT(16, **SHAPE, **heads))
    own = drawn(mup.GPT(16, base_width=16, **SHAPE, **heads))
    assert list(weights(own)) == list(weights(standard))
    for name, value in weights(standard).items():
        assert torch.equal(weights(own)[name], value), name
    tokens = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(own(tokens), standard(tokens), rtol=1e-6, atol=1e-6)
    assert own.num_params_non_embedding() == standard.num_params_non_embedding()


def test_elsewhere_the_head_alone_starts_smaller():
    """Table 3: the head's standard deviation falls as 1 / width, all others stay."""
    standard = drawn(gpt.GPT(64, **SHAPE))
    own = drawn(mup.GPT(64, base_width=16, **SHAPE))
    for name, value in weights(standard).items():
        factor = math.sqrt(16 / 64) if name == "head.weight" else 1
        assert torch.equal(weights(own)[name], factor * value), name


@pytest.mark.parametrize(
    ("heads", "head_dim", "scale"),
    [
        ({"n_head": 2}, 32, math.sqrt(8) / 32),  # heads of 8 at the base width
        ({"head_dim": 16}, 16, 1 / math.sqrt(16)),  # as wide as there
    ],
)
def test_attention_divides_by_the_width_of_its_heads(heads, head_dim, scale):
    own = mup.GPT(64, base_width=16, **SHAPE, **heads).double()
    attention = own.blocks[0].attention
    assert own.head_dim == attention.head_dim == head_dim
    x = torch.randn(1, 5, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cos, sin = gpt.rotary_tables(5, head_dim, dtype=torch.float64)
    split = attention.query_key_value(x).view(1, 5, 3, -1, head_dim).permute(2, 0, 3, 1, 4)
    q, k, v = gpt.rotate(split[0], cos, sin), gpt.rotate(split[1], cos, sin), split[2]
    logits = (q @ k.mT * scale).masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).reshape(1, 5, 64)
    torch.testing.assert_close(attention(x, cos, sin), attention.output(mixed))


def test_the_standard_parametrization_is_there_to_compare_with():
    own = drawn(mup.GPT(64, base_width=16, parametrization="standard", n_head=2, **SHAPE))
    standard = drawn(gpt.GPT(64, n_head=2, **SHAPE))
    tokens = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(1))
    assert torch.equal(own(tokens), standard(tokens))


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"base_width": 0}, "GPT: base_width is 0; expected an integer of at least 1, the d_model"),
        ({"base_width": 16.0}, "GPT: base_width is 16.0; expected an integer"),
        (
            {"base_width": 16, "parametrization": "muP"},
            "GPT: parametrization is 'muP'; expected one of mup, standard.",
        ),
    ],
)
def test_mistakes_are_sentences(kwargs, sentence):
    with pytest.raises(UserError) as caught:
        mup.GPT(16, **SHAPE, **kwargs)
    assert str(caught.value).startswith(sentence)
