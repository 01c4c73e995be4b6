"""The optimum against training compute, with the laws of every fitted approach."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from flops_fit.report.figures.axes import (
    COMPUTE_LABEL,
    N_SAMPLES,
    axis_labels,
    label_compute_axis,
    label_count_axis,
    label_loss_axis,
    runs_with_loss,
    write_caption,
)
from flops_fit.report.fitted import LAWS, Approach, Law, ReportedFit
from flops_fit.report.quantities import human_interval, human_r_squared, law_text
from flops_fit.report.style import (
    BAND_ALPHA,
    DASHES,
    FAINT,
    MUTED,
    house_style,
)

_COLUMNS = {"N_opt": "N", "D_opt": "D", "L_opt": "loss"}


def optimum_scaling(fit: ReportedFit, runs: pd.DataFrame, unit: str = "token") -> Figure:
    """Draw N_opt, D_opt and L_opt against C with the law of every fitted approach.

    Parameters
    ----------
    fit : ReportedFit
        Approaches that are not `ok` are left out and named in the caption.
    runs : DataFrame
        Content of `runs.csv`: the completed runs are faint dots behind the optima.
    unit : str
        What D counts, in the singular.

    Returns
    -------
    Figure
        Three panels, all axes logarithmic. Laws are solid over the compute of their points and
        dashed beyond it; intervals and predictions are those of the recommended approach.
    """
    measured, labels = runs_with_loss(runs), axis_labels(fit.params, unit, fit.loss_unit)
    has_intervals = False
    with house_style():
        figure = Figure(figsize=(10.0, 4.4 + 0.18 * len(fit.fitted)), layout="constrained")
        for ax, quantity in zip(figure.subplots(1, 3), LAWS, strict=True):
            ax.set(xscale="log", yscale="log", xlabel=COMPUTE_LABEL, ylabel=labels[quantity])
            dots = {"linestyle": "none", "marker": ".", "color": FAINT, "zorder": 1}
            ax.plot(measured["C"], measured[_COLUMNS[quantity]], gid=f"runs-{quantity}", **dots)
            has_intervals |= _draw_approaches(ax, fit, quantity)
            low, high = ax.get_xlim()
            if high < 1.5 * low:  # one budget: autoscaling would magnify its rounding
                ax.set_xlim(low / 2.0, high * 2.0)
            label_compute_axis(ax.xaxis, ax.get_xlim())
            label_axis = label_loss_axis if quantity == "L_opt" else label_count_axis
            label_axis(ax.yaxis, ax.get_ylim())
        figure.legend(
            handles=_common_handles(fit, has_intervals), loc="outside upper left", ncols=3
        )
        missing = [f"{entry.method.called} ({entry.status})" for entry in fit.left_out]
        if missing:
            write_caption(figure, [f"Left out: {', '.join(missing)}."], width=140)
    return figure


def _draw_approaches(ax: Axes, fit: ReportedFit, quantity: str) -> bool:
    """Draw every approach in one panel, with its legend; return whether there were intervals."""
    handles, has_intervals = [], False
    for approach in fit.fitted:
        emphasised = approach is fit.recommended
        handles.append(_draw_law(ax, approach, quantity, emphasised))
        if emphasised:
            has_intervals = _draw_predictions(ax, approach, quantity)
    if handles:
        above = {"loc": "lower left", "bbox_to_anchor": (-0.2, 1.0), "borderpad": 0.2}
        ax.legend(handles=handles, handlelength=1.6, handletextpad=0.5, **above)
    return has_intervals


def _draw_law(ax: Axes, approach: Approach, quantity: str, emphasised: bool) -> Line2D:
    """Draw one approach's optima and law in one panel; return the line for the legend.

    The law of L may be missing: then only the optima are drawn, and the legend says so.
    """
    colour, marker = approach.method.colour, approach.method.marker
    width, order = (2.2, 3.0) if emphasised else (1.2, 2.0)
    gid = f"optimum-{approach.name}-{quantity}"
    law = approach.laws.get(quantity)
    C = [point.C for point in approach.points]
    reach = [*C, *(prediction.C for prediction in approach.predictions)]
    parts = {
        "extrapolation-below": (min(reach), min(C)),
        "extrapolation-above": (max(C), max(reach)),
        "law": (min(C), max(C)),
    }
    for part, (start, stop) in parts.items():
        if law is None or (part != "law" and start == stop):
            continue
        grid = np.geomspace(start, stop, N_SAMPLES)
        line = ax.plot(grid, law.at(grid), color=colour, linewidth=width, zorder=order)[0]
        line.set(linestyle="-" if part == "law" else DASHES, gid=f"{gid}-{part}")

    style = {"linestyle": "none", "marker": marker, "color": colour, "zorder": order + 0.5}
    for at_edge, suffix in ((False, "points"), (True, "points-at-edge")):
        chosen = [point for point in approach.points if point.at_edge == at_edge]
        if chosen:
            xy = [point.C for point in chosen], [getattr(point, quantity) for point in chosen]
            face = "white" if at_edge else colour
            ax.plot(*xy, markerfacecolor=face, gid=f"{gid}-{suffix}", **style)
    label = _law_label(quantity[0], law)
    return Line2D([], [], color=colour, linewidth=width, marker=marker, label=label)


def _law_label(symbol: str, law: Law | None) -> str:
    if law is None:
        return f"no law of {symbol}"
    label = f"{law_text(symbol, law)}  ($R^2$ {human_r_squared(law.r_squared)})"
    interval = human_interval(law.exponent_interval, lambda value: f"{value:.3f}")
    if interval:
        label += f"\nexponent in {interval.replace('-', '−')}"
    return label


def _draw_predictions(ax: Axes, approach: Approach, quantity: str) -> bool:
    """Mark the extrapolated predictions and shade the intervals; return whether there were any."""
    colour, gid = approach.method.colour, f"optimum-{approach.name}-{quantity}"
    predicted = [(row, row.estimates[quantity]) for row in approach.predictions]
    beyond = [
        (row.C, estimate.value)
        for row, estimate in predicted
        if row.extrapolated and estimate.value is not None
    ]
    if beyond:
        style = {"linestyle": "none", "marker": "D", "markersize": 6, "markerfacecolor": "white"}
        ax.plot(
            *zip(*beyond, strict=True), color=colour, zorder=4, gid=f"{gid}-predictions", **style
        )
    given = np.array([estimate.interval is not None for _, estimate in predicted], dtype=bool)
    if not given.any():
        return False
    C = np.array([row.C for row, _ in predicted])
    low, high = np.array([estimate.interval or (np.nan, np.nan) for _, estimate in predicted]).T
    band = ax.fill_between(C, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0)
    band.set(gid=f"{gid}-interval", zorder=1.5)
    # A band needs two neighbours; a bar also shows a single interval.
    bars = {"color": colour, "linewidth": 1.0, "zorder": 2.5}
    ax.vlines(C[given], low[given], high[given], **bars).set_gid(f"{gid}-interval-bars")
    return True


def _common_handles(fit: ReportedFit, has_intervals: bool) -> list[Line2D | Patch]:
    """Legend entries that hold for all three panels."""
    handles: list[Line2D | Patch] = []
    for approach in fit.fitted:
        emphasised = approach is fit.recommended
        width = 2.2 if emphasised else 1.2
        label = approach.method.title + (" (recommended)" if emphasised else "")
        style = {
            "color": approach.method.colour,
            "marker": approach.method.marker,
        }
        handles.append(Line2D([], [], linewidth=width, label=label, **style))
    if fit.recommended and any(row.extrapolated for row in fit.recommended.predictions):
        hollow = {"marker": "D", "markerfacecolor": "white", "linestyle": DASHES}
        handles.append(Line2D([], [], color=MUTED, label="extrapolated", **hollow))
    if any(point.at_edge for approach in fit.fitted for point in approach.points):
        hollow = {"marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], color=MUTED, label="optimum at an edge", **hollow))
    if has_intervals:
        handles.append(Patch(facecolor=MUTED, alpha=2 * BAND_ALPHA, label="interval"))
    run_dot = {"marker": ".", "linestyle": "none", "color": FAINT}
    handles.append(Line2D([], [], label="single runs", **run_dot))
    return handles
