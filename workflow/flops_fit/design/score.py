"""How far simulated studies were off, and whether their intervals said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flops_fit.design.derivatives import optimum_at
from flops_fit.design.outcome import Interval, Outcome
from flops_fit.design.simulation import Simulated, Sweep
from flops_fit.design.truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Of one quantity over all studies that have it.

    Parameters
    ----------
    n : int
        Studies that have it.
    rms, bias : float
        Root mean square and mean of the errors of its natural logarithm.
    half : float
        Median of half the width of the 95% interval of the logarithm.
    covered : float
        Share of the intervals that hold the truth.
    """

    n: int
    rms: float
    bias: float
    half: float
    covered: float

    @classmethod
    def of(cls, found: Sequence[Interval], true: float) -> Errors | None:
        """Compare intervals with the truth; None without any."""
        if not found:
            return None
        errors = np.array([one.middle - true for one in found])
        return cls(
            n=len(found),
            rms=float(np.sqrt(np.mean(errors**2))),
            bias=float(np.mean(errors)),
            half=float(np.median([one.half for one in found])),
            covered=float(np.mean([one.holds(true) for one in found])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What many simulated studies of one kind came to.

    Parameters
    ----------
    studies : int
    experiments, rounds, spent : float
        Medians; FLOPs.
    filled, refused : float
        Shares of the studies in which a check failed, and that ended before their last round.
    refusal : str or None
        Why the first of these did.
    log_N, log_L : float
        The truth at the target, natural logs.
    answer, exact : pairs of Errors
        Of N_opt and of L_opt, by the answer, and by the surface.
    """

    studies: int
    experiments: float
    rounds: float
    spent: float
    filled: float
    refused: float
    refusal: str | None
    log_N: float
    log_L: float
    answer: tuple[Errors | None, Errors | None]
    exact: tuple[Errors | None, Errors | None]


def score(found: Sequence[Simulated], sweep: Sweep, truth: Truth) -> Score:
    """Compare simulated studies with the law that they were drawn from."""
    at = optimum_at(truth.surface.to_row()[np.newaxis], [np.log(sweep.target)], sweep.flops)
    log_N, log_L = float(at.log_N[0, 0]), float(at.log_L[0, 0])

    refusals = [one.refusal for one in found if one.refusal is not None]

    def errors(outcomes: Sequence[Outcome | None]) -> tuple[Errors | None, Errors | None]:
        known = [one for one in outcomes if one is not None]
        losses = [one.L for one in known if one.L is not None]
        return Errors.of([one.N for one in known], log_N), Errors.of(losses, log_L)

    return Score(
        studies=len(found),
        experiments=float(np.median([one.experiments for one in found])),
        rounds=float(np.median([one.rounds for one in found])),
        spent=float(np.median([one.spent for one in found])),
        filled=float(np.mean([one.filled for one in found])),
        refused=len(refusals) / len(found),
        refusal=refusals[0] if refusals else None,
        log_N=log_N,
        log_L=log_L,
        answer=errors([one.answer for one in found]),
        exact=errors([one.exact for one in found]),
    )
