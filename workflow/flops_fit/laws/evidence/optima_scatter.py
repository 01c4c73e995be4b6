"""Whether the optima of approach 2 scatter about their power law by more than their own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher_f

from flops_fit.laws.forms.parabola import ParabolaDesign
from flops_fit.laws.results import Profile

SIGNIFICANCE = 0.05
"""Probability below which the excess is not put down to chance."""


@dataclass(frozen=True, slots=True)
class OptimaScatter:
    """The scatter of log N_opt about its law, in units of what the profiles' noise explains.

    Parameters
    ----------
    ratio : float
        Root of the reduced chi square (Birge ratio).
    p_value : float
        Of an F-test: the probability of such a ratio from noise alone.
    """

    ratio: float = 1.0
    p_value: float = 1.0

    @property
    def widening(self) -> float:
        """Factor by which the law is more uncertain than by noise; 1 if that may be chance."""
        return self.ratio if self.p_value < SIGNIFICANCE else 1.0


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
