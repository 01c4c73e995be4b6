"""Paths of the optimum: log N_opt and log(L_opt - E) against log C, with all that is not known.

Each is a line with a bend, from which a budget's optimum deviates by its own standard error and by
a scatter that no power law has (batch sizes, learning rates, sizes that do not suit a budget). The
sizes of these are not chosen but averaged over: scatter on a grid, E on another, the scale of all
errors in closed form. What comes out are draws, made of the same random numbers for every study, so
that the answer is a smooth function of the losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm, qmc

from flops_fit.laws.answer.law import OptimumLaw, basis
from flops_fit.laws.answer.optimum import Optimum
from flops_fit.laws.answer.priors import PathPriors
from flops_fit.laws.answer.regression import (
    DIFFUSE,
    Posterior,
    interpolated,
    interpolated_twice,
    places,
    regress,
)

Array = NDArray[np.float64]

N_PAIRS = 500
"""Antithetic pairs of draws: the median of N_opt is its posterior mean exactly."""

SCATTER_GRID = np.linspace(-2.5, 2.5, 11)
"""Standard normal positions of the scatters that are averaged over."""

E_SHARES = np.linspace(0.02, 0.96, 48)
E_DISTANCES = np.linspace(-3.0, 3.0, 48)
"""E as a share of the lowest L_opt, or standard normal positions of its distance below it."""

DIMENSIONS = ("N scatter", "N scale", "N common", "L offset", "L scatter", "L scale")
"""Uniform numbers of a draw, besides the four normal ones of each path."""


@lru_cache(maxsize=1)
def _random_numbers() -> tuple[dict[str, Array], Array, Array]:
    """Return uniform numbers by name, (n,), and the normal ones of both paths, (n, 4) each.

    Scrambled Sobol points (Owen 1998, J. Complexity 14), whose quantiles are far more even than
    those of independent draws.
    """
    n_columns = len(DIMENSIONS) + 8
    sobol = qmc.Sobol(n_columns, scramble=True, rng=np.random.default_rng(0))
    u = np.clip(sobol.random_base2(9)[:N_PAIRS], 1e-6, 1 - 1e-6)
    named = dict(zip(DIMENSIONS, u.T, strict=False))
    z = norm.ppf(u[:, len(DIMENSIONS) :])
    return named, z[:, :4], z[:, 4:]


def fit_paths(
    optima: Sequence[Optimum],
    common: float,
    priors: PathPriors,
    *,
    positive: bool,
    E: float | None = None,
) -> OptimumLaw:
    """Return draws of the laws through the optima of two budgets or more.

    Parameters
    ----------
    optima : sequence of Optimum
    common : float
        Standard error that all log N_opt share.
    positive : bool
        Whether losses are positive by nature.
    E : float, optional
        Pinned, in the unit of the loss.
    """
    log_C = np.array([optimum.log_C for optimum in optima])
    centre = float(0.5 * (log_C.min() + log_C.max()))
    reach = float(0.5 * np.ptp(log_C)) + priors.reach
    X = basis(log_C - centre, reach)
    rows = np.concatenate(
        [_N_draws(optima, X, common, priors), _L_draws(optima, X, priors, positive, E)], axis=1
    )
    return OptimumLaw(centre=centre, reach=reach, rows=rows)


def _N_draws(optima: Sequence[Optimum], X: Array, common: float, priors: PathPriors) -> Array:
    """Return draws of c, a, g, shape (n_draws, 3)."""
    y = np.array([optimum.log_N for optimum in optima])
    std_err = np.array([optimum.log_N_std_err for optimum in optima])
    scatter = priors.N_scatter * np.exp(priors.scatter_spread * SCATTER_GRID)
    mean = np.array([y.mean(), priors.exponent[0], priors.N_bend[0]])
    found = regress(
        X,
        np.tile(y, (scatter.size, 1)),
        std_err**2 + scatter[:, np.newaxis] ** 2,
        np.tile(mean, (scatter.size, 1)),
        np.array([DIFFUSE, priors.exponent[1], priors.N_bend[1]]),
        priors.freedom,
    )
    weight = _weights(found.log_likelihood - 0.5 * SCATTER_GRID**2)
    u, z, _ = _random_numbers()
    place = places(weight, u["N scatter"])
    mean, root, squares, scatter = (
        interpolated(values, place)
        for values in (found.mean, np.linalg.cholesky(found.covariance), found.squares, scatter)
    )
    rows = _spread(mean, root, squares, found.freedom, scatter, z, u["N scale"])
    shared = common * norm.ppf(u["N common"])
    rows[:, 0] += np.concatenate([shared, -shared])
    return rows


def _L_draws(
    optima: Sequence[Optimum], X: Array, priors: PathPriors, positive: bool, E: float | None
) -> Array:
    """Return draws of c', b, g', E, shape (n_draws, 4); NaN if no E lies below the losses."""
    L = np.array([optimum.L for optimum in optima])
    std_err = np.array([optimum.L_std_err for optimum in optima])
    offsets, log_prior = _offsets(L, priors, positive, E)
    if offsets is None:
        return np.full((2 * N_PAIRS, 4), np.nan)
    scatter = priors.L_scatter * np.exp(priors.scatter_spread * SCATTER_GRID)
    shape = (offsets.size, scatter.size)
    of_E, of_scatter = (values.ravel() for values in np.meshgrid(offsets, scatter, indexing="ij"))
    above = L - of_E[:, np.newaxis]
    y = np.log(above)
    mean = np.stack(
        [
            y.mean(axis=1),
            np.full(y.shape[0], priors.L_exponent[0]),
            np.full(y.shape[0], priors.L_bend[0]),
        ],
        axis=1,
    )
    found = regress(
        X,
        y,
        (std_err / above) ** 2 + of_scatter[:, np.newaxis] ** 2,
        mean,
        np.array([DIFFUSE, priors.L_exponent[1], priors.L_bend[1]]),
        priors.freedom,
    )
    # The density of the losses, not of their logs
    log_weight = (found.log_likelihood - y.sum(axis=1)).reshape(shape)
    weight = _weights(log_weight + log_prior[:, np.newaxis] - 0.5 * SCATTER_GRID**2)
    return _L_rows(found, weight, offsets, scatter)


def _L_rows(found: Posterior, weight: Array, offsets: Array, scatter: Array) -> Array:
    """Draw E by its marginal weights, the scatter given E, and the coefficients given both."""
    u, _, z = _random_numbers()
    of_E = weight.sum(axis=1)
    first = places(of_E, u["L offset"])
    share = weight / np.maximum(of_E, np.finfo(float).tiny)[:, np.newaxis]
    second = places(interpolated(share, first), u["L scatter"])

    def at(values: Array) -> Array:
        return interpolated_twice(values.reshape(weight.shape + values.shape[1:]), first, second)

    rows = _spread(
        at(found.mean),
        at(np.linalg.cholesky(found.covariance)),
        at(found.squares),
        found.freedom,
        interpolated(scatter, second),
        z,
        u["L scale"],
    )
    return np.concatenate([rows, np.tile(interpolated(offsets, first), 2)[:, np.newaxis]], axis=1)


def _offsets(
    L: Array, priors: PathPriors, positive: bool, E: float | None
) -> tuple[Array | None, Array]:
    """Return the E that are averaged over, ascending, and their log prior; None without any."""
    lowest = float(L.min())
    if E is not None:
        return (np.array([E, E]) if E < lowest else None), np.zeros(2)
    if positive:
        mean, std = priors.E_share
        return (E_SHARES * lowest if lowest > 0 else None), -0.5 * ((E_SHARES - mean) / std) ** 2
    width = float(np.ptp(L))
    mean, std = priors.E_below
    distance = np.exp(mean + std * E_DISTANCES[::-1])
    return (lowest - width * distance if width > 0 else None), -0.5 * E_DISTANCES[::-1] ** 2


def _weights(log_weight: Array) -> Array:
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def _spread(
    mean: Array, root: Array, squares: Array, freedom: float, scatter: Array, z: Array, u: Array
) -> Array:
    """Return antithetic draws of coefficients, with the scatter of a new budget in the intercept.

    Parameters
    ----------
    mean, root : ndarray, shape (n, 3) and (n, 3, 3)
        Of the normal distribution, the root a Cholesky factor.
    squares, freedom
        Of the common scale, (n,) and a number.
    scatter : ndarray, shape (n,)
    z, u : ndarray, shape (n, 4) and (n,)
        Normal and uniform random numbers.
    """
    scale = np.sqrt(squares / chi2.ppf(u, freedom))
    moved = np.einsum("nij,nj->ni", root, z[:, :3]) * scale[:, np.newaxis]
    moved[:, 0] += scatter * z[:, 3] * scale
    return np.concatenate([mean + moved, mean - moved])
