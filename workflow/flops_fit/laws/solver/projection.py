"""Variable projection: the best E, A, B >= 0 for every (alpha, beta) of a grid.

For given exponents the surface is linear in E, A and B, so the search has two dimensions instead of
five and sees every valley of the objective (arXiv 2603.22339).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.solver.terms import SurfaceData

Array = NDArray[np.float64]

GRID = np.exp(np.linspace(np.log(0.02), np.log(4.0), 28))
"""Exponents that the search tries: steps of 22%, finer than any valley of the objective."""

RIDGE = 1e-12
"""On the diagonal of the projected systems, whose columns may coincide; a polish follows."""


def projected_grid(
    data: SurfaceData, weights: Array, *, tied: bool = False, E: float | None = None
) -> tuple[Array, Array]:
    """Solve the non-negative least-squares problem of every point of the grid.

    Parameters
    ----------
    weights : ndarray, shape (n_runs,)
        Precision of each run in the squares of L - Lhat.
    E : float, optional
        Given, A and B are solved for above it.

    Returns
    -------
    theta : ndarray, shape (n_alpha, n_beta, 5)
        Centred rows for `minimise_rows`.
    values : ndarray, shape (n_alpha, n_beta)
        Sums of weighted squares.
    """
    L = data.L if E is None else data.L - E
    P = np.exp(-GRID[:, np.newaxis] * data.x)
    Q = np.exp(-GRID[:, np.newaxis] * data.y)
    # Columns of length 1, so that the 3 x 3 systems compare like with like
    w = weights
    norm_P, norm_Q = np.sqrt((P * P) @ w), np.sqrt((Q * Q) @ w)
    P, Q = P / norm_P[:, np.newaxis], Q / norm_Q[:, np.newaxis]
    norm_1 = np.sqrt(w.sum())
    n = GRID.size
    gram = np.empty((n, n, 3, 3))
    gram[..., 0, 0] = gram[..., 1, 1] = gram[..., 2, 2] = 1.0
    gram[..., 0, 1] = gram[..., 1, 0] = (P * w) @ Q.T
    gram[..., 0, 2] = gram[..., 2, 0] = (P @ w / norm_1)[:, np.newaxis]
    gram[..., 1, 2] = gram[..., 2, 1] = (Q @ w / norm_1)[np.newaxis, :]
    right = np.empty((n, n, 3))
    right[..., 0] = (P @ (w * L))[:, np.newaxis]
    right[..., 1] = (Q @ (w * L))[np.newaxis, :]
    right[..., 2] = w @ L / norm_1
    if E is not None:  # a column that explains nothing is in no solution
        gram[..., :2, 2] = gram[..., 2, :2] = right[..., 2] = 0.0
    solution, explained = _nnls3(gram, right)
    values = np.maximum(w @ (L * L) - explained, 0.0)
    with np.errstate(divide="ignore"):
        theta = np.stack(
            [
                np.log(solution[..., 0] / norm_P[:, np.newaxis]),
                np.log(solution[..., 1] / norm_Q[np.newaxis, :]),
                np.log(solution[..., 2] / norm_1),
                np.broadcast_to(GRID[:, np.newaxis], (n, n)),
                np.broadcast_to(GRID[np.newaxis, :], (n, n)),
            ],
            axis=-1,
        )
    if tied:
        values = np.where(np.eye(n, dtype=bool), values, np.inf)
    # A term that the projection sets to 0 may start small: on its bound its exponent has no slope
    floor = np.log(1e-3 * np.median(data.L))
    theta[..., :3] = np.maximum(theta[..., :3], floor)
    if E is not None:
        theta[..., 2] = np.log(E) if E > 0 else data.lowest_log
    return theta, values


def _nnls3(gram: Array, right: Array) -> tuple[Array, Array]:
    """Solve non-negative least squares in three unknowns by trying every set of positive ones.

    Parameters
    ----------
    gram : ndarray, shape (..., 3, 3)
        With ones on the diagonal.
    right : ndarray, shape (..., 3)

    Returns
    -------
    solution : ndarray, shape (..., 3)
    explained : ndarray, shape (...)
        The decrease of the sum of squares from that of a zero solution.
    """
    one = 1 + RIDGE
    r = np.moveaxis(right, -1, 0)
    candidates = [((k,), (r[k] / one,)) for k in range(3)]
    for i, j in itertools.combinations(range(3), 2):
        g = gram[..., i, j]
        # By substitution: if columns coincide, the first compensates for the second's error
        second = (r[j] - g * r[i] / one) / (one - g * g / one)
        candidates.append(((i, j), ((r[i] - g * second) / one, second)))
    triple = np.linalg.solve(gram + RIDGE * np.eye(3), right[..., np.newaxis])[..., 0]
    candidates.append(((0, 1, 2), tuple(np.moveaxis(triple, -1, 0))))
    best = np.zeros_like(right)
    explained = np.zeros(right.shape[:-1])
    for free, x in candidates:
        gain = sum(value * r[k] for k, value in zip(free, x, strict=True))
        wins = gain > explained
        for value in x:
            wins &= value > 0
        explained[wins] = gain[wins]
        best[wins] = 0.0
        for k, value in zip(free, x, strict=True):
            best[wins, k] = value[wins]
    return best, explained


def valleys(theta: Array, values: Array, most: int) -> Array:
    """Return the lowest point of every valley of the grid first, then the lowest of the rest.

    Parameters
    ----------
    theta, values : ndarray, shapes (n, n, 5) and (n, n)
        From `projected_grid`.
    most : int
        How many rows to return.
    """
    padded = np.pad(values, 1, constant_values=np.inf)
    n = len(values)
    lowest = np.isfinite(values)
    for i, j in itertools.product((0, 1, 2), repeat=2):
        lowest &= values <= padded[i : i + n, j : j + n]
    # Every third point of the grid, so that starts are spread over a long valley
    spread = np.zeros_like(lowest)
    spread[::3, ::3] = True
    on_diagonal = np.isfinite(values).sum() <= n
    order = np.lexsort((values.ravel(), ~(spread | on_diagonal).ravel(), ~lowest.ravel()))
    order = order[np.isfinite(values.ravel()[order])]
    return theta.reshape(-1, 5)[order[:most]]
