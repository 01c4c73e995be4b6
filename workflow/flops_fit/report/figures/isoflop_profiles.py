"""The IsoFLOP profiles: loss against size, one parabola per budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flops_fit.laws.results import Profile
from flops_fit.report.figures.axes import (
    N_SAMPLES,
    axis_labels,
    label_count_axis,
    math_text,
    runs_with_loss,
    write_caption,
)
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.style import BUDGET_MARKERS, DASHES, MUTED, budget_colours, house_style

# How far a parabola is drawn past its points, as a fraction of their extent in log N, and the
# furthest it is followed to show a minimum that lies outside them.
OVERHANG = 0.12
FURTHEST_MINIMUM = 1.0

# An upright stroke hides no measured point, and a minimum often lies on one.
_STROKE = {"marker": "|", "markeredgewidth": 1.6, "linestyle": "none"}


def isoflop_profiles(fit: ReportedFit, runs: pd.DataFrame, unit: str = "token") -> Figure:
    """Draw L against N per budget, with the fitted parabolas and their minima.

    Parameters
    ----------
    fit : ReportedFit
        If no approach fitted parabolas, only the measured points are drawn, and the caption says
        so.
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
    excluded = measured[measured["id"].isin(fit.excluded)]
    profiles = next((approach.profiles for approach in fit.fitted if approach.profiles), ())
    labels = axis_labels(fit.params, unit, fit.loss_unit)
    with house_style():
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        ax = figure.add_subplot()
        ax.set_xscale("log")
        if profiles:
            handles, without_minimum = _draw_fitted_profiles(ax, profiles)
            n_drawn = sum(len(profile.N) for profile in profiles)
        else:
            kept = measured[~measured["id"].isin(excluded["id"])]
            handles, without_minimum = _draw_runs_by_budget(ax, kept), []
            n_drawn = len(kept)
        if len(excluded):
            cross = {"linestyle": "none", "marker": "x", "color": MUTED}
            ax.plot(excluded["N"], excluded["loss"], gid="excluded", zorder=1.5, **cross)
            handles.append(Line2D([], [], label="not in the fit", **cross))
        ax.set_xlabel(labels["N_opt"])
        ax.set_ylabel(labels["L_opt"])
        ax.set_title("IsoFLOP profiles", loc="left", fontweight="bold")
        label_count_axis(ax.xaxis, ax.get_xlim())
        figure.legend(handles=handles, loc="outside right upper", title="budget", alignment="left")
        sentences = _caption(fit, runs, n_drawn, without_minimum)
        write_caption(figure, sentences, width=125)
    return figure


def _draw_fitted_profiles(
    ax: Axes, profiles: Sequence[Profile]
) -> tuple[list[Line2D], list[float]]:
    """Draw all profiles; return the legend's handles and the budgets without a visible minimum."""
    handles, without_minimum = [], []
    for i, (profile, colour) in enumerate(
        zip(profiles, budget_colours(len(profiles)), strict=True)
    ):
        marker = BUDGET_MARKERS[i % len(BUDGET_MARKERS)]
        if not _draw_profile(ax, i, profile, colour, marker):
            without_minimum.append(profile.C)
        handles.append(_budget_handle(profile.C, colour, marker, line=True))
    dashed = {"linewidth": 1.3, "linestyle": DASHES}
    handles += [
        Line2D([], [], color=MUTED, label="minimum of parabola", markersize=12, **_STROKE),
        Line2D([], [], color=MUTED, label="beyond measured sizes", **dashed),
    ]
    return handles, without_minimum


def _draw_profile(ax: Axes, i: int, profile: Profile, colour, marker: str) -> bool:
    """Draw one budget's points, parabola and minimum; return whether the minimum could be shown."""
    low, high = profile.log_N_range
    extent = high - low
    left, right = low - OVERHANG * extent, high + OVERHANG * extent
    shown = profile.has_minimum and abs(profile.position - 0.5) <= 0.5 + FURTHEST_MINIMUM
    if shown:
        left = min(left, profile.log_N_opt - OVERHANG * extent)
        right = max(right, profile.log_N_opt + OVERHANG * extent)

    for side, (start, stop) in {"left": (left, low), "right": (high, right)}.items():
        log_N = np.linspace(start, stop, N_SAMPLES)
        beyond = {"linewidth": 1.3, "linestyle": DASHES, "gid": f"profile-{i}-beyond-{side}"}
        ax.plot(np.exp(log_N), profile.parabola.at(log_N), color=colour, **beyond)
    log_N = np.linspace(low, high, N_SAMPLES)
    ax.plot(np.exp(log_N), profile.parabola.at(log_N), color=colour, gid=f"profile-{i}-parabola")
    in_fit = profile.weights > 0.0
    points = {"linestyle": "none", "marker": marker, "color": colour}
    ax.plot(profile.N[in_fit], profile.L[in_fit], gid=f"profile-{i}-points", **points)
    if not in_fit.all():
        hollow = {"markerfacecolor": "white", "gid": f"profile-{i}-points-without-weight"}
        ax.plot(profile.N[~in_fit], profile.L[~in_fit], **points, **hollow)
    if shown:
        stroke = {**_STROKE, "markersize": 24, "gid": f"profile-{i}-minimum"}
        ax.plot([math.exp(profile.log_N_opt)], [profile.L_opt], color=colour, **stroke)
    return shown


def _draw_runs_by_budget(ax: Axes, measured: pd.DataFrame) -> list[Line2D]:
    """Draw only the measured points, with one colour per budget if the runs have budgets."""
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


def _caption(
    fit: ReportedFit, runs: pd.DataFrame, n_drawn: int, without_minimum: Sequence[float]
) -> list[str]:
    drawn = f"{n_drawn} measured {'run' if n_drawn == 1 else 'runs'}"
    n_diverged = int((runs["status"] == "diverged").sum())
    sentences = [f"{drawn}; {n_diverged} diverged, not drawn." if n_diverged else f"{drawn}."]
    if without_minimum:
        budgets = ", ".join(math_text(C) for C in without_minimum)
        sentences.append(f"No minimum within reach of the sizes at {budgets} FLOPs.")
    for approach in fit.left_out:
        if approach.method.is_reference:
            name = approach.method.called
            sentences.append(f"No parabolas: {name} is left out ({approach.status}).")
    return sentences
