"""Bayesian regressions with unknown hyperparameters: many at once, and draws from their mixture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]

DIFFUSE = 100.0
"""Prior standard deviation of an intercept in logs: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Posteriors of coefficients for many hyperparameters; the axes before the last are theirs.

    The coefficients are normal with `mean` and lambda times `covariance`, where lambda is
    `squares` over a chi square of `freedom`.
    """

    mean: Array
    covariance: Array
    squares: Array
    freedom: float
    log_likelihood: Array


def regress(
    X: Array, y: Array, variance: Array, prior_mean: Array, prior_std: Array, freedom: float
) -> Posterior:
    """Return the posterior of a linear regression with a conjugate scale.

    The first coefficient is an intercept, whose prior is diffuse, so that it takes one observation.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        The same for all hyperparameters.
    y, variance : ndarray, shape (k, n)
        For each of k hyperparameters, the observations and the variance of their errors.
    prior_mean : ndarray, shape (k, p)
    prior_std : ndarray, shape (p,)
    freedom : float
        Of the scale's prior, an inverse chi square around 1 (Gelman et al., Bayesian Data Analysis,
        3rd edition, section 14.8).
    """
    prior = np.diag(np.asarray(prior_std, dtype=float) ** -2)
    weights = 1 / variance
    precision = prior + np.einsum("ni,kn,nj->kij", X, weights, X)
    covariance = np.linalg.inv(precision)
    right = np.einsum("ni,kn->ki", X, weights * y) + prior_mean @ prior
    mean = np.einsum("kij,kj->ki", covariance, right)
    residual, moved = y - mean @ X.T, mean - prior_mean
    squares = (weights * residual**2).sum(axis=1) + np.einsum("ki,ij,kj->k", moved, prior, moved)
    n = y.shape[1] - 1
    log_likelihood = (
        0.5 * np.linalg.slogdet(covariance)[1]
        - 0.5 * np.log(variance).sum(axis=1)
        + gammaln((freedom + n) / 2)
        - gammaln(freedom / 2)
        - n / 2 * np.log(freedom * np.pi)
        - (freedom + n) / 2 * np.log1p(squares / freedom)
    )
    return Posterior(
        mean=mean,
        covariance=covariance,
        squares=freedom + squares,
        freedom=freedom + n,
        log_likelihood=log_likelihood,
    )


def places(weights: Array, u: Array) -> Array:
    """Return where on a grid uniform numbers fall, as fractional indices, shape (n,).

    The inverse of the cumulated weights, interpolated between the grid's points, so that a draw
    moves continuously when the weights change.

    Parameters
    ----------
    weights : ndarray, shape (k,) or (n, k)
        Not negative; one grid for all draws or one each.
    u : ndarray, shape (n,)
        Between 0 and 1.
    """
    rows = np.broadcast_to(weights, (u.size, np.shape(weights)[-1]))
    total = rows.sum(axis=1, keepdims=True)
    middles = (np.cumsum(rows, axis=1) - 0.5 * rows) / total
    low = np.clip((middles < u[:, np.newaxis]).sum(axis=1) - 1, 0, rows.shape[1] - 2)
    own = np.arange(u.size)
    gap = np.maximum(middles[own, low + 1] - middles[own, low], np.finfo(float).tiny)
    return low + np.clip((u - middles[own, low]) / gap, 0.0, 1.0)


def interpolated(values: Array, place: Array) -> Array:
    """Return `values`, shape (k, ...), at fractional indices of the first axis, shape (n, ...)."""
    low = np.minimum(place.astype(int), len(values) - 2)
    share = (place - low).reshape((-1,) + (1,) * (values.ndim - 1))
    return values[low] * (1 - share) + values[low + 1] * share


def interpolated_twice(values: Array, first: Array, second: Array) -> Array:
    """Return `values`, shape (k, m, ...), at fractional indices of both axes, shape (n, ...)."""
    low = np.minimum(second.astype(int), values.shape[1] - 2)
    share = (second - low).reshape((-1,) + (1,) * (values.ndim - 2))
    row = np.minimum(first.astype(int), len(values) - 2)
    part = (first - row).reshape(share.shape)
    lower = values[row, low] * (1 - share) + values[row, low + 1] * share
    upper = values[row + 1, low] * (1 - share) + values[row + 1, low + 1] * share
    return lower * (1 - part) + upper * part
