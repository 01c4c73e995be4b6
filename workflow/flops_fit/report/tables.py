"""The compute-optimal sizes as a table: numbers in full for programs, rounded for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from flops_fit.report.backtest import Backtest, Check
from flops_fit.report.fitted import QUANTITIES, HoldoutScore, Law, Prediction, ReportedFit
from flops_fit.report.quantities import (
    human_count,
    human_flops,
    human_interval,
    human_loss,
    human_r_squared,
    loss_unit_label,
    parameter_label,
)

COLUMNS = (
    "approach",
    "C",
    "extrapolated",
    *(f"{quantity}{suffix}" for quantity in QUANTITIES for suffix in ("", "_lo", "_hi")),
)
EXTRAPOLATED_MARK = "†"
MISSING = "–"


def prediction_table(fit: ReportedFit) -> pd.DataFrame:
    """Tabulate the recommended approach's predictions in full precision.

    Returns
    -------
    DataFrame
        One row per budget, ascending in C, with `COLUMNS`: C in FLOPs, N in parameters, D in
        units, L in nats per unit (or the `loss_unit` of fit.json), D_per_N in units per parameter.
        `_lo` and `_hi` are NaN if the
        fit computed no interval, and L_opt is NaN if it found no law for the loss. Without a
        recommended approach the table has no rows.
    """
    nothing = float("nan")
    rows = []
    for prediction in _recommended_predictions(fit):
        row = {
            "approach": fit.recommended.name,
            "C": prediction.C,
            "extrapolated": prediction.extrapolated,
        }
        for quantity in QUANTITIES:
            estimate = prediction.estimates[quantity]
            low, high = estimate.interval or (nothing, nothing)
            row |= {
                quantity: nothing if estimate.value is None else float(estimate.value),
                f"{quantity}_lo": float(low),
                f"{quantity}_hi": float(high),
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def table_markdown(fit: ReportedFit, *, unit: str = "token") -> str:
    """Write the compute-optimal sizes for reading, as Markdown that is aligned in a terminal.

    Parameters
    ----------
    unit : str
        What D counts, in the singular: `token`, `image`, ...

    Returns
    -------
    str
        Summary, table, backtest, hold-out scores, and all warnings. Rows outside the measured
        budgets carry a dagger.
    """
    lines = [f"- {line}" for line in _summary_lines(fit, unit)]
    lines += _prediction_lines(fit, unit)
    lines += _backtest_lines(fit.backtest)
    lines += _holdout_lines(fit)
    for entry in fit.left_out:
        why = f"{entry.status}{': ' if entry.reason else ''}{entry.reason}"
        lines += ["", f"Left out: {entry.method.called} ({why})."]
    found = collected_warnings(fit)
    lines += ["", "Warnings:" if found else "No warnings.", ""]
    lines += [f"- {warning}" for warning in found]
    return "\n".join(lines).rstrip() + "\n"


def collected_warnings(fit: ReportedFit) -> list[str]:
    """Every judgement of the fit once: general ones first, then those of each approach.

    If several approaches share the same text, it appears once, under the first one's name.
    """
    prefixes = {None: ""} | {item.name: f"{item.method.called}: " for item in fit.approaches}
    found: dict[str, str] = {}
    for name, prefix in prefixes.items():
        for judgement in fit.judgements:
            if judgement.approach == name:
                text = " ".join(judgement.text.split())
                found.setdefault(text, prefix + text)
    return list(found.values())


def _recommended_predictions(fit: ReportedFit) -> Sequence[Prediction]:
    return () if fit.recommended is None else fit.recommended.predictions


def _summary_lines(fit: ReportedFit, unit: str) -> list[str]:
    runs = f"{fit.n_runs} {'run' if fit.n_runs == 1 else 'runs'}"
    if fit.excluded:
        runs += f" ({len(fit.excluded)} more left out)"
    why = fit.why.rstrip(".")
    if fit.recommended is None:
        return [f"Study **{fit.study}**, {runs}: no approach could be recommended, {why}."]
    a, b = fit.recommended.laws["N_opt"], fit.recommended.laws["D_opt"]
    has_intervals = any(
        estimate.interval
        for prediction in fit.recommended.predictions
        for estimate in prediction.estimates.values()
    )
    intervals = (
        f"Intervals in brackets: {fit.interval_method}."
        if has_intervals
        else "No intervals were computed for this table."
    )
    open_ = " as the table does (fit.params does not say which)" * (fit.params == "as_in_table")
    return [
        f"Study **{fit.study}**, {runs}, read with {fit.recommended.method.title} ({why}).",
        f"N_opt grows as C^a, {_exponent_text('a', a)}; D_opt grows as C^b, "
        f"{_exponent_text('b', b)}: ten times the compute asks for {10**a.exponent:.3g} times the "
        f"parameters and {10**b.exponent:.3g} times the {unit}s.",
        f"N counts {parameter_label(fit.params)}{open_}. {intervals}",
    ]


def _exponent_text(symbol: str, law: Law) -> str:
    interval = human_interval(law.exponent_interval, lambda value: f"{value:.3f}")
    value = f"{symbol} = {law.exponent:.3f}" + (f" {interval}" if interval else "")
    return f"{value} (R² {human_r_squared(law.r_squared)})"


def _prediction_lines(fit: ReportedFit, unit: str) -> list[str]:
    """Lay out the predictions and explain their units; empty if there are none."""
    predictions = _recommended_predictions(fit)
    if not predictions:
        return []
    header = ["C (FLOPs)", "parameters N", f"{unit}s D", "D/N", "loss L"]
    rows = []
    for prediction in predictions:
        mark = EXTRAPOLATED_MARK if prediction.extrapolated else ""
        cells = [(human_flops(prediction.C), mark)]
        for quantity in ("N_opt", "D_opt", "D_per_N", "L_opt"):
            estimate = prediction.estimates[quantity]
            write = human_loss if quantity == "L_opt" else human_count
            value = MISSING if estimate.value is None else write(estimate.value)
            cells.append((value, human_interval(estimate.interval, write)))
        rows.append(cells)
    legend = f"D/N is in {unit}s per parameter, L in {loss_unit_label(fit.loss_unit, unit)}."
    if any(prediction.extrapolated for prediction in predictions):
        legend += f" {EXTRAPOLATED_MARK} extrapolated outside the measured budgets."
    return ["", *_table_lines(header, rows), "", legend]


def _backtest_lines(test: Backtest | None) -> list[str]:
    """Lay out what was predicted and found at the largest budgets; empty without an answer."""
    if test is None:
        return []
    if not test.rows:
        return ["", f"No backtest. {test.text}"]
    header = ["hidden", "C (FLOPs)", "ahead", "N predicted", "N found", "L predicted", "L found"]
    rows = [
        [
            (str(row.hidden), ""),
            (human_flops(row.C), ""),
            (f"{row.times:.3g}", ""),
            *_check_cells(row.N_opt, human_count),
            *_check_cells(row.L_opt, human_loss),
        ]
        for row in test.rows
    ]
    return [
        "",
        "Backtest: the largest budgets hidden, and predicted by the answer of the others.",
        "",
        *_table_lines(header, rows),
        "",
        test.text,
    ]


def _check_cells(check: Check | None, write: Callable[[float], str]) -> list[tuple[str, str]]:
    if check is None:
        return [(MISSING, ""), (MISSING, "")]
    return [
        (write(check.predicted), human_interval(check.interval, write)),
        (write(check.found), "" if check.covered else "outside"),
    ]


def _table_lines(header: list[str], rows: list[list[tuple[str, str]]]) -> list[str]:
    """Lay out a Markdown table; each cell is (value, suffix), both aligned by column."""
    columns = []
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        before = max(len(value) for value, _ in cells)
        after = max(len(tail) for _, tail in cells)
        texts = [
            value.rjust(before) + (f" {tail.ljust(after)}" if after else "")
            for value, tail in cells
        ]
        width = max(len(name), *(len(text) for text in texts))
        column = [name.rjust(width), "-" * (width - 1) + ":"]
        columns.append(column + [text.rjust(width) for text in texts])
    return ["| " + " | ".join(line) + " |" for line in zip(*columns, strict=True)]


def _holdout_lines(fit: ReportedFit) -> list[str]:
    """Lay out each approach's hold-out scores: the largest budgets, and each budget in turn."""
    rows = []
    for approach in fit.approaches:
        name = approach.method.called
        own = [score for score in fit.holdout if score.approach == approach.name]
        in_turn = [score for score in own if score.kind == "leave_one_out"]
        for score in own:
            if score.kind == "largest":
                left_out = ", ".join(human_flops(C) for C in score.budgets)
                rows.append([name, left_out, *_score_texts([score])])
        if in_turn:
            rows.append([name, f"each of {len(in_turn)}", *_score_texts(in_turn)])
    if not rows:
        return []
    header = ["approach", "left out", "error of L", "N_opt ratio", "error per run"]
    return [
        "",
        "Hold-out: refitted without these budgets, each approach predicts what was found there.",
        "",
        *_table_lines(header, [[(cell, "") for cell in row] for row in rows]),
        "",
        "How far to trust the extrapolation: error of L is the mean relative error of the "
        "predicted L_opt, N_opt ratio the predicted over the found best size (the lowest to the "
        "highest where each budget was left out in turn), and error per run that of a surface over "
        "the runs left out. Published sweeps predict the loss to 1% and yet miss the best size by "
        "a factor of 1.3 to 2.",
    ]


def _score_texts(scores: Sequence[HoldoutScore]) -> list[str]:
    ratios = [score.N_opt_ratio for score in scores if score.N_opt_ratio is not None]
    low, high = (f"{bound(ratios):.2f}" if ratios else MISSING for bound in (min, max))
    ratio = low if len(scores) == 1 or low == high else f"{low} to {high}"
    return [
        _mean_text([score.mean_abs_relative_error for score in scores]),
        ratio,
        _mean_text([score.per_run_error for score in scores]),
    ]


def _mean_text(errors: Sequence[float | None]) -> str:
    known = [error for error in errors if error is not None]
    return f"{sum(known) / len(known):.2%}" if known else MISSING
