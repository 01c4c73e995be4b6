"""The surface of a designed sweep: relative least squares that look at the optimum and upwards.

A design places few runs at its largest budgets and many at small ones, which are cheap. Where the
form is not exact, the small ones bend the surface away from where it is asked; so runs count by a
power of their compute, and not at all far from the optimum of their compute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from flops_fit.errors import UserError
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.forms.surface import Surface, optimal_log_N
from flops_fit.laws.solver.objectives import SquaredLoss
from flops_fit.laws.solver.search import search_surface

Array = NDArray[np.float64]

POWER = 0.3
"""Of C in the weights. Over simulated designs with a misfit errors of N_opt were 0.92 times those
of equal weights, and 1.16 times where the form is exact (`benchmarks/planner.py`)."""

FARTHEST = float(np.log(6.0) + 0.15)
"""e-folds of N from the optimum at which a run still counts: a design's sizes lie within six times
it, and it moves a little as runs come in."""

MIN_KEPT = 10
"""Runs near the optimum without which none is left out."""

STEP = 1e-5
"""Of parameters, for derivatives by differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearOptimum:
    """A surface with the covariance of its parameters, if its form is exact.

    Parameters
    ----------
    surface : Surface
    covariance : ndarray, shape (5, 5)
        Of log A, log B, log E, alpha, beta.
    noise : float
        Standard deviation of log L of one run.
    kept : ndarray of bool, shape (n_runs,)
        Runs that count.
    flops : FlopsPerUnit
    """

    surface: Surface
    covariance: Array
    noise: float
    kept: NDArray[np.bool_]
    flops: FlopsPerUnit

    def optimum(self, C: Array, level: float = 0.95) -> tuple[Array, Array]:
        """Return log N_opt and log L_opt at compute C, each as estimate, low and high.

        Parameters
        ----------
        C : ndarray, shape (n,)
            FLOPs.
        level : float
            Nominal coverage, if the form is exact.

        Returns
        -------
        tuple of ndarray, shape (n, 3) each
        """
        row, C = self.surface.to_row(), np.asarray(C, dtype=float)
        at = self._at(row, C)
        by = np.eye(5) * STEP
        slopes = np.stack([(self._at(row + b, C) - self._at(row - b, C)) / (2 * STEP) for b in by])
        std = np.sqrt(np.einsum("iqn,ij,jqn->qn", slopes, self.covariance, slopes))
        half = float(norm.ppf((1 + level) / 2)) * std
        log_N, log_L = np.stack([at, at - half, at + half], axis=-1)
        return log_N, log_L

    def _at(self, row: Array, C: Array) -> Array:
        """Return log N_opt and log L_opt, shape (2, n)."""
        log_N = optimal_log_N(row[np.newaxis], C, self.flops)[0]
        N = np.exp(log_N)
        L = Surface.from_row(row).loss(N, self.flops.D_at(C, N))
        return np.stack([log_N, np.log(L)])


def fit_near_optimum(runs: RunTable, flops: FlopsPerUnit, *, power: float = POWER) -> NearOptimum:
    """Return the surface that minimises sum C^power (Lhat / L - 1)^2 over runs near the optimum.

    The optimum is that of a first fit to all runs.

    Raises
    ------
    UserError
        If a loss is not positive, so that it has no relative error.
    """
    if runs.L.min() <= 0:
        raise UserError(
            "losses of 0 and below have no relative error that a surface could be fit to"
        )
    weights = (runs.C / runs.C.max()) ** power / runs.L**2
    kept = np.ones(len(runs), dtype=bool)
    surface = _surface(runs, weights, kept)
    centre = np.log(surface.N_opt(runs.C, flops))
    near = np.abs(np.log(runs.N) - centre) <= FARTHEST
    if near.sum() >= MIN_KEPT and not near.all():
        kept = near
        surface = _surface(runs, weights, kept)
    return _with_covariance(surface, runs.take(kept), weights[kept], kept, flops)


def _surface(runs: RunTable, weights: Array, kept: NDArray[np.bool_]) -> Surface:
    some = runs.take(kept)
    return search_surface(some.N, some.D, some.L, SquaredLoss(), weights=weights[kept])[0]


def _with_covariance(
    surface: Surface, runs: RunTable, weights: Array, kept: NDArray[np.bool_], flops: FlopsPerUnit
) -> NearOptimum:
    """Return the surface with the covariance of a weighted fit to runs of one relative noise."""
    terms = np.stack(
        [
            surface.A * runs.N**-surface.alpha,
            surface.B * runs.D**-surface.beta,
            np.full(len(runs), surface.E),
        ],
        axis=-1,
    )
    fitted = terms.sum(axis=-1)
    jacobian = (
        np.column_stack([terms, -terms[:, 0] * np.log(runs.N), -terms[:, 1] * np.log(runs.D)])
        / fitted[:, np.newaxis]
    )
    residual = np.log(runs.L / fitted)
    noise = float(np.sqrt(residual @ residual / max(len(runs) - 5, 1)))
    root = np.sqrt(weights) * runs.L
    inverse = np.linalg.pinv(jacobian * root[:, np.newaxis]) * root
    return NearOptimum(
        surface=surface,
        covariance=noise**2 * inverse @ inverse.T,
        noise=noise,
        kept=kept,
        flops=flops,
    )
