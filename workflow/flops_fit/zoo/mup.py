"""The zoo's GPT in the maximal update parametrization (muP): one learning rate for all widths.

Yang et al. 2022 (arXiv 2203.03466), table 3, for Adam, with every factor 1 at a base width, where
the model is that of `flops_fit.zoo.gpt`. It is a module of its own so that the code of that one,
and with it the fingerprint in the records of earlier trainings, stays as it is.

| weights                     | initial standard deviation | learning rate |
|-----------------------------|----------------------------|---------------|
| embedding, gains            | as it is                   | lr            |
| matrices between the layers | 1/sqrt(fan-in), as it is   | lr base/width |
| head                        | sqrt(base)/width           | lr base/width |

The learning rates are those of ``train.lr_scaling: {power: -1, reference_size: base, apply:
matrices}``. Attention divides by the heads' width instead of its root (definition 4.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from flops_fit.errors import UserError
from flops_fit.zoo import gpt

PARAMETRIZATIONS = ("mup", "standard")


class Attention(gpt.Attention):
    """Attention whose logits are q k sqrt(base_head_dim) / head_dim."""

    def __init__(self, d_model: int, head_dim: int, base_head_dim: float) -> None:
        super().__init__(d_model, head_dim)
        self.scale = math.sqrt(base_head_dim) / head_dim

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, d = x.shape
        qkv = self.query_key_value(x).view(B, T, 3, -1, self.head_dim)  # (B, T, 3, H, h)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, h) each
        q, k = gpt.rotate(q, cos, sin), gpt.rotate(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return self.output(mixed.transpose(1, 2).reshape(B, T, d))  # (B, T, d)


class GPT(gpt.GPT):
    """`flops_fit.zoo.gpt.GPT` in muP.

    Parameters
    ----------
    d_model : int
        Width of the residual stream.
    base_width : int
        The width at which it is the standard one, and learning rates apply unscaled.
    parametrization : str
        ``mup``, or ``standard`` to compare with.
    n_layer, vocab_size, seq_len, head_dim, n_head
        As there. Heads of one width (`head_dim`) or one number of them (`n_head`): both transfer.

    Raises
    ------
    UserError
        As there, or for a base width that is no positive integer, another parametrization.
    """

    def __init__(
        self,
        d_model: int,
        *,
        base_width: int,
        n_layer: int,
        vocab_size: int,
        seq_len: int,
        head_dim: int = 16,
        n_head: int | None = None,
        parametrization: str = "mup",
    ) -> None:
        if isinstance(base_width, bool) or not isinstance(base_width, int) or base_width < 1:
            raise UserError(
                f"GPT: base_width is {base_width!r}; expected an integer of at least 1, the "
                "d_model at which learning rates apply unscaled."
            )
        if parametrization not in PARAMETRIZATIONS:
            raise UserError(
                f"GPT: parametrization is {parametrization!r}; expected one of "
                f"{', '.join(PARAMETRIZATIONS)}."
            )
        super().__init__(
            d_model,
            n_layer=n_layer,
            vocab_size=vocab_size,
            seq_len=seq_len,
            head_dim=head_dim,
            n_head=n_head,
        )
        self.head_factor = 1.0  # of the head's initial weights
        if parametrization == "mup":
            self.head_factor = math.sqrt(base_width / d_model)
            base_head = base_width / n_head if n_head else min(base_width, head_dim)
            for block in self.blocks:
                block.attention = Attention(d_model, self.head_dim, base_head)
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew, the same numbers as the standard GPT, then scale the head's."""
        super().reset_parameters()
        # The first call comes from the standard GPT's own constructor.
        self.head.weight.mul_(getattr(self, "head_factor", 1.0))
