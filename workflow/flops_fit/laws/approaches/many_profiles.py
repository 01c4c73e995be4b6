"""Vertices of many resampled IsoFLOP profiles at once; the fit is that of `isoflop.fit_profile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.approaches.isoflop import MAX_REACH
from flops_fit.laws.forms.profile_weights import ResidualLimits, studentised_residuals
from flops_fit.laws.results import Profile

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaled:
    """A profile with log N scaled to [-1, 1]."""

    u: Array
    centre: float
    half_range: float

    @classmethod
    def of(cls, profile: Profile) -> Scaled:
        """Scale a fitted profile."""
        low, high = profile.log_N_range
        half_range = (high - low) / 2
        u = (np.log(profile.N) - profile.log_N_center) / half_range
        return cls(u, profile.log_N_center, half_range)


def profile_vertices(u: Array, L: Array, weights: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return where the weighted parabolas of all rows are lowest, how low, and whether they are.

    Parameters
    ----------
    u : ndarray, shape (n,)
        Scaled log N, at least three of them distinct.
    L : ndarray, shape (n_rows, n)
        Losses.
    weights : ndarray, shape (n,)
        Of the runs, the same in all rows.

    Returns
    -------
    vertex, lowest : ndarray, shape (n_rows,)
    usable : ndarray of bool, shape (n_rows,)
        Whether the parabola opens upwards and its vertex is within reach.
    """
    mean = L.mean(-1, keepdims=True)
    powers = [(weights * u**k).sum(-1) for k in range(5)]
    right = np.stack([(weights * u**k * (L - mean)).sum(-1) for k in range(3)], axis=-1)
    matrix = np.stack([np.stack(powers[k : k + 3], axis=-1) for k in range(3)], axis=-2)
    c0, c1, c2 = np.moveaxis(np.linalg.solve(matrix, right[..., np.newaxis])[..., 0], -1, 0)
    opens = c2 > 1e-12 * np.abs(L).max(-1)
    safe = np.where(opens, c2, 1.0)
    vertex = -c1 / (2 * safe)
    lowest = c0 + mean[:, 0] - c1**2 / (4 * safe)
    return vertex, lowest, opens & (np.abs(vertex) <= 1 + 2 * MAX_REACH) & (lowest > 0)


def resampled_optima(
    profiles: Sequence[Profile], n_rows: int, rng: np.random.Generator, limits: ResidualLimits
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return log N_opt and L_opt of resampled profiles, each (n_rows, n_profiles), and their mask.

    Residuals are drawn with replacement from all profiles, each divided by sqrt(1 - leverage) and
    on the scale of its weight, and refitted with the weights of the profile. Wild residuals are
    not drawn: in another sweep the wild run would have been found, too. Whole runs are not
    drawn: the sizes are the plan's, not chance's, and a resample that lost its outer sizes has a
    vertex as no sweep would give it.
    """
    pool = np.concatenate([_residuals(profile, limits.residual) for profile in profiles])
    if not pool.size:  # parabolas through three runs each: nothing scatters, nothing is known
        pool = np.zeros(1)
    columns = []
    for profile in profiles:
        one = Scaled.of(profile)
        noise = pool[rng.integers(0, pool.size, size=(n_rows, one.u.size))]
        L = _fitted(profile) + noise / np.sqrt(profile.weights)
        vertex, lowest, usable = profile_vertices(one.u, L, profile.weights)
        # What is not used must stay within the range of floats
        vertex = np.where(usable, vertex, 0.0)
        columns.append((one.centre + vertex * one.half_range, lowest, usable))
    log_N, lowest, usable = (np.stack(parts, axis=-1) for parts in zip(*columns, strict=True))
    return log_N, lowest, usable


def _fitted(profile: Profile) -> Array:
    v = np.log(profile.N) - profile.log_N_center
    c0, c1, c2 = profile.coefficients
    return c0 + c1 * v + c2 * v**2


def _residuals(profile: Profile, limit: float) -> Array:
    """Return a profile's weighted residuals that tell something, as large as the noise."""
    residual = studentised_residuals(np.log(profile.N), profile.L, profile.weights)
    if profile.weights.min() < 1:
        residual = residual[np.abs(residual) <= limit]
    return residual - residual.mean() if residual.size else residual
