"""The interface of an approach: an object that fits laws to runs and predicts from them.

A new approach is a module in `approaches/` with one such object, and a line in the registry there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.noise_law import NoiseLaw
from flops_fit.laws.evidence.resampling import Resampler, Resampling
from flops_fit.laws.evidence.small_sample import restored_variance
from flops_fit.laws.forms.quantities import LAW_COLUMNS, Draws, lines_at
from flops_fit.laws.optima import optima_laws
from flops_fit.laws.predictions import predict_optima
from flops_fit.laws.results import ApproachResult, Prediction, law_estimates

Array = NDArray[np.float64]
Curves = Mapping[str, ArrayLike]
"""Training curves by run id: rows [step, D, train_loss, lr]."""

MIN_BUDGETS_FOR_OFFSET = 5
"""With fewer budgets, an offset fitted to L_opt extrapolates worse than a surface's E."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproachOptions:
    """What single approaches need besides the runs."""

    tied: bool = False
    """Keep alpha = beta in surfaces."""
    E: float | None = None
    """Keep this E in surfaces, and as the offset of L_opt; None to fit it."""
    noise: NoiseLaw | None = None
    """How noise changes with compute, by which runs are weighed; None weighs all alike."""
    curves: Curves | None = None
    decays: bool = True
    """Whether the learning rate decays towards each run's own end."""
    judged: bool = True
    """Whether surfaces are judged, which takes refits; hold-outs do without."""


@dataclass(frozen=True, kw_only=True)
class Approach(ABC):
    """One way from runs to laws. The defaults are those for power laws through points."""

    name: str
    """Its name in fit.json and in fit.approaches."""
    called: str
    """What it is called inside a sentence, for example "approach 2"."""
    does: str
    """What it fits, for example "IsoFLOP profiles"."""
    colour: str
    """Of its laws in figures, a colour that matplotlib knows; those there are come from Okabe and
    Ito's palette, which is told apart with the common colour-vision deficiencies."""
    marker: str
    """Of its optima in figures, a marker that matplotlib knows."""
    rank: int
    """Order of preference, the smallest first, where the evidence does not decide."""
    assumes_form: bool = False
    """Whether it fits a form to all runs. Such an approach is preferred if nothing speaks against
    it, since it uses every run."""
    is_robust: bool = False
    """Whether its fit withstands outliers."""
    is_reference: bool = False
    """Whether hold-outs take its profiles as the truth, and its hold-out errors as the standard
    that an approach with a form must not exceed by far."""
    lends_offset: bool = False
    """Whether its surface's E is the offset of L_opt if there are too few budgets to fit one."""
    flaws: Mapping[str, str] = field(default_factory=dict)
    """Codes of judgements that speak against it, and their names in a list."""
    columns: tuple[str, ...] = LAW_COLUMNS
    """What a row of parameters holds, see `parameters`."""

    @property
    def title(self) -> str:
        """Its name and what it fits, for example "approach 2: IsoFLOP profiles"."""
        return f"{self.called}: {self.does}"

    @abstractmethod
    def fit(self, runs: RunTable, flops: FlopsPerUnit, options: ApproachOptions) -> ApproachResult:
        """Fit it to the runs, at their best learning rates; `flops` are those of the same runs."""

    @abstractmethod
    def resampler(
        self,
        result: ApproachResult,
        runs: RunTable,
        flops: FlopsPerUnit,
        C: Array,
        options: ApproachOptions,
        resampling: Resampling,
    ) -> Resampler:
        """Return what draws its quantities from resampled runs, given a result that is ok.

        The draws have the keys of `estimates`; those of predictions are at `C`, FLOPs, (n_C,).
        """

    def small_sample_factor(
        self,
        result: ApproachResult,
        runs: RunTable,
        options: ApproachOptions,
        *,
        level: float,
        stratify: bool,
    ) -> float:
        """Return the factor by which percentiles are moved away from the estimate."""
        return restored_variance(runs, stratify=stratify)

    def scatter_factor(self, result: ApproachResult, *, level: float) -> float:
        """Return the factor by which draws of N_opt and D_opt are moved away from the estimate."""
        return 1.0

    def settled(self, options: ApproachOptions) -> tuple[str, ...]:
        """Return the quantities that the options settle, so that they have no interval."""
        return ()

    def predict(
        self,
        result: ApproachResult,
        C: Iterable[float],
        *,
        flops: FlopsPerUnit,
        budgets: Collection[float],
    ) -> tuple[Prediction, ...]:
        """Return the optimum at each C (FLOPs), as `predict_optima`."""
        return predict_optima(
            C, N_opt=result.N_opt, L_opt=result.L_opt, flops=flops, budgets=budgets
        )

    def estimates(
        self, result: ApproachResult, predictions: tuple[Prediction, ...], flops: FlopsPerUnit
    ) -> Draws:
        """Return the estimates behind the draws, with the same keys but without the first axis."""
        return law_estimates(result, predictions)

    def with_offset(
        self, result: ApproachResult, E: float, lender: str
    ) -> tuple[ApproachResult, str]:
        """Give L_opt's law its offset for a hold-out, and say where the offset comes from.

        Parameters
        ----------
        E : float
            Of the surface of another approach, which `lender` is called; 0 without one.
        """
        if len({point.C for point in result.points}) >= MIN_BUDGETS_FOR_OFFSET:
            return result, "fitted"
        offset = E if E < min(point.L_opt for point in result.points) else 0.0
        law = optima_laws(result.points, offset=offset)["L_opt"]
        source = f"E of {lender}, because the budgets are fewer than 5" if offset else "0"
        return replace(result, L_opt=law), source

    def parameters(self, result: ApproachResult) -> list[float | None]:
        """Return the row of `columns` from which `quantities` are computed; None is unknown."""
        N, L = result.N_opt, result.L_opt
        loss: list[float | None] = [None] * 3
        if L is not None:
            loss = [float(np.log(L.coefficient)), L.exponent, L.offset]
        return [float(np.log(N.coefficient)), N.exponent, *loss]

    def drawn_parameters(self, draws: Draws) -> Array:
        """Return the rows of `columns` of draws, shape (n_draws, n_columns)."""
        return np.stack([draws[name] for name in self.columns], axis=-1)

    def quantities(self, rows: Array, log_C: Array, flops: FlopsPerUnit) -> Draws:
        """Return log N_opt, log D_opt, log D_per_N, L_opt at each log C, and "N_opt exponent".

        Parameters
        ----------
        rows : ndarray, shape (n_rows, n_columns)
            Of `parameters`, NaN for unknown.
        """
        return lines_at(rows, log_C, flops)
