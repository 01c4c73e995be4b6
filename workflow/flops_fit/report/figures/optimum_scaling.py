"""The optimum against training compute: the answer, and the laws of the approaches beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.stats import norm

from flops_fit.report.answer import ReportedAnswer
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
from flops_fit.report.fitted import Approach, ReportedFit
from flops_fit.report.predictions import LAWS
from flops_fit.report.quantities import human_interval, law_text
from flops_fit.report.style import BAND_ALPHA, DASHES, FAINT, INK, MUTED, house_style

Array = NDArray[np.float64]

_COLUMNS = {"N_opt": "N", "D_opt": "D", "L_opt": "loss"}
_POINT = {"linestyle": "none", "marker": "o", "color": INK}
_PREDICTION = {"linestyle": "none", "marker": "D", "markerfacecolor": "white", "color": INK}


def optimum_scaling(fit: ReportedFit, runs: pd.DataFrame, unit: str = "token") -> Figure:
    """Draw N_opt, D_opt and L_opt of the answer against C, with the approaches' laws beside it.

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
        Three panels, all axes logarithmic. Lines are solid over the compute of the optima and
        dashed beyond it; the band is the answer's interval, lighter beyond it.
    """
    measured, labels = runs_with_loss(runs), axis_labels(fit.params, unit, fit.loss_unit)
    with house_style():
        figure = Figure(figsize=(10.0, 4.6 + 0.18 * len(fit.fitted)), layout="constrained")
        for ax, quantity in zip(figure.subplots(1, 3), LAWS, strict=True):
            ax.set(xscale="log", xlabel=COMPUTE_LABEL, ylabel=labels[quantity])
            positive = quantity != "L_opt" or bool((measured["loss"].astype(float) > 0).all())
            ax.set_yscale("log" if positive else "linear")
            dots = {"linestyle": "none", "marker": ".", "color": FAINT, "zorder": 1}
            ax.plot(measured["C"], measured[_COLUMNS[quantity]], gid=f"runs-{quantity}", **dots)
            handles = _draw_answer(ax, fit.answer, quantity)
            handles += [_draw_law(ax, approach, quantity) for approach in fit.fitted]
            if handles:
                above = {"loc": "lower left", "bbox_to_anchor": (-0.2, 1.0), "borderpad": 0.2}
                ax.legend(handles=handles, handlelength=1.6, handletextpad=0.5, **above)
            _widen_one_budget(ax)
            label_compute_axis(ax.xaxis, ax.get_xlim())
            if positive:
                label_axis = label_loss_axis if quantity == "L_opt" else label_count_axis
                label_axis(ax.yaxis, ax.get_ylim())
        figure.legend(handles=_common_handles(fit), loc="outside upper left", ncols=3)
        missing = [f"{entry.method.called} ({entry.status})" for entry in fit.left_out]
        if missing:
            write_caption(figure, [f"Left out: {', '.join(missing)}."], width=140)
    return figure


def _widen_one_budget(ax: Axes) -> None:
    """Show a factor of two to either side of a single budget, not its rounding magnified."""
    low, high = ax.dataLim.intervalx
    if high < 1.5 * low:
        ax.set_autoscalex_on(False)
        ax.set_xlim(low / 2.0, high * 2.0)


def _spans(inside: list[float], everything: list[float]) -> dict[str, tuple[float, float]]:
    """The compute of a line: over the optima, and beyond them where something is predicted."""
    first, last = min(inside), max(inside)
    spans = {
        "extrapolation-below": (min(everything), first),
        "extrapolation-above": (last, max(everything)),
        "law": (first, last),
    }
    return {part: span for part, span in spans.items() if part == "law" or span[0] < span[1]}


def _draw_answer(ax: Axes, answer: ReportedAnswer, quantity: str) -> list[Line2D]:
    """Draw median, band, optima and predictions in one panel; return the line for the legend."""
    gid = f"answer-{quantity}"
    if not answer.points:
        return []
    C = [point.C for point in answer.points]
    has_law = answer.draws(quantity, C[:1]) is not None
    spans = _spans(C, [*C, *(row.C for row in answer.predictions)]) if has_law else {}
    for part, (start, stop) in spans.items():
        grid = np.geomspace(start, stop, N_SAMPLES)
        middle, low, high = answer.along(quantity, grid)
        line = ax.plot(grid, middle, color=INK, linewidth=2.2, zorder=3.0)[0]
        line.set(linestyle="-" if part == "law" else DASHES, gid=f"{gid}-{part}")
        alpha = BAND_ALPHA if part == "law" else 0.6 * BAND_ALPHA
        band = ax.fill_between(grid, low, high, color=INK, alpha=alpha, linewidth=0)
        band.set(gid=f"{gid}-{part}-interval", zorder=1.5)
    middle, low, high = _optima(answer, quantity)
    ax.vlines(C, low, high, color=INK, linewidth=1.2, zorder=3.4).set_gid(f"{gid}-points-interval")
    ax.plot(C, middle, gid=f"{gid}-points", zorder=3.5, **_POINT)
    beyond = [
        (row.C, row.estimates[quantity].value)
        for row in answer.predictions
        if row.extrapolated and row.estimates[quantity].value is not None
    ]
    if beyond:
        ax.plot(*zip(*beyond, strict=True), gid=f"{gid}-predictions", zorder=4, **_PREDICTION)
    label = "answer" if has_law else f"no law of {quantity[0]}"
    found = answer.exponent(quantity) if has_law and quantity != "L_opt" else None
    if found is not None:
        interval = human_interval(found[1], "{:.2f}".format).replace("-", "−")
        label = rf"answer: ${quantity[0]} \propto C^{{\,{found[0]:.2f}}}$ {interval}"
    return [Line2D([], [], color=INK, linewidth=2.2, marker="o", label=label)]


def _optima(answer: ReportedAnswer, quantity: str) -> tuple[Array, Array, Array]:
    """Return the optima that the answer rests on, with the ends of their normal intervals."""
    z = float(norm.ppf((1 + answer.level) / 2))
    if quantity == "L_opt":
        L = np.array([point.L_opt for point in answer.points])
        error = z * np.array([point.L_opt_std_err for point in answer.points])
        return L, L - error, L + error
    N = np.array([point.N_opt for point in answer.points])
    error = np.exp(z * np.array([point.log_N_opt_std_err for point in answer.points]))
    ends = N, N / error, N * error
    if quantity == "N_opt":
        return ends
    C = np.array([point.C for point in answer.points])
    middle, high, low = (answer.flops.D_at(C, n) for n in ends)
    return middle, low, high


def _draw_law(ax: Axes, approach: Approach, quantity: str) -> Line2D:
    """Draw one approach's law in one panel; return the line for the legend."""
    law, colour = approach.laws.get(quantity), approach.method.colour
    C = [point.C for point in approach.points]
    spans = _spans(C, [*C, *(row.C for row in approach.predictions)]) if law else {}
    for part, (start, stop) in spans.items():
        grid = np.geomspace(start, stop, N_SAMPLES)
        line = ax.plot(grid, law.at(grid), color=colour, linewidth=1.2, zorder=2.0)[0]
        line.set(
            linestyle="-" if part == "law" else DASHES,
            gid=f"optimum-{approach.name}-{quantity}-{part}",
        )
    label = f"no law of {quantity[0]}" if law is None else law_text(quantity[0], law)
    return Line2D([], [], color=colour, linewidth=1.2, label=label)


def _common_handles(fit: ReportedFit) -> list[Line2D | Patch]:
    """Legend entries that hold for all three panels."""
    handles: list[Line2D | Patch] = []
    answer = fit.answer
    if answer.points:
        label = f"answer: {answer.title}"
        handles.append(Line2D([], [], linewidth=2.2, label=label, color=INK, marker="o"))
    if answer.law is not None:
        label = f"{answer.level:.0%} interval of the answer"
        handles.append(Patch(facecolor=INK, alpha=BAND_ALPHA, label=label))
    handles += [
        Line2D([], [], linewidth=1.2, label=item.method.title, color=item.method.colour)
        for item in fit.fitted
    ]
    if any(row.extrapolated for row in answer.predictions):
        hollow = {"marker": "D", "markerfacecolor": "white", "linestyle": DASHES}
        handles.append(Line2D([], [], color=MUTED, label="extrapolated", **hollow))
    run_dot = {"marker": ".", "linestyle": "none", "color": FAINT}
    handles.append(Line2D([], [], label="single runs", **run_dot))
    return handles
