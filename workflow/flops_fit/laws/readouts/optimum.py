"""The optimum at a compute, and the compute at which a size, or a loss, is the best.

A path is inverted draw by draw: of all computes at which N may be the best, each draw holds one. To
invert the estimate and to take its C as known would leave out most of what is not known of D.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.readouts.inverse import first_rise
from flops_fit.laws.readouts.landscape import Landscape, log_flops

Array = NDArray[np.float64]
Draws = dict[str, Array]
"""Quantity -> draws, (n_draws,); those named `log ...` are natural logs of quantities."""


def at_compute(landscape: Landscape, log_C: float) -> Draws:
    """Return log C, log N_opt, log D_opt, log D_per_N and L_opt of every draw at one log C."""
    at = np.array([log_C])
    log_N = landscape.log_N_opt(at)[:, 0]
    log_D = log_C - log_flops(landscape.flops, log_N)
    return {
        "log C": np.full_like(log_N, log_C),
        "log N_opt": log_N,
        "log D_opt": log_D,
        "log D_per_N": log_D - log_N,
        "L_opt": landscape.L_opt(at)[:, 0],
    }


def at_value(
    landscape: Landscape, quantity: Literal["N_opt", "D_opt"], log_value: float, near: float
) -> Draws:
    """Return, as `at_compute`, the optimum of every draw whose N or D is this.

    C_j is where N_opt_j(C_j) = N, and D_j = C_j / flops_per_unit(N); for D likewise. A draw whose
    path does not rise to the value below 1e30 FLOPs has C = infinity, 0 one that begins above.

    Parameters
    ----------
    near : float
        log C around which a path that bends back is inverted: the middle of the budgets.
    """
    along = landscape.log_N_opt if quantity == "N_opt" else landscape.log_D_opt
    log_C = first_rise(lambda x: along(x) - log_value, near)
    at = log_C[:, np.newaxis]
    known = np.isfinite(at)
    inside = np.where(known, at, near)
    log_N = log_value if quantity == "N_opt" else _where(known, landscape.log_N_opt(inside), at)
    log_N = np.broadcast_to(log_N, log_C.shape)
    log_D = log_C - log_flops(landscape.flops, log_N) if quantity == "N_opt" else log_value
    log_D = np.broadcast_to(log_D, log_C.shape)
    L = np.where(known, landscape.L_opt(inside), np.nan)[:, 0]
    return {
        "log C": log_C,
        "log N_opt": log_N,
        "log D_opt": log_D,
        "log D_per_N": log_D - log_N,
        "L_opt": L,
    }


def _where(known: NDArray[np.bool_], found: Array, otherwise: Array) -> Array:
    return np.where(known, found, otherwise)[:, 0]


def log_C_for_loss(landscape: Landscape, L: Array, near: float) -> Array:
    """Return the log C at which the lowest loss is `L`, of every draw.

    Parameters
    ----------
    L : ndarray, shape (n_draws,)
        Nats per unit.
    near : float
        log C near which it is looked for.

    Returns
    -------
    ndarray, shape (n_draws,)
        Infinity where no compute below 1e30 FLOPs suffices.
    """
    wanted = np.asarray(L)[:, np.newaxis]
    return first_rise(lambda x: wanted - landscape.L_opt(x), near)
