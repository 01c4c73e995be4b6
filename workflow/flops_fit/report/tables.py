"""The compute-optimal sizes as a table: numbers in full for programs, rounded for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from flops_fit.report.backtest import Backtest, Check
from flops_fit.report.evidence import approach_lines, assumption_lines, holdout_lines
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.layout import MISSING, table_lines
from flops_fit.report.predictions import QUANTITIES, Interval, Prediction
from flops_fit.report.quantities import (
    human_count,
    human_flops,
    human_interval,
    human_loss,
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


def prediction_table(fit: ReportedFit) -> pd.DataFrame:
    """Tabulate the answer's predictions in full precision.

    Returns
    -------
    DataFrame
        One row per budget, ascending in C, with `COLUMNS`: C in FLOPs, N in parameters, D in
        units, L in nats per unit (or the `loss_unit` of fit.json), D_per_N in units per parameter.
        `approach` is the method of the answer. L_opt and its interval are NaN if there is no law of
        the loss. Without an answer the table has no rows.
    """
    nothing = float("nan")
    rows = []
    for prediction in fit.answer.predictions:
        row = {
            "approach": fit.answer.method,
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
        The answer, its backtest, what it assumes, the approaches as evidence beside it, and all
        warnings. Rows outside the measured budgets carry a dagger.
    """
    lines = [f"- {line}" for line in _summary_lines(fit, unit)]
    lines += _prediction_lines(fit.answer.predictions, unit)
    lines += _legend_lines(fit, unit)
    lines += _backtest_lines(fit.backtest)
    lines += assumption_lines(fit.answer)
    lines += _exact_lines(fit, unit)
    lines += _near_optimum_lines(fit, unit)
    lines += approach_lines(fit)
    lines += holdout_lines(fit)
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


def _summary_lines(fit: ReportedFit, unit: str) -> list[str]:
    runs = f"{fit.n_runs} {'run' if fit.n_runs == 1 else 'runs'}"
    if fit.excluded:
        runs += f" ({len(fit.excluded)} more left out)"
    answer, why = fit.answer, fit.answer.why.rstrip(".")
    if answer.method is None:
        return [f"Study **{fit.study}**, {runs}: there is no answer, because {why}."]
    lines = [f"Study **{fit.study}**, {runs}. The answer (method {answer.method}): {why}."]
    exponents = [answer.exponent(quantity) for quantity in ("N_opt", "D_opt")]
    if None not in exponents:
        a, b = (value for value, _ in exponents)
        lines.append(
            f"In the middle of the measured compute N_opt grows as C^a, "
            f"{_exponent_text('a', *exponents[0])}, and D_opt as C^b, "
            f"{_exponent_text('b', *exponents[1])}: ten times the compute asks for {10**a:.3g} "
            f"times the parameters and {10**b:.3g} times the {unit}s."
        )
    open_ = " as the table does (fit.params does not say which)" * (fit.params == "as_in_table")
    lines.append(
        f"N counts {parameter_label(fit.params)}{open_}. In brackets: {answer.level:.0%} "
        f"intervals{' from draws of the path' * (answer.law is not None)}."
    )
    return lines


def _exponent_text(symbol: str, value: float, interval: Interval) -> str:
    return f"{symbol} = {value:.3f} {human_interval(interval, '{:.3f}'.format)}"


def _prediction_lines(predictions: Sequence[Prediction], unit: str) -> list[str]:
    """Lay out the predictions; empty if there are none."""
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
    return ["", *table_lines(header, rows)]


def _legend_lines(fit: ReportedFit, unit: str) -> list[str]:
    predictions = fit.answer.predictions
    if not predictions:
        return []
    legend = f"D/N is in {unit}s per parameter, L in {loss_unit_label(fit.loss_unit, unit)}."
    if any(prediction.extrapolated for prediction in predictions):
        legend += f" {EXTRAPOLATED_MARK} extrapolated outside the measured budgets."
    return ["", legend]


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
        *table_lines(header, rows),
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


def _exact_lines(fit: ReportedFit, unit: str) -> list[str]:
    """Lay out what the approach gives whose form would have to be exact for its intervals."""
    exact = fit.answer.if_exact
    approach = next((item for item in fit.approaches if item.name == exact.approach), None)
    if approach is None or fit.answer.method is None:
        return []
    intervals = f" Its intervals: {fit.interval_method}." if fit.interval_method else ""
    return [
        "",
        f"If the form is exact, {approach.method.title} gives ({exact.why.rstrip('.')}):",
        *_prediction_lines(exact.predictions, unit),
        "",
        f"These intervals hold the noise of the runs alone.{intervals}",
    ]


def _near_optimum_lines(fit: ReportedFit, unit: str) -> list[str]:
    """Lay out what a designed sweep gives through its runs near the optimum."""
    near = fit.answer.near_optimum
    if near is None or fit.answer.method is None:
        return []
    if near.why is not None:
        return ["", f"No surface through the runs near the optimum: {near.why.rstrip('.')}."]
    aside = f" ({near.left_out} runs farther off do not count)" if near.left_out else ""
    return [
        "",
        f"A surface through the runs near the optimum{aside}, which count by their compute:",
        *_prediction_lines(near.predictions, unit),
        "",
        "In simulated designs its estimates have smaller errors than the answer's, but its "
        "intervals hold the noise alone: where the form is not exact, half of them miss "
        "(docs/planner.md).",
    ]
