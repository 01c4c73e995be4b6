"""The surface L(N, D) = E + A/N^alpha + B/D^beta, and where it is lowest at a given compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """L(N, D) = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, arXiv 2203.15556, equation 2).

    Parameters
    ----------
    E, A, B, alpha, beta : float
        E in nats per unit, A and B in nats per unit at one parameter and one unit; none negative.
    """

    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "a", "b")
    """Their names in files, with those of the optimum's exponents."""
    columns: ClassVar[tuple[str, ...]] = ("log A", "log B", "log E", "alpha", "beta")
    """What a row of `to_row` holds."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    @property
    def a(self) -> float:
        """Exponent of N_opt under C = k N D: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """Exponent of D_opt under C = k N D: alpha / (alpha + beta)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def G(self) -> float:
        """N_opt = G (C/k)^a and D_opt = (C/k)^b / G under C = k N D (equation 4 there)."""
        return float((self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta)))

    def loss(self, N: ArrayLike, D: ArrayLike) -> NDArray[np.float64]:
        """Return L at `N` parameters and `D` units, arrays that broadcast."""
        log_N, log_D = np.log(np.asarray(N, dtype=float)), np.log(np.asarray(D, dtype=float))
        return self.E + self.A * np.exp(-self.alpha * log_N) + self.B * np.exp(-self.beta * log_D)

    def to_row(self) -> NDArray[np.float64]:
        """Return log A, log B, log E, alpha, beta: one row of what the solver works on."""
        with np.errstate(divide="ignore"):
            logs = np.log([self.A, self.B, self.E])
        return np.array([*logs, self.alpha, self.beta])

    @classmethod
    def from_row(cls, row: ArrayLike) -> Surface:
        """Read log A, log B, log E, alpha, beta."""
        log_A, log_B, log_E, alpha, beta = (float(value) for value in np.asarray(row))
        A, B, E = (float(np.exp(value)) for value in (log_A, log_B, log_E))
        return cls(E=E, A=A, B=B, alpha=alpha, beta=beta)

    def N_opt(self, C: ArrayLike, flops: FlopsPerUnit) -> NDArray[np.float64]:
        """Return the N of the lowest loss that `C` FLOPs can buy, shape of `C`."""
        C = np.asarray(C, dtype=float)
        return np.exp(optimal_log_N(self.to_row()[np.newaxis], C.ravel(), flops)[0]).reshape(
            C.shape
        )


def optimal_log_N(
    rows: NDArray[np.float64], C: ArrayLike, flops: FlopsPerUnit
) -> NDArray[np.float64]:
    """Return log N of the lowest loss along D = C / flops_per_unit(N), for many surfaces at once.

    Between two measured sizes flops_per_unit is c N^s. There the loss A N^-alpha + B (c N^s / C)^
    beta has its only minimum at N^(alpha + beta s) = alpha A / (beta s B (c / C)^beta); where that
    lies outside of the interval, the nearer end is the lowest. The best interval wins, so that
    the result is the global minimum up to rounding.

    Parameters
    ----------
    rows : ndarray, shape (n_surfaces, 5 or more)
        log A, log B, log E, alpha, beta; an exponent of the bracket does not move its minimum.
    C : array_like, shape (n_budgets,) or (n_surfaces, n_budgets)
        FLOPs.

    Returns
    -------
    ndarray, shape (n_surfaces, n_budgets)
    """
    log_C = np.log(np.asarray(C, dtype=float))[..., np.newaxis]
    knots, slopes, intercepts = _segments(flops)
    log_A, log_B, _, alpha, beta = (rows[:, i, np.newaxis, np.newaxis] for i in range(5))
    rising = slopes > 0
    slope = np.where(rising, slopes, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = (
            (log_A + np.log(alpha)) - (log_B + np.log(beta * slope)) - beta * (intercepts - log_C)
        ) / (alpha + beta * slope)
    # Where a larger model costs no more FLOPs per unit, the largest is the best
    best = np.clip(np.where(rising, best, np.inf), knots[:-1], knots[1:])
    log_D = log_C - (intercepts + slopes * best)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.exp(log_A - alpha * best) + np.exp(log_B - beta * log_D)
    lowest = np.argmin(np.where(np.isnan(loss), np.inf, loss), axis=-1)
    return np.take_along_axis(best, lowest[..., np.newaxis], axis=-1)[..., 0]


def _segments(
    flops: FlopsPerUnit,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends, slopes and intercepts of log flops_per_unit as a function of log N."""
    x, y = flops.log_N, flops.log_flops
    # Sizes on one straight line are one interval: with C = 6 N D there is one in all
    keep = np.ones(x.size, dtype=bool)
    if x.size > 2:
        inner = np.diff(y) / np.diff(x)
        keep[1:-1] = np.abs(np.diff(inner)) > 1e-9
        if inner.size and np.all(np.abs(inner - 1) < 1e-9):
            keep[:] = False
            keep[0] = True
    elif x.size == 2 and abs((y[1] - y[0]) / (x[1] - x[0]) - 1) < 1e-9:
        keep[1] = False
    x, y = x[keep], y[keep]
    slopes = np.concatenate([[1.0], np.diff(y) / np.diff(x), [1.0]])
    knots = np.concatenate([[-np.inf], x, [np.inf]])
    if x.size == 1:
        slopes, knots = np.array([1.0]), np.array([-np.inf, np.inf])
        return knots, slopes, np.array([y[0] - x[0]])
    anchors = np.concatenate([[0], np.arange(x.size)])
    return knots, slopes, y[anchors] - slopes * x[anchors]
