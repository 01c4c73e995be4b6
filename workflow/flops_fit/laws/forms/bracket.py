"""The surface L(N, D) = E + (A/N^alpha + B/D^beta)^gamma."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.forms.surface import Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketSurface(Surface):
    """L(N, D) = E + (A/N^alpha + B/D^beta)^gamma.

    The form of Kaplan et al. 2020 (arXiv 2001.08361, equation 1.5) with an E: gamma < 1 lets the
    worse of model and data decide, gamma > 1 lets each make the other's want worse. A power of the
    bracket does not move its minimum: a, b, G and N_opt are those of `Surface`.

    Parameters
    ----------
    gamma : float
        Positive; 1 is `Surface`.
    """

    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "gamma", "a", "b")
    columns: ClassVar[tuple[str, ...]] = ("log A", "log B", "log E", "alpha", "beta", "gamma")

    gamma: float

    def loss(self, N: ArrayLike, D: ArrayLike) -> NDArray[np.float64]:
        """Return L at `N` parameters and `D` units, arrays that broadcast."""
        log_N, log_D = np.log(np.asarray(N, dtype=float)), np.log(np.asarray(D, dtype=float))
        with np.errstate(divide="ignore"):
            log_A, log_B = np.log(self.A), np.log(self.B)
        bracket = np.logaddexp(log_A - self.alpha * log_N, log_B - self.beta * log_D)
        return self.E + np.exp(self.gamma * bracket)

    def to_row(self) -> NDArray[np.float64]:
        """Return log A, log B, log E, alpha, beta, gamma."""
        return np.append(Surface.to_row(self), self.gamma)

    @classmethod
    def from_row(cls, row: ArrayLike) -> BracketSurface:
        """Read log A, log B, log E, alpha, beta, gamma."""
        plain = Surface.from_row(np.asarray(row)[:5])
        return cls(
            E=plain.E, A=plain.A, B=plain.B, alpha=plain.alpha, beta=plain.beta,
            gamma=float(np.asarray(row)[5]),
        )  # fmt: skip
