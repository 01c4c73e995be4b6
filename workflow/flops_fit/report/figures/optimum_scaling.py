"""The optimum against training compute, with the laws of every fitted approach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from flops_fit.report.approaches import (
    exponent_interval,
    fitted_approaches,
    left_out,
    recommended_name,
    short_title,
    title,
)
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
from flops_fit.report.quantities import human_interval, human_r_squared, law_text
from flops_fit.report.style import (
    APPROACH_COLOURS,
    APPROACH_MARKERS,
    BAND_ALPHA,
    FAINT,
    MUTED,
    house_style,
)


def optimum_scaling(fit: Mapping[str, Any], runs: pd.DataFrame, unit: str = "token") -> Figure:
    """Draw N_opt, D_opt and L_opt against C with the law of every fitted approach.

    Parameters
    ----------
    fit : mapping
        Content of `fit.json`. Approaches that are not `ok` are left out and named in the caption.
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
    measured, fitted = runs_with_loss(runs), fitted_approaches(fit)
    labels, recommended = axis_labels(fit, unit), recommended_name(fit)
    columns = {"N_opt": "N", "D_opt": "D", "L_opt": "loss"}
    has_intervals = False
    with house_style():
        figure = Figure(figsize=(10.0, 4.4 + 0.18 * len(fitted)), layout="constrained")
        for ax, quantity in zip(figure.subplots(1, 3), columns, strict=True):
            ax.set(xscale="log", yscale="log", xlabel=COMPUTE_LABEL, ylabel=labels[quantity])
            dots = {"linestyle": "none", "marker": ".", "color": FAINT, "zorder": 1}
            ax.plot(measured["C"], measured[columns[quantity]], gid=f"runs-{quantity}", **dots)
            handles = []
            for name, approach in fitted.items():
                emphasised = name == recommended
                handles.append(_draw_law(ax, name, quantity, approach, emphasised))
                if emphasised:
                    has_intervals |= _draw_predictions(ax, name, quantity, approach)
            if handles:
                above = {"loc": "lower left", "bbox_to_anchor": (-0.2, 1.0), "borderpad": 0.2}
                ax.legend(handles=handles, handlelength=1.6, handletextpad=0.5, **above)
            low, high = ax.get_xlim()
            if high < 1.5 * low:  # one budget: autoscaling would magnify its rounding
                ax.set_xlim(low / 2.0, high * 2.0)
            label_compute_axis(ax.xaxis, ax.get_xlim())
            label_axis = label_loss_axis if quantity == "L_opt" else label_count_axis
            label_axis(ax.yaxis, ax.get_ylim())
        figure.legend(
            handles=_scaling_handles(fit, has_intervals), loc="outside upper left", ncols=3
        )
        missing = [f"{short_title(name)} ({status})" for name, status, _ in left_out(fit)]
        if missing:
            write_caption(figure, [f"Left out: {', '.join(missing)}."], width=140)
    return figure


def _draw_law(
    ax: Axes, name: str, quantity: str, approach: Mapping[str, Any], emphasised: bool
) -> Line2D:
    """Draw one approach's optima and law in one panel; return the line for the legend.

    The law of L may be missing (None): then the optima stand alone, and the legend says so.
    """
    colour, marker = APPROACH_COLOURS[name], APPROACH_MARKERS[name]
    width, order = (2.2, 3.0) if emphasised else (1.2, 2.0)
    gid = f"optimum-{name}-{quantity}"
    law, points = approach[quantity], approach["points"]
    C = [point["C"] for point in points]
    reach = [*C, *(prediction["C"] for prediction in approach["predictions"])]
    parts = {
        "extrapolation-below": (min(reach), min(C)),
        "extrapolation-above": (max(C), max(reach)),
        "law": (min(C), max(C)),
    }
    for part, (start, stop) in parts.items():
        if law is None or (part != "law" and start == stop):
            continue
        grid = np.geomspace(start, stop, N_SAMPLES)
        line = ax.plot(grid, _law(law, grid), color=colour, linewidth=width, zorder=order)[0]
        line.set(linestyle="-" if part == "law" else (0, (3, 2)), gid=f"{gid}-{part}")

    style = {"linestyle": "none", "marker": marker, "color": colour, "zorder": order + 0.5}
    for at_edge, suffix in ((False, "points"), (True, "points-at-edge")):
        chosen = [point for point in points if bool(point["at_edge"]) == at_edge]
        if chosen:
            xy = [p["C"] for p in chosen], [p[quantity] for p in chosen]
            face = "white" if at_edge else colour
            ax.plot(*xy, markerfacecolor=face, gid=f"{gid}-{suffix}", **style)
    label = _law_label(quantity, law)
    return Line2D([], [], color=colour, linewidth=width, marker=marker, label=label)


def _law(law: Mapping[str, Any], C: np.ndarray) -> np.ndarray:
    """y = offset + coefficient * C^exponent, shape (n,)."""
    return (law["offset"] or 0.0) + law["coefficient"] * C ** law["exponent"]


def _law_label(quantity: str, law: Mapping[str, Any] | None) -> str:
    if law is None:
        return f"no law of {quantity[0]}"
    label = f"{law_text(quantity[0], law)}  ($R^2$ {human_r_squared(law['r_squared'])})"
    interval = human_interval(exponent_interval(law), lambda value: f"{value:.3f}")
    if interval:
        label += f"\nexponent in {interval.replace('-', '−')}"
    return label


def _draw_predictions(ax: Axes, name: str, quantity: str, approach: Mapping[str, Any]) -> bool:
    """Mark the extrapolated predictions and shade the intervals; say whether there were any."""
    predictions = sorted(approach["predictions"], key=lambda prediction: prediction["C"])
    colour, gid = APPROACH_COLOURS[name], f"optimum-{name}-{quantity}"
    known = [prediction for prediction in predictions if prediction[quantity] is not None]
    beyond = [prediction for prediction in known if prediction["extrapolated"]]
    if beyond:
        xy = [p["C"] for p in beyond], [p[quantity] for p in beyond]
        style = {"linestyle": "none", "marker": "D", "markersize": 6, "markerfacecolor": "white"}
        ax.plot(*xy, color=colour, zorder=4, gid=f"{gid}-predictions", **style)
    intervals = [prediction[f"{quantity}_ci"] for prediction in predictions]
    given = np.array([interval is not None for interval in intervals], dtype=bool)
    if not given.any():
        return False
    C = [prediction["C"] for prediction in predictions]
    low, high = np.array([interval or (np.nan, np.nan) for interval in intervals], float).T
    band = ax.fill_between(C, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0)
    band.set(gid=f"{gid}-interval", zorder=1.5)
    # A band needs two neighbours; a bar shows an interval that stands alone as well.
    ax.vlines(
        np.array(C)[given], low[given], high[given], color=colour, linewidth=1.0, zorder=2.5
    ).set_gid(f"{gid}-interval-bars")
    return True


def _scaling_handles(fit: Mapping[str, Any], has_intervals: bool) -> list[Line2D | Patch]:
    """Legend entries that hold for all three panels."""
    recommended = recommended_name(fit)
    handles: list[Line2D | Patch] = []
    has_predictions = has_edges = False
    for name, approach in fitted_approaches(fit).items():
        emphasised = name == recommended
        width = 2.2 if emphasised else 1.2
        label = title(name) + (" (recommended)" if emphasised else "")
        style = {"color": APPROACH_COLOURS[name], "marker": APPROACH_MARKERS[name]}
        handles.append(Line2D([], [], linewidth=width, label=label, **style))
        has_edges |= any(point["at_edge"] for point in approach["points"])
        if emphasised:
            has_predictions = any(row["extrapolated"] for row in approach["predictions"])
    if has_predictions:
        hollow = {"marker": "D", "markerfacecolor": "white", "linestyle": (0, (3, 2))}
        handles.append(Line2D([], [], color=MUTED, label="extrapolated", **hollow))
    if has_edges:
        hollow = {"marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], color=MUTED, label="optimum at an edge", **hollow))
    if has_intervals:
        handles.append(Patch(facecolor=MUTED, alpha=2 * BAND_ALPHA, label="interval"))
    run_dot = {"marker": ".", "linestyle": "none", "color": FAINT}
    handles.append(Line2D([], [], label="single runs", **run_dot))
    return handles
