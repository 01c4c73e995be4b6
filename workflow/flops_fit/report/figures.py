"""Figures of a fit: the IsoFLOP profiles, and the optimum against training compute.

Lines that carry data have a group id (`Line2D.get_gid`), which becomes the element's id in the
SVG: `profile-<i>-points`, `optimum-<approach>-N_opt-law`, and so on.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator

from flops_fit.files.writing import whole_file
from flops_fit.report.approaches import (
    exponent_interval,
    fitted_approaches,
    left_out,
    recommended_name,
    short_title,
    title,
)
from flops_fit.report.quantities import (
    human_count,
    human_interval,
    human_r_squared,
    law_text,
    log_ticks,
    math_number,
    parameter_label,
)
from flops_fit.report.style import (
    APPROACH_COLOURS,
    APPROACH_MARKERS,
    BAND_ALPHA,
    BUDGET_MARKERS,
    FAINT,
    MUTED,
    budget_colours,
    house_style,
)

COMPUTE_LABEL = "training compute C (FLOPs)"
N_SAMPLES = 200
# How far a parabola is drawn past its points, as a fraction of their extent in log N, and the
# furthest it is followed to show a minimum that lies outside them.
OVERHANG = 0.12
FURTHEST_MINIMUM = 1.0


def _set_ticks(axis: Axis, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _even_ticks(limits: tuple[float, float], most: int) -> list[float]:
    """Evenly spaced round values, for a log axis too short for 1, 2 and 5 times powers of ten."""
    ticks = MaxNLocator(most - 1).tick_values(*limits)
    return [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]]


def _label_compute_axis(axis: Axis, limits: tuple[float, float]) -> None:
    ticks = log_ticks(*limits, most=5, subdivide=False)
    if len(ticks) < 3:
        ticks = log_ticks(*limits, most=3)
    if len(ticks) < 2:
        ticks = _even_ticks(limits, most=3)
    _set_ticks(axis, ticks, [_as_math(tick) for tick in ticks])


def _label_count_axis(axis: Axis, limits: tuple[float, float]) -> None:
    ticks = log_ticks(*limits, most=8)
    if len(ticks) < 2:
        ticks = _even_ticks(limits, most=6)
    _set_ticks(axis, ticks, [human_count(tick) for tick in ticks])


def _label_loss_axis(axis: Axis, limits: tuple[float, float]) -> None:
    ticks = log_ticks(*limits, most=8)
    if len(ticks) < 3:
        ticks = _even_ticks(limits, most=7)
    decimals = next(d for d in range(16) if all(math.isclose(round(t, d), t) for t in ticks))
    _set_ticks(axis, ticks, [f"{tick:.{decimals}f}" for tick in ticks])


def _as_math(value: float) -> str:
    return f"${math_number(value)}$"


def _axis_labels(fit: Mapping[str, Any], unit: str) -> dict[str, str]:
    unit = unit.replace("$", r"\$")  # a word of the user's, no formula
    return {
        "N_opt": f"{parameter_label(fit['params'])} N",
        "D_opt": f"training {unit}s D",
        "L_opt": f"validation loss L (nats per {unit})",
    }


def _measured(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a loss: what diverged has none."""
    return runs[(runs["status"] == "completed") & np.isfinite(runs["loss"].astype(float))]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _write_caption(figure: Figure, sentences: Sequence[str], width: int) -> None:
    """Put the caption at the foot; as `supxlabel`, because the layout keeps room for that."""
    text = textwrap.fill(" ".join(sentences), width)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color=MUTED)


def _vertex(profile: Mapping[str, Any]) -> float | None:
    """N at the minimum of a profile's parabola; None where it opens downwards or is flat."""
    _, c1, c2 = profile["coefficients"]
    return math.exp(profile["log_N_center"] - c1 / (2.0 * c2)) if c2 > 0 else None


def _parabola(profile: Mapping[str, Any], log_N: np.ndarray) -> np.ndarray:
    """L of a profile's parabola at `log_N`, shape (n,)."""
    c0, c1, c2 = profile["coefficients"]
    x = log_N - profile["log_N_center"]
    return c0 + c1 * x + c2 * x * x


def _draw_profile(ax: Axes, i: int, profile: Mapping[str, Any], colour, marker: str) -> bool:
    """Draw one budget's points, parabola and minimum; say whether the minimum could be shown."""
    N, L = np.asarray(profile["N"], float), np.asarray(profile["L"], float)
    in_fit = np.asarray(profile["weights"], float) > 0.0
    low, high = math.log(N.min()), math.log(N.max())
    extent = high - low
    left, right = low - OVERHANG * extent, high + OVERHANG * extent
    vertex = _vertex(profile)
    shown = vertex is not None and (
        low - FURTHEST_MINIMUM * extent <= math.log(vertex) <= high + FURTHEST_MINIMUM * extent
    )
    if shown:
        left = min(left, math.log(vertex) - OVERHANG * extent)
        right = max(right, math.log(vertex) + OVERHANG * extent)

    for side, (start, stop) in {"left": (left, low), "right": (high, right)}.items():
        log_N = np.linspace(start, stop, N_SAMPLES)
        beyond = _parabola(profile, log_N)
        line = ax.plot(np.exp(log_N), beyond, color=colour, linewidth=1.3, linestyle=(0, (3, 2)))
        line[0].set_gid(f"profile-{i}-beyond-{side}")
    log_N = np.linspace(low, high, N_SAMPLES)
    ax.plot(np.exp(log_N), _parabola(profile, log_N), color=colour, gid=f"profile-{i}-parabola")
    points = {"linestyle": "none", "marker": marker, "color": colour}
    ax.plot(N[in_fit], L[in_fit], gid=f"profile-{i}-points", **points)
    if not in_fit.all():
        gid = f"profile-{i}-points-without-weight"
        ax.plot(N[~in_fit], L[~in_fit], markerfacecolor="white", gid=gid, **points)
    if shown:
        at_vertex = _parabola(profile, np.log([vertex]))
        # An upright stroke hides no measured point, and a minimum often lies on one.
        stroke = {"marker": "|", "markersize": 24, "markeredgewidth": 1.6, "linestyle": "none"}
        ax.plot([vertex], at_vertex, color=colour, gid=f"profile-{i}-minimum", **stroke)
    return shown


def _budget_handle(C: float, colour, marker: str, line: bool) -> Line2D:
    label = f"{_as_math(C)} FLOPs"
    style = "-" if line else "none"
    return Line2D([], [], color=colour, marker=marker, linestyle=style, label=label)


def _draw_fitted_profiles(ax: Axes, profiles: Sequence[Mapping[str, Any]]):
    """Draw all profiles; return the legend's handles and the budgets without a visible minimum."""
    handles, without_minimum = [], []
    profiles = sorted(profiles, key=lambda profile: profile["C"])
    for i, (profile, colour) in enumerate(
        zip(profiles, budget_colours(len(profiles)), strict=True)
    ):
        marker = BUDGET_MARKERS[i % len(BUDGET_MARKERS)]
        if not _draw_profile(ax, i, profile, colour, marker):
            without_minimum.append(profile["C"])
        handles.append(_budget_handle(profile["C"], colour, marker, line=True))
    stroke = {"marker": "|", "markersize": 12, "markeredgewidth": 1.6, "linestyle": "none"}
    dashed = {"linewidth": 1.3, "linestyle": (0, (3, 2))}
    handles += [
        Line2D([], [], color=MUTED, label="minimum of parabola", **stroke),
        Line2D([], [], color=MUTED, label="beyond measured sizes", **dashed),
    ]
    return handles, without_minimum


def _draw_runs_by_budget(ax: Axes, measured: pd.DataFrame) -> list[Line2D]:
    """Draw the measured points alone, one colour per budget where the runs have budgets."""
    groups = list(measured.groupby("budget")) or [(None, measured)]
    handles = []
    for i, ((budget, group), colour) in enumerate(
        zip(groups, budget_colours(len(groups)), strict=True)
    ):
        marker = BUDGET_MARKERS[i % len(BUDGET_MARKERS)]
        points = {"linestyle": "none", "marker": marker, "color": colour}
        ax.plot(group["N"], group["loss"], gid=f"profile-{i}-points", **points)
        if budget is not None:
            handles.append(_budget_handle(budget, colour, marker, line=False))
    return handles


def _profiles_caption(
    fit: Mapping[str, Any], runs: pd.DataFrame, n_drawn: int, without_minimum: Sequence[float]
) -> list[str]:
    drawn = f"{_count(n_drawn, 'measured run')}"
    n_diverged = int((runs["status"] == "diverged").sum())
    sentences = [f"{drawn}; {n_diverged} diverged, not drawn." if n_diverged else f"{drawn}."]
    if without_minimum:
        budgets = ", ".join(_as_math(C) for C in without_minimum)
        sentences.append(f"No minimum within reach of the sizes at {budgets} FLOPs.")
    for name, status, _ in left_out(fit):
        if name == "2":
            sentences.append(f"No parabolas: {short_title(name)} is left out ({status}).")
    return sentences


def isoflop_profiles(fit: Mapping[str, Any], runs: pd.DataFrame, unit: str = "token") -> Figure:
    """Draw L against N per budget, with the parabolas of approach 2 and their minima.

    Parameters
    ----------
    fit : mapping
        Content of `fit.json`. Where approach 2 is not `ok`, the measured points are drawn alone
        and the caption says so.
    runs : DataFrame
        Content of `runs.csv`; gives the excluded runs (drawn as grey crosses) and the number of
        diverged ones (not drawn).
    unit : str
        What D counts, in the singular.

    Returns
    -------
    Figure
    """
    measured = _measured(runs)
    excluded = measured[measured["id"].isin([entry["id"] for entry in fit["excluded"]])]
    approach = fitted_approaches(fit).get("2")
    labels = _axis_labels(fit, unit)
    with house_style():
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        ax = figure.add_subplot()
        ax.set_xscale("log")
        if approach is None:
            kept = measured[~measured["id"].isin(excluded["id"])]
            handles, without_minimum = _draw_runs_by_budget(ax, kept), []
            n_drawn = len(kept)
        else:
            handles, without_minimum = _draw_fitted_profiles(ax, approach["profiles"])
            n_drawn = sum(len(profile["N"]) for profile in approach["profiles"])
        if len(excluded):
            cross = {"linestyle": "none", "marker": "x", "color": MUTED}
            ax.plot(excluded["N"], excluded["loss"], gid="excluded", zorder=1.5, **cross)
            handles.append(Line2D([], [], label="not in the fit", **cross))
        ax.set_xlabel(labels["N_opt"])
        ax.set_ylabel(labels["L_opt"])
        ax.set_title("IsoFLOP profiles", loc="left", fontweight="bold")
        _label_count_axis(ax.xaxis, ax.get_xlim())
        figure.legend(handles=handles, loc="outside right upper", title="budget", alignment="left")
        sentences = _profiles_caption(fit, runs, n_drawn, without_minimum)
        _write_caption(figure, sentences, width=125)
    return figure


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
    measured, fitted = _measured(runs), fitted_approaches(fit)
    labels, recommended = _axis_labels(fit, unit), recommended_name(fit)
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
            _label_compute_axis(ax.xaxis, ax.get_xlim())
            label_axis = _label_loss_axis if quantity == "L_opt" else _label_count_axis
            label_axis(ax.yaxis, ax.get_ylim())
        figure.legend(
            handles=_scaling_handles(fit, has_intervals), loc="outside upper left", ncols=3
        )
        missing = [f"{short_title(name)} ({status})" for name, status, _ in left_out(fit)]
        if missing:
            _write_caption(figure, [f"Left out: {', '.join(missing)}."], width=140)
    return figure


def save(figure: Figure, path_without_suffix: str | Path) -> list[Path]:
    """Write a figure as SVG and PNG, each whole or not at all.

    The bytes depend on the figure and on the version of matplotlib alone: element ids are salted
    with a constant, and neither file carries a date.

    Returns
    -------
    list of Path
        The SVG and the PNG.
    """
    stem = Path(path_without_suffix)
    metadata = {"svg": {"Date": None, "Creator": "flops-fit"}, "png": {"Software": None}}
    written = []
    with house_style():
        for suffix, fields in metadata.items():
            # `with_suffix` would cut a stem such as "fit.v2".
            path = stem.with_name(f"{stem.name}.{suffix}")
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=suffix, metadata=fields)
            written.append(path)
    return written
