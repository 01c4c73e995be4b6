"""What the answer assumes before it sees a run: every constant once, with its source.

"Public sweeps" are published IsoFLOP tables (Epoch AI's reading of Hoffmann et al. 2022, arXiv
2404.10102; the Marin project, arXiv 2603.22339; NX-AI's Llama runs), of which
`benchmarks/prior_of_forms.py` relearns the constants and `benchmarks/backtest.py` tests them. The
values are rounded: the backtest hardly depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ValleyPriors:
    """Of the loss against log N at one budget."""

    width: float = float(np.log(8.0))
    """e-folds of N from the minimum at which a run counts half: over a factor 8 a valley of
    alpha = beta = 0.35 leaves its parabola by 5% of its depth."""
    fading: float = 6.0
    """Power of the distance by which runs beyond that fade."""
    noise: float = 1e-3
    """Standard deviation of log L about its valley, assumed with `noise_freedom`; residuals of
    public sweeps have 0.2% to 0.8%, two seeds of one model differ by 0.1%."""
    noise_freedom: float = 4.0
    """Degrees of freedom of that assumption, and of the pooled noise in the noise of a budget."""
    outlier_freedom: float = 4.0
    """Degrees of freedom of the t distribution whose weights outlying runs get (Lange, Little and
    Taylor 1989, J. Am. Stat. Assoc. 84)."""
    curvature: float = 0.02
    """Coefficient of (log N)^2 over L: (L - E) alpha beta / (2 L) at alpha = beta = 0.35, E = L/3
    is 0.04, at E = 0.8 L 0.012."""
    curvature_std: float = 0.02
    curvature_spread: float = 0.35
    """Relative standard deviation of the curvatures of a study's budgets about their mean."""
    curvature_trend: tuple[float, float] = (-0.08, 0.05)
    """Of the log of the curvature over L per e-fold of C, for budgets of two sizes: of (L - E) / L
    with L - E falling as C^-0.15 and E = L / 2 it is -0.075."""
    skew_std: float = 0.08
    """Of beta - alpha, the ratio of the third to the second derivative of a valley at its minimum:
    0.06 in Hoffmann et al. 2022, table A3; 0.02 in arXiv 2404.10102."""
    skew_share: float = 0.5
    """Share of the bias that this asymmetry gives a parabola's vertex which is corrected: beyond
    simulations asymmetric windows look the same."""
    beyond_edge: float = 0.5
    """Standard error of a minimum outside of the sizes, per e-fold of its distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPriors:
    """Of log N_opt and of log(L_opt - E) against log C."""

    exponent: tuple[float, float] = (0.5, 0.1)
    """Of N_opt, mean and standard deviation; 0.46 to 0.55 are published (Hoffmann et al. 2022,
    table 2), 0.73 under one schedule for all runs (Kaplan et al. 2020, arXiv 2001.08361)."""
    N_bend: tuple[float, float] = (-0.005, 0.015)
    """Coefficient of psi, per e-fold squared: -0.004 to -0.030 in public sweeps of four and more
    budgets, drawn towards the straight line."""
    N_scatter: float = 0.03
    """Median of the standard deviation of a budget's log N_opt about its path."""
    L_exponent: tuple[float, float] = (-0.12, 0.06)
    """Of L_opt - E: -alpha beta / (alpha + beta) is -0.15 in Hoffmann et al. 2022, -0.18 in arXiv
    2404.10102, -0.05 in Kaplan et al. 2020 with E = 0."""
    L_bend: tuple[float, float] = (0.0, 0.003)
    """Of log(L_opt - E), per e-fold squared."""
    L_scatter: float = 0.004
    """Median of the standard deviation of a budget's log(L_opt - E)."""
    scatter_spread: float = 1.0
    """Standard deviation of the logs of both scatters about these medians."""
    freedom: float = 8.0
    """Degrees of freedom of the common scale of a path's errors."""
    E_share: tuple[float, float] = (0.45, 0.17)
    """E over the lowest L_opt, mean and standard deviation, between 0.02 and 0.96: 0.46 to 0.56
    are relearned from five public sweeps, one left out each. Lower and wider than that, for tasks
    that can be learned completely (E = 0)."""
    E_below: tuple[float, float] = (0.0, 1.0)
    """Log of the distance of E below the lowest L_opt over the range of L_opt, for losses that may
    be negative, where no share of the loss makes sense."""
    reach: float = float(2 * np.log(10.0))
    """How far beyond the measured compute a bend goes on, e-folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrataPriors:
    """Of the minima of a grid of N and D, relative to its surfaces."""

    runs: int = 8
    """Runs of a stratum of C, at least, where there are two strata."""
    most: int = 8
    """Strata, at most."""
    width: float = 1.5
    """e-folds of N from the surface's optimum at which a run counts half."""
    shift_std: float = 0.5
    """Of the distance of the minimum from the surface's, e-folds of N."""
    curvature_std: float = 0.4
    """Of the curvature over the surface's, relative."""
    curvature_error: float = 0.25
    """Relative error of a shift by the curvature, which is the surface's own in good part."""
    furthest: float = 1.5
    """Shift that is not exceeded, e-folds."""
    beyond: float = 3.0
    """e-folds outside of a stratum's sizes that an optimum does not exceed: a factor of 20, from
    where a surface says nothing of it. Its distance is its standard error, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priors:
    """All that the answer assumes."""

    valley: ValleyPriors = ValleyPriors()
    path: PathPriors = PathPriors()
    strata: StrataPriors = StrataPriors()


PRIORS = Priors()
