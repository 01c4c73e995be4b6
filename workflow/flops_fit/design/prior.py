"""What is assumed of the law before the first run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLaw:
    """A law with its uncertainty.

    Parameters
    ----------
    mean : ndarray, shape (5,)
        log A, log B, log E (natural logs), alpha, beta of L = E + A/N^alpha + B/D^beta.
    covariance : ndarray, shape (5, 5)
        Of these.
    name, source : str
        What it is called, and where its figures are from.
    """

    mean: Array
    covariance: Array
    name: str
    source: str
