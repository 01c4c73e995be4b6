"""The best N and D where the model will also be used (Sardana et al., arXiv 2401.00448).

Training takes flops_per_unit(N) D FLOPs. A served unit takes a third of flops_per_unit, because it
is a forward pass alone and a backward pass costs twice as much: 2 N of 6 N, as in their equation
for the total, 6 N D + 2 N D_served. All functions minimise or divide that total.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.readouts.inverse import GRID, REACH, minima, roots
from flops_fit.laws.readouts.landscape import Landscape, log_flops
from flops_fit.laws.readouts.optimum import Draws, log_C_for_loss

Array = NDArray[np.float64]

FORWARD_SHARE = 1 / 3
"""Of the FLOPs of a training step per unit: 2 N of 6 N (Kaplan et al., arXiv 2001.08361, 2.1)."""

SMALLEST = 12.0
"""A model is looked for down to e^-12 of the largest that can be the best."""

N_GRID = 49
"""Sizes at which the minimum is bracketed: a factor 1.28 apart, where losses are smooth."""


def best_at_total(landscape: Landscape, log_total: float, served: float) -> Draws:
    """Return the lowest loss that a total of training and inference FLOPs can buy.

    Parameters
    ----------
    log_total : float
        Natural log of all FLOPs.
    served : float
        Units that will be served, at least 0.

    Returns
    -------
    dict of ndarray, shape (n_draws,)
        "log N_opt", "log D_opt", "log D_per_N", "L_opt", "log C": of training, "log total", and
        "log factor": log of N over the N that is best at the same training compute.
    """
    total = np.exp(log_total)

    def log_training(log_N: Array) -> Array:
        spent = served * FORWARD_SHARE * np.exp(log_flops(landscape.flops, log_N))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.where(spent < total, total - spent, 0.0))

    def loss(log_N: Array) -> Array:
        log_C = log_training(log_N)
        possible = log_C > REACH[0]
        found = landscape.loss(log_N, np.where(possible, log_C, log_total))
        return np.where(possible, found, np.inf)

    # Whoever serves the model wants it no larger than it is best for training alone
    largest = landscape.log_N_opt(np.array([log_total]))
    largest = np.minimum(largest, _largest_served(landscape, log_total, served))
    log_N = minima(loss, largest + np.linspace(-SMALLEST, 0.0, N_GRID))
    log_C = log_training(log_N)
    return _draws(landscape, log_N, log_C, np.full_like(log_N, log_total), loss(log_N))


def _largest_served(landscape: Landscape, log_total: float, served: float) -> float:
    """Return the log of the N at which inference alone takes the total."""
    if served == 0:
        return np.inf
    wanted = log_total - np.log(served * FORWARD_SHARE)
    flops = landscape.flops
    # flops_per_unit / N is constant beyond the sizes, and rises with N between them
    ends = np.array([[flops.log_N[0] - 100]]), np.array([[flops.log_N[-1] + 100]])
    heights = tuple(log_flops(flops, x) - wanted for x in ends)
    return float(roots(lambda x: log_flops(flops, x) - wanted, ends, heights)[0, 0])


def least_for_loss(landscape: Landscape, L: float, served: float, near: float) -> Draws:
    """Return the fewest FLOPs of training and inference with which a loss is reached.

    Parameters
    ----------
    L : float
        The loss to reach, nats per unit.
    served : float
        Units that will be served, at least 0.
    near : float
        log C near which the training is looked for.

    Returns
    -------
    dict of ndarray, shape (n_draws,)
        As `best_at_total`; and "log saving": the log of the total with the N that takes the least
        training, over this total. Infinite where no compute below 1e30 FLOPs reaches the loss.
    """
    wanted = np.full(len(landscape.L_opt(np.array([near]))), L)
    log_C_least = log_C_for_loss(landscape, wanted, near)
    reached = np.isfinite(log_C_least)
    start = np.where(reached, log_C_least, near)[:, np.newaxis]
    log_N_least = landscape.log_N_opt(start)

    def log_total(log_N: Array) -> Array:
        return _log_total(landscape, log_N, _log_training(landscape, log_N, L, start), served)

    log_N = minima(log_total, log_N_least + np.linspace(-SMALLEST, 0.0, N_GRID))
    log_C = _log_training(landscape, log_N, L, start)
    log_C[~reached] = near
    total = _log_total(landscape, log_N, log_C, served)
    found = _draws(landscape, log_N, log_C, total, np.full_like(log_N, L))
    found["log saving"] = (_log_total(landscape, log_N_least, start, served) - total)[:, 0]
    unknown = {key: np.where(reached, values, np.nan) for key, values in found.items()}
    return unknown | {
        key: np.where(np.isnan(unknown[key]), log_C_least, unknown[key])
        for key in ("log C", "log total")
    }


def _log_training(landscape: Landscape, log_N: Array, L: float, start: Array) -> Array:
    """Return the log C with which each N reaches L, from the least compute on; infinity if none.

    log_N (n_draws, n); start (n_draws, 1), where L_opt is L.
    """
    low = np.broadcast_to(start, log_N.shape).copy()
    high = np.full_like(low, np.nan)
    step = GRID[1] - GRID[0]
    f_low, f_high = L - landscape.loss(log_N, low), np.full_like(low, np.nan)
    # At the least compute any other N misses the loss, by rounding at least
    at_once = f_low >= 0
    while np.any(np.isnan(high) & (low < REACH[1]) & ~at_once):
        x = low + step
        fx = L - landscape.loss(log_N, x)
        looking = np.isnan(high) & ~at_once
        rises = looking & (fx >= 0)
        high, f_high = np.where(rises, x, high), np.where(rises, fx, f_high)
        moves = looking & ~rises
        low, f_low = np.where(moves, x, low), np.where(moves, fx, f_low)
        step *= 1.3
    there = ~np.isnan(high)
    ends = low, np.where(there, high, low)
    heights = f_low, np.where(there, f_high, f_low)
    found = roots(lambda x: L - landscape.loss(log_N, x), ends, heights)
    return np.where(at_once, start, np.where(there, found, np.inf))


def _log_total(landscape: Landscape, log_N: Array, log_C: Array, served: float) -> Array:
    if served == 0:
        return log_C
    per_unit = log_flops(landscape.flops, log_N)
    return np.logaddexp(log_C, per_unit + np.log(served * FORWARD_SHARE))


def _draws(landscape: Landscape, log_N: Array, log_C: Array, log_total: Array, L: Array) -> Draws:
    log_D = log_C - log_flops(landscape.flops, log_N)
    factor = log_N - landscape.log_N_opt(log_C)
    found = {
        "log N_opt": log_N,
        "log D_opt": log_D,
        "log D_per_N": log_D - log_N,
        "L_opt": L,
        "log C": log_C,
        "log total": log_total,
        "log factor": factor,
    }
    return {key: values[:, 0] for key, values in found.items()}
