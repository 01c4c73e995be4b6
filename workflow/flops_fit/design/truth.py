"""The law that simulated studies are drawn from, and their noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.prior import PriorLaw, prior_of
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.surface import Surface

Array = NDArray[np.float64]

SCATTER = 0.003
"""Standard deviation of log L from run to run where none is stated: public sweeps scatter by 0.2%
to 0.8% about their valleys (`laws.answer.priors`), two seeds of one model differ by 0.1%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A law with noise.

    Parameters
    ----------
    surface : Surface
        Expected losses, nats per unit.
    noise : float
        Standard deviation of log L from run to run.
    name, source : str
        What it is called, and where its figures are from.
    """

    surface: Surface
    noise: float
    name: str
    source: str

    def log_losses(self, N: Array, D: Array, rng: np.random.Generator | None = None) -> Array:
        """Return log L of one run at each N and D, shape (n,); without `rng` what is expected."""
        expected = np.log(self.surface.loss(N, D))
        if rng is None:
            return expected
        return expected + self.noise * rng.standard_normal(expected.shape)


def truth_of(
    value: float | str | Mapping[str, float] | None,
    prior: PriorLaw | None,
    flops: FlopsPerUnit,
    budget: float,
    folder: str | Path = ".",
) -> Truth:
    """Return the law that losses are simulated from.

    Parameters
    ----------
    value : number, str, mapping or None
        What `prior_of` takes, or E, A, B, alpha, beta (and noise); None for the prior's own mean.
    prior : PriorLaw or None
        Needed where there is no value.
    flops, budget, folder
        As in `prior_of`.

    Raises
    ------
    UserError
        As `prior_of` does.
    """
    if isinstance(value, Mapping):
        names = ("E", "A", "B", "alpha", "beta")
        surface = Surface(**{name: float(value[name]) for name in names})
        return Truth(
            surface=surface,
            noise=float(value.get("noise", SCATTER)),
            name=", ".join(f"{name} {float(value[name]):g}" for name in names),
            source="as stated",
        )
    law = prior if value is None else prior_of(value, flops, budget, folder)
    return Truth(surface=law.surface, noise=SCATTER, name=law.name, source=law.source)
