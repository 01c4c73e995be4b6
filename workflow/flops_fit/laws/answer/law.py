"""The answer as draws of two laws, which is all that it takes to evaluate it anywhere.

With x = log C - centre and psi(x) = 2 reach^2 log cosh(x / reach):

    log N_opt = c + a x + g psi(x)
    L_opt     = E + exp(c' + b x + g' psi(x))

psi is x^2 where the runs are, and becomes a line beyond `reach`: a bend that was measured goes on
for a while, but an exponent does not change for ever. The estimate at a C is the median over the
draws, its interval their percentiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ANSWER_COLUMNS = (
    "N_opt log coefficient",
    "N_opt exponent",
    "N_opt bend",
    "L_opt log coefficient",
    "L_opt exponent",
    "L_opt bend",
    "L_opt offset",
)
"""What a draw holds: c, a, g, c', b, g', E."""


def bend(x: ArrayLike, reach: float) -> Array:
    """Return psi(x) = 2 reach^2 log cosh(x / reach): x^2 near 0, a line far from it.

    Parameters
    ----------
    x : array_like, any shape
        log C, counted from the centre.
    reach : float
        Where the parabola turns into a line, positive.
    """
    scaled = np.asarray(x, dtype=float) / reach
    return 2 * reach**2 * (np.logaddexp(scaled, -scaled) - np.log(2))


def basis(x: ArrayLike, reach: float) -> Array:
    """Return 1, x, psi(x) of each x, shape (n, 3)."""
    x = np.asarray(x, dtype=float)
    return np.stack([np.ones_like(x), x, bend(x, reach)], axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimumLaw:
    """Draws of the laws of N_opt and L_opt.

    Parameters
    ----------
    centre : float
        Middle of the measured log C, natural log of FLOPs.
    reach : float
        How far from the centre a bend goes on, in e-folds of C.
    rows : ndarray, shape (n_draws, 7)
        The draws by `ANSWER_COLUMNS`. Those of L_opt are NaN if there is no law of the loss.
    """

    centre: float
    reach: float
    rows: Array

    def log_N_opt(self, log_C: ArrayLike) -> Array:
        """Return log N_opt of every draw at each log C, shape (n_draws, n_C).

        log_C has shape (n_C,), or (n_draws, n_C) where each draw has its own.
        """
        return self._along(self.rows[:, :3], log_C)

    def L_opt(self, log_C: ArrayLike) -> Array:
        """Return L_opt of every draw at each log C, as `log_N_opt`."""
        with np.errstate(over="ignore"):
            return self.rows[:, 6:] + np.exp(self._along(self.rows[:, 3:6], log_C))

    @property
    def has_loss(self) -> bool:
        """Whether there is a law of the loss."""
        return bool(np.isfinite(self.rows[:, 3:]).all())

    def _along(self, coefficients: Array, log_C: ArrayLike) -> Array:
        x = np.atleast_1d(np.asarray(log_C, dtype=float)) - self.centre
        level, slope, bent = (coefficients[:, i, np.newaxis] for i in range(3))
        return level + slope * x + bent * bend(x, self.reach)

    def to_json(self) -> dict[str, Any]:
        """Return `answer.law` of fit.json; the draws of a column are one text of numbers."""
        return {
            "centre": self.centre,
            "reach": self.reach,
            "draws": {
                name: " ".join(f"{value:.9g}" for value in values) if np.isfinite(values[0]) else ""
                for name, values in zip(ANSWER_COLUMNS, self.rows.T, strict=True)
            },
        }

    @classmethod
    def from_json(cls, law: Mapping[str, Any]) -> OptimumLaw:
        """Read `answer.law` of fit.json.

        Raises
        ------
        KeyError, ValueError
            If it is not one.
        """
        columns = [np.array(law["draws"][name].split(), dtype=float) for name in ANSWER_COLUMNS]
        n = columns[0].size
        columns = [column if column.size else np.full(n, np.nan) for column in columns]
        return cls(
            centre=float(law["centre"]), reach=float(law["reach"]), rows=np.stack(columns, axis=-1)
        )
