"""Whether the optima of approach 2 scatter about their power law by more than their own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import f as fisher_f
from scipy.stats import t as student_t

from flops_fit.laws.forms.parabola import ParabolaDesign
from flops_fit.laws.results import Profile

SIGNIFICANCE = 0.05
"""Probability below which the excess is said. The intervals have no such threshold."""

NO_EXCESS = 0.5
"""Prior probability that the optima scatter by their own noise alone: even odds."""

USUAL_EXCESS = 100.0
"""The other half lies evenly in the logarithm of the excess (Jeffreys' prior of a scale) up to this
ratio, and with the same density beyond. Of 1500 simulated sweeps each, of 3 x 5 to 8 x 7 runs, such
intervals of nominal 90% held the truth in 92 to 97% without excess and in 82 to 90% with 2, 4 or 20
times the noise; a test at 5% that widens or does not gave 91 to 92% and 74 to 90%."""

N_EXCESSES = 200
"""Ratios that stand for all, in steps of 3% or a little more."""


@dataclass(frozen=True, slots=True)
class OptimaScatter:
    """The scatter of log N_opt about its law, in units of what the profiles' noise explains.

    Parameters
    ----------
    ratio : float or None
        Root of the reduced chi square (Birge ratio); None where there is nothing to tell it by.
    p_value : float
        Of an F-test: the probability of such a ratio from noise alone.
    """

    ratio: float | None = None
    p_value: float = 1.0

    @property
    def is_significant(self) -> bool:
        """Whether the excess is said."""
        return self.p_value < SIGNIFICANCE


def scattered_quantile(ratio: float, level: float, *, line: int, runs: int) -> float:
    """Return the half-width of a law's interval over the standard error that its noise gives.

    The law's standard error is phi >= 1 times that of the profiles' noise. Given phi, noise and
    scatter together estimate one variance, runs + ratio^2 line / phi^2 over their degrees of
    freedom, and the law has Student's distribution with both. The posterior of phi is proportional
    to its prior times phi^-line (runs + line ratio^2 / phi^2)^(-(line + runs) / 2), and the
    interval is that of the mixture. So it is a smooth function of the ratio, without a test.

    Parameters
    ----------
    ratio : float
        Of `OptimaScatter`.
    level : float
        Nominal coverage, between 0 and 1.
    line, runs : int
        Degrees of freedom of the optima about their law, and of the runs about their profiles.
    """
    step = np.log(USUAL_EXCESS * (1 + ratio)) / N_EXCESSES
    phi = np.exp(np.concatenate([[0.0], (np.arange(N_EXCESSES) + 0.5) * step]))
    prior = np.full(phi.size, (1 - NO_EXCESS) / np.log(USUAL_EXCESS) * step)
    prior[0] = NO_EXCESS
    pooled = runs + line * (ratio / phi) ** 2
    evidence = np.log(prior) - line * np.log(phi) - (line + runs) / 2 * np.log(pooled)
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    scale = phi * np.sqrt(pooled / (line + runs))
    tail = (1 + level) / 2
    ends = student_t.ppf(tail, line + runs) * scale
    return float(
        brentq(
            lambda x: (weights * student_t.cdf(x / scale, line + runs)).sum() - tail,
            ends.min(),
            ends.max(),
        )
    )


def optima_scatter(profiles: Sequence[Profile]) -> OptimaScatter:
    """Compare the optima with the line that fits them best, each by its own standard error.

    The noise is that of all residuals of the profiles; a vertex -c1/(2 c2) has its variance by the
    covariance of c1 and c2 (delta method). The remainder is scatter between budgets: batch sizes or
    learning rates that did not suit the budget, or optima that no power law joins.

    Parameters
    ----------
    profiles
        With a minimum each.
    """
    freedom = sum(profile.N.size - 3 for profile in profiles)
    if len(profiles) < 3 or freedom < 1:
        return OptimaScatter()
    squares, variances = 0.0, []
    for profile in profiles:
        design = ParabolaDesign.of(np.log(profile.N), profile.weights)
        squares += float((design.residuals(profile.L) ** 2).sum())
        _, c1, c2 = profile.coefficients
        slope = np.array([0.0, -1 / (2 * c2), c1 / (2 * c2**2)])
        variances.append(slope @ design.covariance(1 / profile.weights) @ slope)
    noise = squares / freedom
    rounding = 1e-24 * max(float(np.abs(profile.L).max()) for profile in profiles) ** 2
    if noise <= rounding:
        return OptimaScatter()
    log_C = np.log([profile.C for profile in profiles])
    log_N_opt = np.array([profile.log_N_opt for profile in profiles])
    root = 1 / np.sqrt(noise * np.array(variances))
    line = np.polyfit(log_C - log_C.mean(), log_N_opt, 1, w=root)
    residual = root * (log_N_opt - np.polyval(line, log_C - log_C.mean()))
    reduced = float((residual**2).sum()) / (len(profiles) - 2)
    return OptimaScatter(
        ratio=reduced**0.5, p_value=float(fisher_f.sf(reduced, len(profiles) - 2, freedom))
    )
