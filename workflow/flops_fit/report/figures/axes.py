"""Shared parts of the figures: axes and their labels, the runs to draw, the caption."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator

from flops_fit.report.quantities import (
    human_count,
    log_ticks,
    loss_unit_label,
    math_number,
    parameter_label,
)
from flops_fit.report.style import MUTED

COMPUTE_LABEL = "training compute C (FLOPs)"
N_SAMPLES = 200
"""Points along a drawn curve."""


def axis_labels(params: str, unit: str, loss_unit: str | None = None) -> dict[str, str]:
    """Name N (the `params` of fit.json says which), D and L with their units, by quantity."""
    unit = unit.replace("$", r"\$")  # the user's word, not a formula
    return {
        "N_opt": f"{parameter_label(params)} N",
        "D_opt": f"training {unit}s D",
        "L_opt": f"validation loss L ({loss_unit_label(loss_unit, unit)})",
    }


def label_compute_axis(axis: Axis, limits: tuple[float, float]) -> None:
    """Label powers of ten in FLOPs, with rounder values between them on a short axis."""
    ticks = log_ticks(*limits, most=5, subdivide=False)
    if len(ticks) < 3:
        ticks = log_ticks(*limits, most=3)
    if len(ticks) < 2:
        ticks = _even_ticks(limits, most=3)
    _set_ticks(axis, ticks, [math_text(tick) for tick in ticks])


def label_count_axis(axis: Axis, limits: tuple[float, float]) -> None:
    """Label counts of parameters or units with suffixes: 10k, 2M."""
    ticks = log_ticks(*limits, most=8)
    if len(ticks) < 2:
        ticks = _even_ticks(limits, most=6)
    _set_ticks(axis, ticks, [human_count(tick) for tick in ticks])


def label_loss_axis(axis: Axis, limits: tuple[float, float]) -> None:
    """Label losses with as many decimals as the ticks need."""
    ticks = log_ticks(*limits, most=8)
    if len(ticks) < 3:
        ticks = _even_ticks(limits, most=7)
    decimals = next(d for d in range(16) if all(math.isclose(round(t, d), t) for t in ticks))
    _set_ticks(axis, ticks, [f"{tick:.{decimals}f}" for tick in ticks])


def _set_ticks(axis: Axis, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _even_ticks(limits: tuple[float, float], most: int) -> list[float]:
    """Evenly spaced round values, for a log axis too short for 1, 2 and 5 times powers of ten."""
    ticks = MaxNLocator(most - 1).tick_values(*limits)
    return [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]]


def math_text(value: float) -> str:
    """Write a number as mathtext with its dollar signs."""
    return f"${math_number(value)}$"


def runs_with_loss(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a loss, which diverged ones do not have."""
    return runs[(runs["status"] == "completed") & np.isfinite(runs["loss"].astype(float))]


def write_caption(figure: Figure, sentences: Sequence[str], width: int) -> None:
    """Put the caption at the bottom, as `supxlabel`, for which the layout reserves space."""
    text = textwrap.fill(" ".join(sentences), width)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color=MUTED)
