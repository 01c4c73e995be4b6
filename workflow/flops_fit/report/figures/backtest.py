"""The backtest: what the answer predicted of hidden budgets, over what was found there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from flops_fit.report.backtest import Backtest, Check
from flops_fit.report.figures.axes import math_text, write_caption
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.style import BAND_ALPHA, INK, MUTED, house_style

OUTSIDE = "#D55E00"
"""Of predictions whose interval misses: vermilion, which a deuteranope tells from `INK`."""

_NAMES = {"N_opt": "best size N", "L_opt": "loss L"}


def backtest_figure(fit: ReportedFit) -> Figure | None:
    """Draw each prediction with its interval over what was found; None without a backtest.

    Returns
    -------
    Figure or None
        A panel for N_opt and one for L_opt, if its law was found: a row for each prediction, in
        the order of fit.json.
    """
    test = fit.backtest
    if test is None or not test.rows:
        return None
    names = [name for name in _NAMES if any(getattr(row, name) for row in test.rows)]
    with house_style():
        size = (4.2 + 3.2 * len(names), 2.3 + 0.42 * len(test.rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            _draw(ax, test, name, fit.answer.level)
        places = np.arange(len(test.rows))
        labels = [f"{math_text(row.C)} FLOPs, {row.times:.3g} times ahead" for row in test.rows]
        axes[0].set_yticks(places, labels)
        axes[0].set_ylim(len(test.rows) - 0.4, -0.6)
        figure.legend(handles=_handles(test), loc="outside upper left", ncols=3)
        write_caption(figure, [test.text.replace("$", r"\$")], width=int(13 * size[0]))
    return figure


def _draw(ax: Axes, test: Backtest, name: str, level: float) -> None:
    checks = [(i, getattr(row, name)) for i, row in enumerate(test.rows) if getattr(row, name)]
    ax.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1, gid=f"backtest-{name}-found")
    places = np.array([i for i, _ in checks], float)
    noise = np.array([_noise(check, name, level) for _, check in checks])
    found = {"color": MUTED, "alpha": BAND_ALPHA, "linewidth": 9, "zorder": 1.2}
    ax.hlines(places, *noise.T, **found).set_gid(f"backtest-{name}-found-interval")
    for covered, part in ((True, "inside"), (False, "outside")):
        own = [(i, check) for i, check in checks if check.covered is covered]
        if not own:
            continue
        colour = INK if covered else OUTSIDE
        rows = [i for i, _ in own]
        low, high = np.array([check.interval for _, check in own]).T
        scale = np.array([check.found for _, check in own])
        bars = ax.hlines(rows, low / scale, high / scale, color=colour, linewidth=1.6, zorder=2)
        bars.set_gid(f"backtest-{name}-{part}-interval")
        face = colour if covered else "white"
        style = {"linestyle": "none", "marker": "o", "color": colour, "markerfacecolor": face}
        predicted = np.array([check.predicted for _, check in own])
        ax.plot(predicted / scale, rows, zorder=3, gid=f"backtest-{name}-{part}", **style)
    ax.set_xlabel(f"{_NAMES[name]}: predicted over found")


def _noise(check: Check, name: str, level: float) -> tuple[float, float]:
    """Return the normal interval of what was found, over it."""
    half = float(norm.ppf((1 + level) / 2)) * check.found_std_err
    if name == "N_opt":
        return float(np.exp(-half)), float(np.exp(half))
    return 1 - half / abs(check.found), 1 + half / abs(check.found)


def _handles(test: Backtest) -> Sequence[Line2D | Patch]:
    checks = [check for row in test.rows for check in (row.N_opt, row.L_opt) if check]
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=INK, marker="o", label="predicted, with its interval")
    ]
    if not all(check.covered for check in checks):
        hollow = {"marker": "o", "markerfacecolor": "white"}
        handles.append(
            Line2D([], [], color=OUTSIDE, label="does not reach what was found", **hollow)
        )
    handles.append(Patch(facecolor=MUTED, alpha=BAND_ALPHA, label="noise of what was found"))
    return handles
