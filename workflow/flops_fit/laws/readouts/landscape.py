"""The loss around the optimum, draw by draw: an answer's path with the shape of a surface.

An answer says where the optimum at C lies and how low it is. How the loss rises beside it is the
surface's to say. Both meet in

    L(N, C) = L_opt(C) + [S(N_S(C) e^u) - S(N_S(C))],   u = log N - log N_opt(C),

with S the surface along D = C / flops_per_unit(N), and N_S its own optimum there. So the lowest
loss at C is the answer's, at the answer's N, whatever the surface says of either; a surface that
is its own answer is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.surface import optimal_log_N

Array = NDArray[np.float64]

MAX_AT_ONCE = 1_000_000
"""Numbers that the search for a surface's optimum holds in one array: 8 MB each."""


class Path(Protocol):
    """N_opt and L_opt as functions of C, of many draws.

    log_C has shape (n_C,), for every draw the same, or (n_draws, n_C); what is returned has shape
    (n_draws, n_C).
    """

    def log_N_opt(self, log_C: Array) -> Array:
        """Return log N of the optimum."""

    def L_opt(self, log_C: Array) -> Array:
        """Return its loss, nats per unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surfaces:
    """Many surfaces L(N, D) = E + A/N^alpha + B/D^beta; also the path of their optima.

    Parameters
    ----------
    rows : ndarray, shape (n_draws, 5 or 6)
        log A, log B, log E, alpha, beta, and gamma of a bracket.
    """

    rows: Array
    flops: FlopsPerUnit

    def __len__(self) -> int:
        return len(self.rows)

    def log_N_opt(self, log_C: Array) -> Array:
        """Return log N of the lowest loss at C, see `Path`."""
        log_C = np.atleast_2d(log_C)
        n = max(len(self), len(log_C))
        rows = np.broadcast_to(self.rows, (n, self.rows.shape[1]))
        C = np.broadcast_to(np.exp(log_C), (n, log_C.shape[1]))
        n_segments = self.flops.log_N.size + 1
        step = max(1, MAX_AT_ONCE // (n_segments * C.shape[1]))
        return np.concatenate(
            [
                optimal_log_N(rows[start : start + step], C[start : start + step], self.flops)
                for start in range(0, n, step)
            ]
        )

    def L_opt(self, log_C: Array) -> Array:
        """Return the loss of the optimum, see `Path`."""
        return self.loss(self.log_N_opt(log_C), log_C)

    def loss(self, log_N: Array, log_C: Array) -> Array:
        """Return L(N, C / flops_per_unit(N)), arrays that broadcast with (n_draws, 1)."""
        E = np.exp(self.rows[:, 2:3])
        return E + self.above_E(log_N, log_C)

    def above_E(self, log_N: Array, log_C: Array) -> Array:
        """Return L - E, as `loss`."""
        log_A, log_B, _, alpha, beta = (self.rows[:, i, np.newaxis] for i in range(5))
        log_D = log_C - log_flops(self.flops, log_N)
        with np.errstate(over="ignore"):
            found = np.exp(log_A - alpha * log_N) + np.exp(log_B - beta * log_D)
        return found ** self.rows[:, 5:6] if self.rows.shape[1] > 5 else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the loss rises beside the optimum, of many draws, from surfaces.

    Draws may be moved away from an estimate by a small-sample factor: `estimate` is one surface.
    """

    draws: Surfaces
    estimate: Surfaces
    factor: float = 1.0

    def excess(self, u: Array, log_C: Array) -> Array:
        """Return S(N_S e^u) - S(N_S) at C, nats per unit: 0 at u = 0 and positive beside it.

        Parameters
        ----------
        u : ndarray
            log N - log N_opt; broadcasts with log_C.
        log_C : ndarray, shape (n_C,) or (n_draws, n_C)
        """
        found = _excess(self.draws, u, log_C)
        if self.factor == 1:
            return found
        centre = _excess(self.estimate, u, log_C)
        return np.maximum(centre + self.factor * (found - centre), 0.0)


def _excess(surfaces: Surfaces, u: Array, log_C: Array) -> Array:
    centre = surfaces.log_N_opt(log_C)
    with np.errstate(invalid="ignore"):
        return surfaces.above_E(centre + u, log_C) - surfaces.above_E(centre, log_C)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedApart:
    """The path of draws that are moved away from the path of an estimate by a factor."""

    draws: Path
    estimate: Path
    factor: float

    def log_N_opt(self, log_C: Array) -> Array:
        """Return log N of the optimum, see `Path`."""
        centre = self.estimate.log_N_opt(log_C)
        return centre + self.factor * (self.draws.log_N_opt(log_C) - centre)

    def L_opt(self, log_C: Array) -> Array:
        """Return its loss, see `Path`."""
        centre = self.estimate.L_opt(log_C)
        return centre + self.factor * (self.draws.L_opt(log_C) - centre)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """L(N, D) of many draws: a path of optima, and the shape of the loss beside it.

    log_C and log_N have shape (n,) or (n_draws, n), see `Path`.
    """

    path: Path
    shape: Shape | None
    """None if no surface was kept: then only the optima are known."""
    flops: FlopsPerUnit

    def log_N_opt(self, log_C: Array) -> Array:
        """Return log N of the lowest loss at C, (n_draws, n)."""
        return self.path.log_N_opt(log_C)

    def log_D_opt(self, log_C: Array) -> Array:
        """Return the log of D that this N leaves of C, (n_draws, n)."""
        return log_C - log_flops(self.flops, self.path.log_N_opt(log_C))

    def L_opt(self, log_C: Array) -> Array:
        """Return the lowest loss at C, (n_draws, n)."""
        return self.path.L_opt(log_C)

    def loss(self, log_N: Array, log_C: Array) -> Array:
        """Return L of a model of N parameters that is trained with C FLOPs, (n_draws, n)."""
        return self.L_opt(log_C) + self.excess(log_N - self.log_N_opt(log_C), log_C)

    def excess(self, u: Array, log_C: Array) -> Array:
        """Return by how much L exceeds L_opt(C) at N = N_opt(C) e^u, (n_draws, n)."""
        return self.shape.excess(u, log_C)


def shuffled_rows(n: int) -> NDArray[np.intp]:
    """Return the order in which draws are paired with draws that tell nothing of them, (n,)."""
    return np.random.default_rng(0).permutation(n)


def log_flops(flops: FlopsPerUnit, log_N: Array) -> Array:
    """Return log flops_per_unit as a function of log N, of any shape."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.log(flops.flops_per_unit(np.exp(log_N)))
