"""Runs whose optima are known in closed form."""

from __future__ import annotations

import numpy as np
from flops_fit.laws import Surface

# Hoffmann et al. 2022 (arXiv 2203.15556), section D.3
E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28
EXPONENT = BETA / (ALPHA + BETA)
G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))


def surface(N, D):
    """L(N, D) of Chinchilla."""
    return E + A / N**ALPHA + B / D**BETA


def surface_N_opt(C):
    """The closed-form optimum of `surface` under C = 6 N D."""
    return G * (np.asarray(C) / 6) ** EXPONENT


def columns(C, N, L, *, flops_per_unit=lambda N: 6 * N):
    """Columns of runs at compute C with parameters N and losses L, one row each."""
    C, N, L = np.broadcast_arrays(np.asarray(C, float), np.asarray(N, float), np.asarray(L, float))
    C, N, L = C.ravel(), N.ravel(), L.ravel()
    return {
        "id": [f"r{i:03d}" for i in range(C.size)],
        "budget": C,
        "N": N,
        "D": C / flops_per_unit(N),
        "C": C,
        "loss": L,
    }


def parabolic_runs(
    C=(1e18, 1e19, 1e20, 1e21),
    *,
    coefficient=0.1,
    exponent=0.5,
    offsets=(-1.5, -0.75, 0.0, 0.75, 1.5),
    curvature=0.1,
    noise=0.0,
    shift=0.0,
    flops_per_unit=lambda N: 6 * N,
):
    """Runs whose loss is exactly a parabola in log N around N_opt = coefficient C^exponent.

    `offsets` are the grid's log N relative to the vertex; `shift` moves the grid of budget i by
    shift[i]. The loss at the vertex is 1 + 100 C^-0.1.
    """
    C = np.asarray(C, float)[:, None]
    u = np.asarray(offsets)[None, :] + np.broadcast_to(shift, C.shape[:1])[:, None]
    L = 1 + 100 * C**-0.1 + curvature * u**2
    L = L + noise * np.random.default_rng(0).normal(size=L.shape)
    N = coefficient * C**exponent * np.exp(u)
    return columns(C, N, L, flops_per_unit=flops_per_unit)


def chinchilla_runs(C, offsets):
    """Runs on the Chinchilla surface; `offsets` are log N relative to the true optimum."""
    C = np.asarray(C, float)[:, None]
    N = surface_N_opt(C) * np.exp(np.asarray(offsets))[None, :]
    return columns(C, N, surface(N, C / (6 * N)))


def random_surface_runs(rng, *, sizes=7, noise=0.0):
    """Runs of a random surface: alpha/beta from 1/3 to 3, each budget's grid off by up to 3x.

    Returns the columns and the surface (E, A, B, alpha, beta).
    """
    alpha = np.exp(rng.uniform(np.log(0.12), np.log(1.2)))
    beta = alpha * np.exp(rng.uniform(-np.log(3), np.log(3)))
    C = np.logspace(18, 21, rng.integers(3, 7))
    N_middle = 10 ** rng.uniform(7, 9)
    D_middle = np.sqrt(C[0] * C[-1]) / 6 / N_middle
    at_optimum = np.exp(rng.uniform(np.log(0.1), np.log(2)))
    A = at_optimum * N_middle**alpha
    B = at_optimum * alpha / beta * D_middle**beta
    truth = Surface(E=rng.uniform(0.3, 3), A=A, B=B, alpha=alpha, beta=beta)
    centre = truth.G * (C / 6) ** truth.a * np.exp(rng.uniform(-np.log(3), np.log(3), C.size))
    N = centre[:, None] * np.exp(np.linspace(-1.8, 1.8, sizes))
    L = truth.loss(N, C[:, None] / (6 * N)) * np.exp(noise * rng.normal(size=N.shape))
    return columns(C[:, None], N, L), truth


def nine_sizes(*, noise=0.01, outliers=0.0, seed=0):
    """A sweep as people run it: 5 budgets, 9 sizes within a factor 6 of the optimum."""
    rng = np.random.default_rng(seed)
    truth = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    C = np.logspace(18, 20, 5)[:, None]
    N = truth.G * (C / 6) ** truth.a * np.exp(np.linspace(-np.log(6), np.log(6), 9))
    L = truth.loss(N, C / (6 * N)) * np.exp(noise * rng.normal(size=N.shape))
    L = np.where(rng.random(N.shape) < outliers, 1.1 * L, L)
    return columns(C, N, L), truth
