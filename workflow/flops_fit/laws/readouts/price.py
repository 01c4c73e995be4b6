"""The loss of any N and D, and the price of being off the optimum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.readouts.inverse import GRID, first_rise
from flops_fit.laws.readouts.landscape import Landscape, log_flops
from flops_fit.laws.readouts.optimum import Draws, log_C_for_loss

Array = NDArray[np.float64]


def at_model(landscape: Landscape, log_N: float, log_C: float) -> Draws:
    """Return what a model of N parameters that is trained with C FLOPs loses against the best.

    Returns
    -------
    dict of ndarray, shape (n_draws,)
        "log C", "log N", "log D", "log D_per_N": the model. "L": its loss, nats per unit.
        "extra": L - L_opt(C). "log factor": log N / N_opt(C).
        "log equivalent": the log of the share of C with which an optimal training reaches L.
        "log overhead": the log of the multiple of C with which this N reaches L_opt(C), infinity if
        it never does.
    """
    at = np.array([log_C])
    return off_optimum(landscape, log_N - landscape.log_N_opt(at), log_C)


def off_optimum(landscape: Landscape, u: Array | float, log_C: float) -> Draws:
    """Return, as `at_model`, the price of N = N_opt(C) e^u; u a number, or (n_draws, 1).

    With the same C, a smaller model is trained on more data than is best for it. Under C = k N D
    and L(N, D) = E + A/N^alpha + B/D^beta, with L_opt = E + A' + B' the two terms at the optimum,
    alpha A' = beta B': extra = A' (e^(-alpha u) - 1) + B' (e^(beta u) - 1), and the share of C is
    (1 + extra / (L_opt - E))^(-1 / gamma) with gamma = alpha beta / (alpha + beta).
    """
    at = np.array([log_C])
    lowest = landscape.L_opt(at)
    u = np.broadcast_to(u, lowest.shape)
    extra = landscape.excess(u, at)
    L = lowest + extra
    log_N = landscape.log_N_opt(at) + u
    log_D = log_C - log_flops(landscape.flops, log_N)
    return {
        "log C": np.full(len(L), log_C),
        "log N": log_N[:, 0],
        "log D": log_D[:, 0],
        "log D_per_N": (log_D - log_N)[:, 0],
        "L": L[:, 0],
        "extra": extra[:, 0],
        "log factor": u[:, 0],
        "log equivalent": np.minimum(log_C_for_loss(landscape, L[:, 0], log_C) - log_C, 0.0),
        "log overhead": log_C_of_model(landscape, log_N, lowest, log_C) - log_C,
    }


def log_C_of_model(landscape: Landscape, log_N: Array, L: Array, near: float) -> Array:
    """Return the log C with which a model of N parameters reaches a loss, of every draw.

    Parameters
    ----------
    log_N, L : ndarray, shape (n_draws, 1)
    near : float
        log C near which it is looked for.

    Returns
    -------
    ndarray, shape (n_draws,)
        Infinity where the model does not reach it below 1e30 FLOPs.
    """
    return first_rise(lambda x: L - landscape.loss(log_N, x), near, GRID)


def log_C_of(landscape: Landscape, log_N: float, log_D: float) -> float:
    """Return the log of the FLOPs that N parameters and D units take."""
    return float(log_flops(landscape.flops, np.array(log_N)) + log_D)
