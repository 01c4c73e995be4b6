"""How the noise of log L changes with compute: small budgets are often the noisier ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from flops_fit.errors import UserError
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.solver.objectives import HuberLog
from flops_fit.laws.solver.search import search_surface

Array = NDArray[np.float64]

SETTINGS = ("constant", "by_compute")

PRIOR = 0.3
"""Prior standard deviation of the exponent, around 0: noise that falls from 2% to 0.3% over two
decades has 0.41. Few runs are drawn towards constant noise, without a threshold."""

FREEDOM = 4
"""Of Student's distribution of the residuals, so that an outlier does not make its budget noisy."""

CUBIC = 6
"""Sizes of a budget from which its valley is taken to be a cubic in log N, otherwise a parabola."""

N_REWEIGHTED = 10
"""Iterations of a regression with Student's weights: they settle to a few percent."""

CLEAR = 3.0
"""Standard errors from 0 beyond which noise is said to change with compute."""

LEAST_RATIO = 2.0
"""Ratio of the noise of the smallest to that of the largest budget from which it is said."""

ROUNDING = 1e-9
"""Residuals of log L below this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLaw:
    """The standard deviation of log L, proportional to C^-h.

    Parameters
    ----------
    h, std_err : float
        The posterior mode of the exponent, and its standard error.
    C0 : float
        FLOPs at which the scale is 1.
    ratio : float
        Noise at the smallest over noise at the largest C of the runs.
    """

    h: float
    std_err: float
    C0: float
    ratio: float

    def scale(self, C: ArrayLike) -> Array:
        """Return the standard deviation at `C` (FLOPs) over that at `C0`."""
        return (np.asarray(C, dtype=float) / self.C0) ** -self.h


def noise_law(runs: RunTable) -> NoiseLaw | None:
    """Return how the noise changes with C, None where no residual tells.

    The residuals are those of each budget's own curve in log N, so that no law between budgets
    enters; of a table without budgets, those of a surface. Their scale is fitted by the likelihood
    of Student's distribution with a normal prior on the exponent (Lange, Little and Taylor 1989,
    J. Am. Stat. Assoc. 84, for the likelihood).
    """
    if not len(runs) or runs.L.min() <= 0:
        return None
    residual, share = _residuals(runs)
    told = share > 0
    if told.sum() < 2 or np.abs(residual).max() < ROUNDING:
        return None
    log_C = np.log(runs.C)
    middle = float(log_C.mean())
    x, r, w = log_C[told] - middle, residual[told], share[told]
    start = np.log(np.maximum(1.4826 * np.median(np.abs(r)), ROUNDING))

    def minus_log_posterior(p: Array) -> float:
        log_scale = p[0] - p[1] * x
        square = (r * np.exp(-log_scale)) ** 2
        each = log_scale + (FREEDOM + 1) / 2 * np.log1p(square / FREEDOM)
        return float((w * each).sum() + 0.5 * (p[1] / PRIOR) ** 2)

    found = minimize(minus_log_posterior, [start, 0.0], method="BFGS")
    h = float(found.x[1])
    return NoiseLaw(
        h=h,
        std_err=float(np.sqrt(found.hess_inv[1, 1])),
        C0=float(np.exp(middle)),
        ratio=float(np.exp(h * np.ptp(log_C))),
    )


def weighing_law(setting: str, law: NoiseLaw | None) -> NoiseLaw | None:
    """Return the law by which runs are weighed under a setting of `fit.noise`, None for none.

    Raises
    ------
    UserError
        If there is no such setting.
    """
    if setting not in SETTINGS:
        raise UserError(f"fit.noise is {setting!r}, but must be one of {', '.join(SETTINGS)}.")
    return law if setting == "by_compute" else None


def judge_noise(law: NoiseLaw | None, *, weighted: bool) -> list[Judgement]:
    """Say how the noise changes with compute where that is clear, or where fits go by it."""
    if law is None:
        return []
    if weighted:
        return [judge("noise_by_compute", h=law.h, std_err=law.std_err, ratio=law.ratio)]
    if abs(law.h) < CLEAR * law.std_err or max(law.ratio, 1 / law.ratio) < LEAST_RATIO:
        return []
    return [judge("noise_varies", h=law.h, std_err=law.std_err, ratio=law.ratio)]


def _residuals(runs: RunTable) -> tuple[Array, Array]:
    """Return residuals of log L at the scale of the noise, and how much each tells: 0 is nothing.

    A residual of n runs and p parameters tells (n - p)/n of what a run with known mean would.
    """
    residual, share = np.zeros(len(runs)), np.zeros(len(runs))
    log_N, log_L = np.log(runs.N), np.log(runs.L)
    if not runs.profiled.any():
        if len(runs) < 2 * CUBIC:
            return residual, share
        surface, _ = search_surface(runs.N, runs.D, runs.L, HuberLog())
        rest = log_L - np.log(surface.loss(runs.N, runs.D))
        part = 1 - 5 / len(runs)
        return rest / np.sqrt(part), np.full(len(runs), part)
    for budget in np.unique(runs.budget[runs.profiled]):
        own = np.flatnonzero((runs.budget == budget) & runs.profiled)
        n_sizes = np.unique(runs.N[own]).size
        degree = 3 if n_sizes >= CUBIC else 2
        if n_sizes <= degree or own.size <= degree + 1:
            continue
        u = log_N[own] - log_N[own].mean()
        rest, free = _robust_residuals(np.vander(u / np.abs(u).max(), degree + 1), log_L[own])
        residual[own] = rest / np.sqrt(np.maximum(free, 1e-9))
        share[own] = np.where(free > 1e-6, free, 0.0)
    return residual, share


def _robust_residuals(X: Array, y: Array) -> tuple[Array, Array]:
    """Return residuals of a regression with Student's weights, and one less their leverages."""
    weights = np.ones(y.size)
    for _ in range(N_REWEIGHTED):
        root = np.sqrt(weights)
        Q, R = np.linalg.qr(X * root[:, np.newaxis])
        rest = y - X @ np.linalg.solve(R, Q.T @ (y * root))
        # As many residuals as there are parameters are small whatever the noise
        scale = max(float(np.median(np.sort(np.abs(rest))[X.shape[1] :])), ROUNDING)
        weights = (FREEDOM + 1) / (FREEDOM + (rest / scale) ** 2)
    return rest, np.maximum(1 - (np.linalg.qr(X)[0] ** 2).sum(-1), 0.0)
