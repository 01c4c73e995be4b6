"""Published laws by name: where they say that the optimum lies, each figure with its source.

What is taken from a law is D_opt, since units of data are counted alike by all, while N counts
embeddings or not, and C counts attention or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flops_fit.design.law_names import LAW_NAMES
from flops_fit.laws.forms.surface import Surface

SIX = 6.0
"""FLOPs per parameter and token in C = 6 N D, by which these laws count (Kaplan et al. 2020, arXiv
2001.08361, section 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLaw:
    """A law of the optimum, D_opt = coefficient * C^b under C = 6 N D.

    Parameters
    ----------
    name : str
        As it is written in a configuration.
    title, source : str
        What it is, and where its figures are from.
    coefficient, b : float
        D_opt in tokens at C FLOPs.
    surface : Surface or None
        What the law says of losses, in nats per token, if it says anything.
    measured : (float, float)
        The FLOPs that it was fitted to.
    """

    name: str
    title: str
    source: str
    coefficient: float
    b: float
    surface: Surface | None
    measured: tuple[float, float]

    def log_D_opt(self, log_C: float) -> float:
        """Return log D_opt at log C (natural logs; tokens, FLOPs)."""
        return float(np.log(self.coefficient) + self.b * log_C)


def _of_surface(surface: Surface, **about: object) -> PublishedLaw:
    """Return the law of a surface's optimum: D_opt = (C/6)^b / G (Hoffmann et al. 2022, eq. 4)."""
    return PublishedLaw(
        coefficient=SIX**-surface.b / surface.G, b=surface.b, surface=surface, **about
    )


_HOFFMANN_RUNS = (6e18, 3e21)
"""Hoffmann et al. 2022, figure 3: the budgets of their IsoFLOP profiles."""

_LAWS = (
    _of_surface(
        Surface(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
        name="chinchilla",
        title="Chinchilla as refitted by Besiroglu et al. 2024",
        source="arXiv 2404.10102",
        measured=_HOFFMANN_RUNS,
    ),
    _of_surface(
        Surface(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
        name="hoffmann",
        title="approach 3 of Hoffmann et al. 2022, as printed",
        source="arXiv 2203.15556, equation 10",
        measured=_HOFFMANN_RUNS,
    ),
    PublishedLaw(
        name="llama3",
        title="the power law of Llama 3, D_opt = 0.29 C^0.53",
        source="arXiv 2407.21783, section 3.2.1",
        coefficient=0.29,
        b=0.53,
        surface=None,
        measured=(6e18, 1e22),
    ),
    PublishedLaw(
        name="deepseek",
        title="the power law of DeepSeek LLM, D_opt = 5.8316 C^0.4757",
        source="arXiv 2401.02954, section 3.2",
        coefficient=5.8316,
        b=0.4757,
        surface=None,
        measured=(1e17, 3e20),
    ),
)

PUBLISHED = dict(zip(LAW_NAMES, _LAWS, strict=True))
"""All of them by name."""
