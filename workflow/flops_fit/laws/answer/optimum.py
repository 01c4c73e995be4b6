"""A measured optimum, with its standard errors, and how noise is pooled over several of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTH_FLOOR = 0.2
"""Share of a typical curvature that stays where the losses show none, see `kept_positive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The lowest loss at one compute.

    Parameters
    ----------
    log_C : float
        Natural log of FLOPs.
    log_N, log_N_std_err : float
        Natural log of N_opt, and its standard error.
    L, L_std_err : float
        L_opt and its standard error, in the unit of the loss.
    n : int
        Runs that it rests on.
    """

    log_C: float
    log_N: float
    log_N_std_err: float
    L: float
    L_std_err: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        """Return an entry of `answer.points` in fit.json."""
        return {
            "C": float(np.exp(self.log_C)),
            "N_opt": float(np.exp(self.log_N)),
            "log_N_opt_std_err": self.log_N_std_err,
            "L_opt": self.L,
            "L_opt_std_err": self.L_std_err,
            "n": self.n,
        }


def kept_positive(curvature: float, typical: float) -> float:
    """Return a curvature that is positive: itself where it is large, never 0.

    The root of a hyperbola, without a corner: where a valley cannot be told from a slope, its
    minimum moves far away continuously instead of disappearing.
    """
    return float(0.5 * (curvature + np.hypot(curvature, SMOOTH_FLOOR * typical)))


def pooled_variance(
    squares: float, freedom: float, assumed: float, assumed_freedom: float
) -> float:
    """Return a variance from a sum of squares and an assumed variance with its own freedom."""
    return (assumed_freedom * assumed + squares) / (assumed_freedom + freedom)


def outlier_weights(residual: Array, variance: float, freedom: float) -> Array:
    """Return the weights of a t likelihood, 1 up to one standard deviation.

    Parameters
    ----------
    residual : ndarray, shape (n,)
    variance : float
        Of the residuals.
    freedom : float
        Of the t distribution (Lange, Little and Taylor 1989, J. Am. Stat. Assoc. 84, 881).
    """
    return np.minimum(1.0, (freedom + 1) / (freedom + residual**2 / variance))
