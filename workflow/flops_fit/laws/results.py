"""The results that every approach returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.forms.parabola import Parabola, has_minimum
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.forms.quantities import Draws
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.judgement.judgement import Judgement

Status = Literal["ok", "unsupported", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A measured compute optimum: C in FLOPs, D_opt in units, L_opt in nats per unit."""

    C: float
    N_opt: float
    D_opt: float
    L_opt: float
    at_edge: bool
    """The optimum is not enclosed by measured sizes on both sides."""
    n: int
    """Number of runs that the optimum rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One budget's runs and the parabola L = c0 + c1 u + c2 u^2 with u = log N - log_N_center."""

    C: float
    N: NDArray[np.float64]
    L: NDArray[np.float64]
    weights: NDArray[np.float64]
    log_N_center: float
    coefficients: tuple[float, float, float]
    curvature_p_value: float | None
    """One-sided p-value of c2 > 0; None where the parabola interpolates its points."""
    r_squared: float | None

    @property
    def log_N_range(self) -> tuple[float, float]:
        """Natural logs of the smallest and the largest N."""
        return float(np.log(self.N.min())), float(np.log(self.N.max()))

    @property
    def parabola(self) -> Parabola:
        """The parabola as a function of log N."""
        return Parabola(centre=self.log_N_center, coefficients=self.coefficients)

    @property
    def has_minimum(self) -> bool:
        """Whether the parabola opens upwards by more than rounding errors."""
        low, high = self.log_N_range
        return bool(has_minimum(self.coefficients, (high - low) / 2, self.L))

    @property
    def log_N_opt(self) -> float:
        """Natural log of N at the vertex; NaN without a minimum."""
        return float(self.parabola.vertex)

    @property
    def L_opt(self) -> float:
        """The parabola's value at its vertex, nats per unit; NaN without a minimum."""
        return float(self.parabola.lowest)

    @property
    def position(self) -> float:
        """Where the vertex lies in the range of log N: 0 at the smallest size, 1 at the largest."""
        low, high = self.log_N_range
        return (self.log_N_opt - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Predictions at one C; N_opt and D_opt together spend exactly C."""

    C: float
    extrapolated: bool
    """C lies outside the budgets that were measured."""
    N_opt: float
    D_opt: float
    L_opt: float | None
    D_per_N: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproachResult:
    """The outcome of one approach. The laws are None unless the status is "ok"."""

    status: Status
    reason: str | None = None
    N_opt: PowerLaw | None = None
    D_opt: PowerLaw | None = None
    L_opt: PowerLaw | None = None
    points: tuple[Point, ...] = ()
    profiles: tuple[Profile, ...] = ()
    surface: Surface | None = None
    objective: float | None = None
    """What the surface minimises, a sum over runs."""
    scatter: float | None = None
    """Scatter of the optima about their law, in multiples of what the noise of their runs explains;
    None where there is nothing to tell it by."""
    judgements: tuple[Judgement, ...] = ()


def law_estimates(result: ApproachResult, predictions: tuple[Prediction, ...]) -> Draws:
    """Return the quantities of laws and of their predictions, named as draws of them are."""
    quantities: Draws = {}
    for name in ("N_opt", "D_opt", "L_opt"):
        law = getattr(result, name)
        values = [np.nan] * 3
        if law is not None:
            values = [np.log(law.coefficient), law.exponent, law.offset]
        keys = (f"{name} {key}" for key in ("log coefficient", "exponent", "offset"))
        quantities |= dict(zip(keys, values, strict=True))
    N, D = (np.array([getattr(p, name) for p in predictions]) for name in ("N_opt", "D_opt"))
    L = np.array([np.nan if p.L_opt is None else p.L_opt for p in predictions])
    return quantities | {
        "log N_opt": np.log(N),
        "log D_opt": np.log(D),
        "log D_per_N": np.log(D / N),
        "L_opt": L,
    }
