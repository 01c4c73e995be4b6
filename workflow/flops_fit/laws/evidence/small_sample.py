"""Small-sample factors, by which percentiles of resamples are moved away from the estimate."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.resampling import training_strata

OVERDISPERSION = 2.5
"""Calibrated on studies of 45 runs simulated by benchmarks/coverage.py."""


def restored_variance(runs: RunTable, *, stratify: bool) -> float:
    """Return the factor for resampled runs, which scatter too little.

    A stratum of n runs holds (n - 1)/n of the variance of n new ones. Where runs are checkpoints,
    their trainings count, not they.
    """
    n, trainings = len(runs), runs.trainings
    if trainings is not None:
        n = int(trainings.max()) + 1
        stratify = stratify and training_strata(runs, trainings) is not None
    n_strata = np.unique(runs.budget).size if stratify else 1
    return math.sqrt(n / max(n - n_strata, n / 2))


def student_over_normal(level: float, freedom: int) -> float:
    """Return the factor for least squares, whose percentiles take the noise as known.

    Those percentiles follow a normal distribution; Student's quantile, with as many degrees of
    freedom as there are observations beyond the parameters, accounts for estimating the noise.
    """
    tail = (1 + level) / 2
    return float(student_t.ppf(tail, max(freedom, 1)) / norm.ppf(tail))


def overdispersed(n: int) -> float:
    """Return the factor for a Huber loss with a delta far below the noise.

    It is close to least absolute deviations, whose resamples scatter too much, especially for few
    runs: the estimate depends on the density of the errors at 0, which a resample of few runs
    renders too coarsely. The factor 1/sqrt(1 + 2.5/sqrt(n)) was chosen by simulations of 45 runs
    (benchmarks/coverage.py; its README gives the results for other seeds and numbers of runs).
    """
    return 1 / math.sqrt(1 + OVERDISPERSION / math.sqrt(n))
