"""One look for all figures, independent of the user's matplotlib settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import matplotlib.style

INK = "#222222"
MUTED = "#6b6b6b"
FAINT = "#b8b8b8"
BAND_ALPHA = 0.18
DASHES = (0, (3, 2))
"""Lines outside the measured range."""

# A second cue beside colour, so that neighbouring budgets differ in greyscale print as well.
BUDGET_MARKERS = ("o", "s", "^", "D", "v", "P")
# Viridis beyond this point is too light to read on white.
VIRIDIS_END = 0.75

SETTINGS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 11.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.title_fontsize": 9.0,
    "legend.frameon": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.linewidth": 0.8,
    "axes.xmargin": 0.06,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 200,  # twice the width at which a README shows the figure
    "svg.fonttype": "path",
    "svg.hashsalt": "flops-fit",  # element ids are random without it
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with `SETTINGS` over matplotlib's defaults; restore the caller's settings afterwards."""
    with matplotlib.style.context(SETTINGS, after_reset=True):
        yield


def budget_colours(n: int) -> list[tuple[float, float, float, float]]:
    """Colours (RGBA) for `n` budgets in ascending order, dark to light, none too light."""
    viridis = matplotlib.colormaps["viridis"]
    if n == 1:
        return [viridis(VIRIDIS_END / 2)]
    return [viridis(VIRIDIS_END * i / (n - 1)) for i in range(n)]
