"""The figure of a backtest: predicted over found, against how far ahead.

    PYTHONPATH=workflow python benchmarks/backtest.py sweeps/*.csv --json outcomes.json
    PYTHONPATH=workflow python benchmarks/backtest_figure.py outcomes.json docs/backtest.png

One point for each prediction of a hidden budget, with its 90% interval: of the answer, and of the
approach that would be recommended if the form of the law were exact. Open points are predictions
whose interval does not reach what was found.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from flops_fit.report.style import INK, MUTED, house_style

METHODS = {"answer": "the answer", "if exact": "if the form were exact"}
QUANTITIES = {
    "N": (np.exp, (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)),
    "L": (lambda error: 1 + error / 100, (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)),
}
"""From errors to ratios, and the ticks; intervals that are wider go on beyond them."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, one colour for each sweep."""

AHEAD = (1, 2, 3, 5, 10, 20)
"""Ticks of how far ahead."""

SPREAD = 0.035
"""Predictions as far ahead stand beside one another: this share of their distance, at most."""


def beside(rows: list[dict]) -> np.ndarray:
    """Return where each prediction stands on the axis: by how far ahead, a little apart."""
    times = np.array([row["times"] for row in rows])
    order = np.argsort(times, kind="stable")
    shift = np.empty(times.size)
    shift[order] = np.linspace(-1, 1, times.size) * SPREAD
    return times * np.exp(shift)


def draw(axes, rows: list[dict], quantity: str, colours: dict[str, str]) -> None:
    """Draw the predictions of one method and quantity."""
    scale, ticks = QUANTITIES[quantity]
    rows = [row for row in rows if row[f"error_{quantity}"] is not None]
    axes.axhline(1.0, color=MUTED, linewidth=1.0)
    for x, row in zip(beside(rows), rows, strict=True):
        colour, hit = colours[row["table"]], row[f"covered_{quantity}"]
        low, high = scale(np.array(row[f"ends_{quantity}"]))
        y = scale(row[f"error_{quantity}"])
        axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.7)
        axes.plot(x, y, "o", color=colour, markerfacecolor=colour if hit else "white", markersize=5)
    held = sum(row[f"covered_{quantity}"] for row in rows)
    axes.text(0.02, 0.96, f"{held} of {len(rows)} held", transform=axes.transAxes, va="top")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(ticks[0], ticks[-1])
    axes.set_ylabel(rf"${quantity}_\mathrm{{opt}}$, predicted over found")


def figure(outcomes: list[dict], names: dict[str, str]):
    """Return the figure: a column for each method, N_opt above L_opt."""
    tables = list(dict.fromkeys(row["table"] for row in outcomes))
    colours = {table: COLOURS[i % len(COLOURS)] for i, table in enumerate(tables)}
    drawn, grid = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey="row")
    for column, (method, title) in enumerate(METHODS.items()):
        rows = [row for row in outcomes if row["method"] == method]
        for axes, quantity in zip(grid[:, column], QUANTITIES, strict=True):
            draw(axes, rows, quantity, colours)
        grid[0, column].set_title(title, color=INK)
        grid[1, column].set_xlabel("C over the largest C that was known")
        grid[1, column].set_xticks(AHEAD, [f"{tick}" for tick in AHEAD])
        grid[1, column].minorticks_off()
    handles = [
        plt.Line2D([], [], color=colours[t], marker="o", label=names.get(t, t)) for t in tables
    ]
    drawn.legend(handles=handles, loc="lower center", ncol=len(tables), fontsize=8)
    drawn.tight_layout(rect=(0, 0.05, 1, 1))
    return drawn


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outcomes", help="the file of backtest.py --json")
    parser.add_argument("figure", help="the file to write, .png or .svg")
    parser.add_argument("--name", nargs="*", default=[], metavar="TABLE=NAME", help="for readers")
    options = parser.parse_args()
    names = dict(text.split("=", 1) for text in options.name)
    outcomes = json.loads(Path(options.outcomes).read_text(encoding="utf-8"))
    with house_style():
        figure(outcomes, names).savefig(options.figure, dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
