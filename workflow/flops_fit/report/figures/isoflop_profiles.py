"""The IsoFLOP profiles: loss against size, one parabola per budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flops_fit.report.approaches import fitted_approaches, left_out, short_title
from flops_fit.report.figures.axes import (
    N_SAMPLES,
    axis_labels,
    label_count_axis,
    math_text,
    runs_with_loss,
    write_caption,
)
from flops_fit.report.style import BUDGET_MARKERS, MUTED, budget_colours, house_style

# How far a parabola is drawn past its points, as a fraction of their extent in log N, and the
# furthest it is followed to show a minimum that lies outside them.
OVERHANG = 0.12
FURTHEST_MINIMUM = 1.0


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
    measured = runs_with_loss(runs)
    excluded = measured[measured["id"].isin([entry["id"] for entry in fit["excluded"]])]
    approach = fitted_approaches(fit).get("2")
    labels = axis_labels(fit, unit)
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
        label_count_axis(ax.xaxis, ax.get_xlim())
        figure.legend(handles=handles, loc="outside right upper", title="budget", alignment="left")
        sentences = _profiles_caption(fit, runs, n_drawn, without_minimum)
        write_caption(figure, sentences, width=125)
    return figure


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


def _vertex(profile: Mapping[str, Any]) -> float | None:
    """N at the minimum of a profile's parabola; None where it opens downwards or is flat."""
    _, c1, c2 = profile["coefficients"]
    return math.exp(profile["log_N_center"] - c1 / (2.0 * c2)) if c2 > 0 else None


def _parabola(profile: Mapping[str, Any], log_N: np.ndarray) -> np.ndarray:
    """L of a profile's parabola at `log_N`, shape (n,)."""
    c0, c1, c2 = profile["coefficients"]
    x = log_N - profile["log_N_center"]
    return c0 + c1 * x + c2 * x * x


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


def _budget_handle(C: float, colour, marker: str, line: bool) -> Line2D:
    label = f"{math_text(C)} FLOPs"
    style = "-" if line else "none"
    return Line2D([], [], color=colour, marker=marker, linestyle=style, label=label)


def _profiles_caption(
    fit: Mapping[str, Any], runs: pd.DataFrame, n_drawn: int, without_minimum: Sequence[float]
) -> list[str]:
    drawn = f"{_count(n_drawn, 'measured run')}"
    n_diverged = int((runs["status"] == "diverged").sum())
    sentences = [f"{drawn}; {n_diverged} diverged, not drawn." if n_diverged else f"{drawn}."]
    if without_minimum:
        budgets = ", ".join(math_text(C) for C in without_minimum)
        sentences.append(f"No minimum within reach of the sizes at {budgets} FLOPs.")
    for name, status, _ in left_out(fit):
        if name == "2":
            sentences.append(f"No parabolas: {short_title(name)} is left out ({status}).")
    return sentences


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
