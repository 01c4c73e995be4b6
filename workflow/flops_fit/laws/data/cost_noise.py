"""FLOPs per unit that scatter from run to run: how much, and the curve behind the scatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Array = NDArray[np.float64]

ROUNDING = 1e-4
"""Scatter of log(C/D) that is no noise: numbers of a table rounded to four digits."""

ALLOWED = 0.95
"""Level of the one-sided bounds on the noise that the scatter within sizes sets."""

MEDIAN_PRODUCT = 0.24659
"""Median of U V for standard normal U and V of correlation 2/3, by quadrature of their product's
density. 2/3 is minus the correlation of neighbouring second differences on an even grid."""

ROUGHNESS = np.logspace(-3, 4, 29)
"""Scales of a curve's bend over the sizes, in log(C/D), each as likely: 0.07 of it is how far the
middle strays from a line between the ends. The least is a line to 1e-4, the largest follows every
size of 64."""


def alternation(log_N: Array, log_cost: Array, n: Array) -> float:
    """Return the variance of log(C/D) of one run that neighbouring sizes show, 0 where none.

    Noise makes neighbouring second differences alternate: their expected product is negative. A
    smooth cost, however bent, gives them one sign, and a single step few products at all. So the
    variance is taken from the median over sizes of minus these products; the differences are the
    pseudo-residuals of Gasser, Sroka and Jennen-Steinmetz (1986, Biometrika 73, 625).

    It is assumed that a cost which alternates over most sizes is noise. One run per size cannot
    tell it from an architecture whose steps (heads, depth) alternate.

    Parameters
    ----------
    log_N, log_cost : ndarray, shape (n_sizes,)
        Log of the sizes, ascending, and the mean log(C/D) of each.
    n : ndarray, shape (n_sizes,)
        Runs of each that differ in C or D.
    """
    if log_N.size < 4:
        return 0.0
    w = (log_N[1:-1] - log_N[:-2]) / (log_N[2:] - log_N[:-2])
    away = log_cost[1:-1] - (1 - w) * log_cost[:-2] - w * log_cost[2:]
    away /= np.sqrt(1 / n[1:-1] + (1 - w) ** 2 / n[:-2] + w**2 / n[2:])
    return max(float(np.median(-away[:-1] * away[1:])) / MEDIAN_PRODUCT, 0.0)


def cost_noise(between: float, within: float, freedom: int) -> float:
    """Return the variance of log(C/D) of one run about a curve in log N, 0 where there is none.

    An exact accounting has one value of C/D per size. So the scatter within sizes bounds the noise
    from both sides, and of what lies within these bounds the nearest to `between` is taken:
    sizes that alternate, each with a C/D of its own that its runs repeat, are no noise.

    Parameters
    ----------
    between : float
        What neighbouring sizes show, see `alternation`.
    within : float
        Variance of log(C/D) within sizes; of no meaning without `freedom`.
    freedom : int
        Its degrees of freedom.
    """
    variance = between
    if freedom:
        bounds = freedom * within / chi2.ppf([ALLOWED, 1 - ALLOWED], freedom)
        variance = float(np.clip(between, *bounds))
    return max(variance - ROUNDING**2, 0.0)


def smoothed(x: Array, y: Array, variance: Array) -> Array:
    """Return the curve behind `y`, which is known up to errors of the given `variance`.

    The curve is a line and an integrated Wiener process, whose posterior mean at one roughness is
    a cubic smoothing spline (Wahba 1978, J. R. Stat. Soc. B 40, 364). It is averaged over
    `ROUGHNESS` by the restricted likelihood, so that no choice among them can flip. As the
    variance falls to zero, the curve goes to `y` itself; wiggles that exceed their errors are
    kept.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        x ascends.
    variance : ndarray, shape (n,)
        Positive.
    """
    if x.size < 3:
        return y
    sd = np.sqrt(variance)
    u = (x - x[0]) / (x[-1] - x[0])
    low, high = np.minimum.outer(u, u), np.maximum.outer(u, u)
    kernel = low**2 * (3 * high - low) / 6
    lines = np.stack([np.ones_like(u), u], axis=1) / sd[:, np.newaxis]
    beside_lines = np.linalg.qr(lines, mode="complete")[0][:, 2:]
    power, vectors = np.linalg.eigh(
        beside_lines.T @ (kernel / np.multiply.outer(sd, sd)) @ beside_lines
    )
    basis = beside_lines @ vectors
    z = basis.T @ (y / sd)
    total = 1 + np.multiply.outer(ROUGHNESS**2, np.maximum(power, 0.0))
    log_likelihood = -0.5 * (np.log(total) + z**2 / total).sum(axis=1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    noise_share = (weight / weight.sum()) @ (1 / total)
    return y - sd * (basis @ (noise_share * z))
