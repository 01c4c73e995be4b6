"""Whether the runs are what the law foresaw: each round's prediction, and the lack of fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from flops_fit.design.derivatives import log_loss
from flops_fit.design.history import Choice, Trained
from flops_fit.design.posterior import Posterior
from flops_fit.laws.evidence.bending import bending_of

Array = NDArray[np.float64]

MISFIT_P = 0.01
"""p-value of the lack of fit below which the form is taken to be inexact."""

SURPRISE_P = 0.01
"""p-value below which the predictions of all checked rounds together call it inexact: 0.005 for
each of two. With the lack of fit, less than 4% of exact sweeps are called so
(`benchmarks/planner.py`)."""

LEAST_RESIDUAL = 1e-4
"""Residuals of log L below this are no misfit of any consequence, but the pull of the prior."""


def surprise_limit(surprises: Sequence[float | None]) -> float:
    """Return the p-value of a single round below which it surprises (Bonferroni)."""
    return SURPRISE_P / max(sum(p is not None for p in surprises), 2)


def surprise_of(
    before: Posterior, choices: Sequence[Choice], results: Sequence[Trained]
) -> float | None:
    """Return the p-value of a round's losses under what was predicted, None without a prediction.

    (r' S^-1 r) of the residuals r of log L is chi-square with as many degrees of freedom as there
    are runs; S is the covariance of the predictions and the noise.

    Parameters
    ----------
    before : Posterior
        From the runs before the round, which says how the predictions' errors go together.
    choices : sequence of Choice
        What was predicted.
    results : sequence of Trained
        Of these choices, in any order; failed ones do not count.
    """
    predicted = {choice.cell: choice for choice in choices if choice.log_L is not None}
    done = [run for run in results if run.L is not None and run.cell in predicted]
    if not done:
        return None
    log_N, log_D = (np.log([getattr(run.cell, key) for run in done]) for key in ("N", "D"))
    jacobian = log_loss(before.mean, log_N, log_D)[1]
    covariance = jacobian @ before.covariance @ jacobian.T + before.noise**2 * np.eye(len(done))
    residual = np.log([run.L for run in done]) - [predicted[run.cell].log_L for run in done]
    return float(chi2.sf(residual @ np.linalg.solve(covariance, residual), len(done)))


def misfit_of(
    posterior: Posterior, log_N: Array, log_D: Array, L: Array, budget: Array
) -> float | None:
    """Return the p-value of the surface against curves of its own for each budget.

    None where too few budgets have four sizes, or there is nothing to explain.
    """
    fitted, jacobian = log_loss(posterior.mean, log_N, log_D)
    # Centred, so that the columns are not nearly parallel
    jacobian[:, 3] += log_N.mean() * jacobian[:, 0]
    jacobian[:, 4] += log_D.mean() * jacobian[:, 1]
    residual = np.log(L) - fitted
    if np.abs(residual).max() < LEAST_RESIDUAL:
        return None
    found = bending_of(jacobian, log_N, budget, residual, np.ones_like(L), None)
    return None if found is None else found.p_value


def is_flawed(misfit: float | None, surprises: Sequence[float | None]) -> bool:
    """Say whether the checks call the form inexact."""
    below = [p is not None and p < surprise_limit(surprises) for p in surprises]
    return (misfit is not None and misfit < MISFIT_P) or any(below)
