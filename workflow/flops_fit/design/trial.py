"""A plan that is tried out: many simulated studies of it, and what was foreseen of them."""

from __future__ import annotations

from dataclasses import dataclass

from flops_fit.design.forecast import NO_FORECAST, Forecast, forecast
from flops_fit.design.score import Score, score
from flops_fit.design.simulation import Progress, Simulated, Sweep, simulate
from flops_fit.design.truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Many simulated studies of one plan.

    Parameters
    ----------
    spend : float or None
        What a design may spend, FLOPs; None for a grid, which has its price.
    sweep, truth
        What was simulated, against which law.
    foreseen : Forecast or None
        What is expected of it, if that law is; None where no complete design is.
    studies, score
        What came of it.
    """

    spend: float | None
    sweep: Sweep
    truth: Truth
    foreseen: Forecast | None
    studies: tuple[Simulated, ...]
    score: Score

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        truth: Truth,
        n: int,
        *,
        spend: float | None = None,
        seed: int = 0,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Trial:
        """Simulate `n` studies, see `flops_fit.design.simulation.simulate`.

        Raises
        ------
        DesignError
            If no design is possible.
        """
        found = simulate(sweep, truth, n, seed=seed, workers=workers, progress=progress)
        return cls(
            spend=spend,
            sweep=sweep,
            truth=truth,
            foreseen=_foreseen(sweep, truth),
            studies=tuple(found),
            score=score(found, sweep, truth),
        )


def _foreseen(sweep: Sweep, truth: Truth) -> Forecast | None:
    try:
        return forecast(sweep, truth)
    except NO_FORECAST:
        return None
