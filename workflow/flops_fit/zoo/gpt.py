"""A small decoder-only transformer, plain enough to read at a sitting and to compare with.

Shape legend: B sequences, T positions, d model width, H heads, h head width, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from flops_fit.errors import UserError

_ROTARY_BASE = 10_000.0
_NORM_EPS = 1e-6


def rotary_tables(
    n_positions: int,
    head_dim: int,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position embedding.

    Channel pair j of position t turns by the angle t * base^(-2 j / head_dim), base = 10000
    (Su et al. 2021, arXiv 2104.09864, section 3.2.2, equation 15; j counts from 0 here).

    Returns
    -------
    cos, sin : Tensor, shape (n_positions, head_dim / 2)
    """
    pair = torch.arange(head_dim // 2, device=device, dtype=dtype)
    frequency = torch.exp(pair * (-2.0 * math.log(_ROTARY_BASE) / head_dim))
    position = torch.arange(n_positions, device=device, dtype=dtype)
    angle = position[:, None] * frequency  # (T, h/2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs (j, j + head_dim / 2) of `x` by the angles of their positions.

    Parameters
    ----------
    x : Tensor, shape (..., T, head_dim)
    cos, sin : Tensor, shape (T, head_dim / 2)
        From `rotary_tables`.

    Returns
    -------
    Tensor, shape (..., T, head_dim), with the type of `x`
        Half-precision inputs are turned in the tables' precision and rounded once.
    """
    first, second = x.chunk(2, dim=-1)  # (..., T, h/2) each
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)  # (..., T, h)


class Attention(nn.Module):
    """Causal multi-head self-attention with rotary positions and no biases."""

    def __init__(self, d_model: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, d = x.shape
        qkv = self.query_key_value(x)  # (B, T, 3 d)
        qkv = qkv.view(B, T, 3, -1, self.head_dim)  # (B, T, 3, H, h)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, h) each
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, h)
        return self.output(mixed.transpose(1, 2).reshape(B, T, d))  # (B, T, d)


class MLP(nn.Module):
    """Two linear maps around a GELU, four times as wide as the model, without biases."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, 4 * d_model, bias=False)
        self.output = nn.Linear(4 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.gelu(self.up(x))  # (B, T, 4 d)
        return self.output(hidden)  # (B, T, d)


class Block(nn.Module):
    """One pre-norm transformer layer: attention, then MLP, each added to the residual stream."""

    def __init__(self, d_model: int, head_dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(d_model, eps=_NORM_EPS)
        self.attention = Attention(d_model, head_dim)
        self.mlp_norm = nn.RMSNorm(d_model, eps=_NORM_EPS)
        self.mlp = MLP(d_model)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    """Decoder-only transformer: pre-norm RMSNorm, rotary positions, GELU MLP, no biases.

    With an untied head it has n_layer (12 d^2 + 2 d) + d + 2 V d parameters, and a training step
    spends 6 (12 n_layer d^2 + V d) + 12 n_layer T d FLOPs per token in matrix products (attention
    counted non-causally).

    Parameters
    ----------
    d_model : int
        Width of the residual stream.
    n_layer : int
        Number of blocks.
    vocab_size : int
        Number of tokens.
    seq_len : int
        Longest sequence that `forward` accepts.
    head_dim : int
        Widest head allowed. Heads are as wide as the largest even divisor of `d_model` up to
        `head_dim` (rotary positions turn pairs of channels): 16 of 64, but 12 of 24.
    n_head : int, optional
        Number of heads, for every width alike; `head_dim` then does not count.
    tie_head : bool
        Whether the output head shares the input table's weight.

    Raises
    ------
    UserError
        A number that is no positive integer, or a `d_model` whose heads would come out narrower
        than half of what was asked for, or that `n_head` does not divide into even widths.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_layer: int,
        vocab_size: int,
        seq_len: int,
        head_dim: int = 16,
        n_head: int | None = None,
        tie_head: bool = False,
    ) -> None:
        super().__init__()
        for name, value in {
            "d_model": d_model,
            "n_layer": n_layer,
            "vocab_size": vocab_size,
            "seq_len": seq_len,
            "head_dim": head_dim,
            "n_head": 1 if n_head is None else n_head,
        }.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"GPT: {name} is {value!r}; expected an integer of at least 1.")
        self.seq_len = seq_len
        if n_head is None:
            self.head_dim = _head_width(d_model, head_dim)
        elif d_model % (2 * n_head):
            raise UserError(
                f"GPT: d_model={d_model} does not divide into n_head={n_head} heads of even width; "
                f"choose a multiple of {2 * n_head}."
            )
        else:
            self.head_dim = d_model // n_head
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.ModuleList(Block(d_model, self.head_dim) for _ in range(n_layer))
        self.final_norm = nn.RMSNorm(d_model, eps=_NORM_EPS)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        if tie_head:
            self.head.weight = self.embedding.weight
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew: needed after a model built on the meta device got its memory.

        Matrices have standard deviation 1/sqrt(fan-in); those that write to the residual stream
        are divided by sqrt(2 n_layer), so that the stream's variance does not grow with depth. The
        head is a matrix like any other (a smaller one made short runs up to 0.1 nats worse and
        noisier between seeds); a tied table takes the head's scale.
        """
        nn.init.normal_(self.embedding.weight, std=0.5)
        for module in self.modules():
            if isinstance(module, nn.RMSNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        for block in self.blocks:
            for output in (block.attention.output, block.mlp.output):
                output.weight.div_(math.sqrt(2 * len(self.blocks)))

    def num_params(self) -> int:
        """Count all parameters, a tied weight once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def num_params_non_embedding(self) -> int:
        """Count the parameters without the input table; the head counts, tied or not."""
        is_tied = self.head.weight is self.embedding.weight
        return self.num_params() - (0 if is_tied else self.embedding.weight.numel())

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict the next token at every position.

        Parameters
        ----------
        tokens : Tensor of integers, shape (B, T)
            T may be shorter than `seq_len`.

        Returns
        -------
        Tensor, shape (B, T, V)
            Logits.

        Raises
        ------
        ValueError
            `tokens` is not two-dimensional, or longer than `seq_len`.
        """
        if tokens.ndim != 2 or tokens.shape[1] > self.seq_len:
            raise ValueError(
                f"GPT: tokens have shape {tuple(tokens.shape)}; expected (sequences, positions) "
                f"with at most seq_len={self.seq_len} positions: raise the model's seq_len or "
                "shorten the dataset's."
            )
        x = self.embedding(tokens)  # (B, T, d)
        # Computed here and not stored: a buffer would be broadcast by data-parallel training at
        # each step, and would have to follow every change of device and precision.
        cos, sin = rotary_tables(
            tokens.shape[1],
            self.head_dim,
            device=x.device,
            dtype=torch.promote_types(x.dtype, torch.float32),
        )  # (T, h/2) each
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.final_norm(x))  # (B, T, V)


def _head_width(d_model: int, head_dim: int) -> int:
    """Return the largest even divisor of `d_model` up to `head_dim`, if it is near `head_dim`."""
    widest = min(head_dim, d_model)
    even_divisors = (h for h in range(widest, 1, -1) if h % 2 == 0 and d_model % h == 0)
    width = next(even_divisors, 0)
    # Narrower heads would make one size a different kind of model from its neighbours.
    if 2 * width < widest or width == 0:
        raise UserError(
            f"GPT: d_model={d_model} has no even divisor between {math.ceil(widest / 2)} and "
            f"{widest} for the width of its heads (head_dim={head_dim}); choose a d_model that is "
            "a multiple of an even head_dim."
        )
    return width
