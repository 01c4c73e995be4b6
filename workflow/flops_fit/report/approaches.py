"""What the approaches are called."""

from __future__ import annotations

TITLES = {
    "1": "approach 1: training-curve envelope",
    "2": "approach 2: IsoFLOP profiles",
    "3": "approach 3: parametric surface",
    "vpnls": "VPNLS: parametric surface",
}
PROFILED = "2"
"""The approach that fits a parabola to each budget."""


def short_title(name: str) -> str:
    """Name of an approach as it reads inside a sentence, for example "approach 2"."""
    return TITLES[name].partition(":")[0]


def title(name: str) -> str:
    """Name of an approach and what it does, for example "approach 2: IsoFLOP profiles"."""
    return TITLES[name]
