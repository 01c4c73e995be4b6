"""The compute-optimal sizes as a table: numbers in full for programs, rounded for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from flops_fit.report.approaches import (
    exponent_interval,
    left_out,
    recommended_name,
    short_title,
    title,
)
from flops_fit.report.quantities import (
    human_count,
    human_flops,
    human_interval,
    human_loss,
    human_r_squared,
    parameter_label,
)

QUANTITIES = ("N_opt", "D_opt", "L_opt", "D_per_N")
COLUMNS = (
    "approach",
    "C",
    "extrapolated",
    *(f"{quantity}{suffix}" for quantity in QUANTITIES for suffix in ("", "_lo", "_hi")),
)
EXTRAPOLATED_MARK = "†"
MISSING = "–"


def _recommended_predictions(fit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    name = recommended_name(fit)
    if name is None:
        return []
    return sorted(fit["approaches"][name]["predictions"], key=lambda row: row["C"])


def prediction_table(fit: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate the recommended approach's predictions in full precision.

    Parameters
    ----------
    fit : mapping
        Content of `fit.json`.

    Returns
    -------
    DataFrame
        One row per budget, ascending in C, with `COLUMNS`: C in FLOPs, N in parameters, D in
        units, L in nats per unit, D_per_N in units per parameter. `_lo` and `_hi` are NaN where
        the fit computed no interval, and L_opt is where it found no law of the loss. Without a
        recommended approach the table has no rows.
    """
    rows = []
    for prediction in _recommended_predictions(fit):
        row = {
            "approach": recommended_name(fit),
            "C": float(prediction["C"]),
            "extrapolated": bool(prediction["extrapolated"]),
        }
        values = {**prediction, "D_per_N": prediction["D_opt"] / prediction["N_opt"]}
        for quantity in QUANTITIES:
            low, high = values.get(f"{quantity}_ci") or (float("nan"), float("nan"))
            row |= {
                quantity: float("nan") if values[quantity] is None else float(values[quantity]),
                f"{quantity}_lo": float(low),
                f"{quantity}_hi": float(high),
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _exponent_text(symbol: str, law: Mapping[str, Any]) -> str:
    interval = human_interval(exponent_interval(law), lambda value: f"{value:.3f}")
    value = f"{symbol} = {law['exponent']:.3f}" + (f" {interval}" if interval else "")
    return f"{value} (R² {human_r_squared(law['r_squared'])})"


def _summary_lines(fit: Mapping[str, Any], unit: str, has_intervals: bool) -> list[str]:
    name = recommended_name(fit)
    runs = f"{fit['n_runs']} {'run' if fit['n_runs'] == 1 else 'runs'}"
    if fit["excluded"]:
        runs += f" ({len(fit['excluded'])} more left out)"
    if name is None:
        why = (fit["recommended"] or {}).get("why")
        return [
            f"Study **{fit['study']}**, {runs}: no approach could be recommended"
            + (f", {why.rstrip('.')}." if why else ".")
        ]
    entry = fit["approaches"][name]
    n_law, d_law = entry["N_opt"], entry["D_opt"]
    why = fit["recommended"]["why"].rstrip(".")
    intervals = (
        f"Intervals in brackets: {fit['interval_method']}."
        if has_intervals
        else "No intervals were computed for this table."
    )
    return [
        f"Study **{fit['study']}**, {runs}, read with {title(name)} ({why}).",
        f"N_opt grows as C^a, {_exponent_text('a', n_law)}; "
        f"D_opt grows as C^b, {_exponent_text('b', d_law)}: ten times the compute asks for "
        f"{10 ** n_law['exponent']:.3g} times the parameters and "
        f"{10 ** d_law['exponent']:.3g} times the {unit}s.",
        f"N counts {parameter_label(fit['params'])}. {intervals}",
    ]


def _table_lines(header: list[str], rows: list[list[tuple[str, str]]]) -> list[str]:
    """Lay out a Markdown table; each cell is (value, what follows it), both aligned by column."""
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


def _holdout_lines(fit: Mapping[str, Any]) -> list[str]:
    """Lay out each approach's hold-out scores: the largest budgets, and each budget in turn."""
    rows = []
    for name in fit["approaches"]:
        own = [entry for entry in fit["holdout"] if entry["approach"] == name]
        largest = [entry for entry in own if entry["kind"] == "largest"]
        in_turn = [entry for entry in own if entry["kind"] == "leave_one_out"]
        for entry in largest:
            left_out = ", ".join(human_flops(C) for C in entry["budgets"])
            rows.append([short_title(name), left_out, *_score_texts([entry])])
        if in_turn:
            rows.append([short_title(name), f"each of {len(in_turn)}", *_score_texts(in_turn)])
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


def _score_texts(entries: list[Mapping[str, Any]]) -> list[str]:
    def error(key: str) -> str:
        known = [entry[key] for entry in entries if entry[key] is not None]
        return f"{sum(known) / len(known):.2%}" if known else MISSING

    ratios = [entry["N_opt_ratio"] for entry in entries if entry["N_opt_ratio"] is not None]
    low, high = (f"{bound(ratios):.2f}" if ratios else MISSING for bound in (min, max))
    ratio = low if len(entries) == 1 or low == high else f"{low} to {high}"
    return [error("mean_abs_relative_error"), ratio, error("per_run_error")]


def collected_warnings(fit: Mapping[str, Any]) -> list[str]:
    """Every warning of the fit once: general ones first, then those of each approach.

    An approach's warning carries the approach's name unless the general ones repeat it.
    """
    found = [" ".join(str(warning).split()) for warning in fit["warnings"]]
    for name, entry in fit["approaches"].items():
        for warning in entry.get("warnings", []):
            text = " ".join(str(warning).split())
            if not any(text in earlier for earlier in found):
                found.append(f"{short_title(name)}: {text}")
    return found


def table_markdown(fit: Mapping[str, Any], *, unit: str = "token") -> str:
    """Write the compute-optimal sizes for reading, as Markdown that is aligned in a terminal.

    Parameters
    ----------
    fit : mapping
        Content of `fit.json`.
    unit : str
        What D counts, in the singular: `token`, `image`, ...

    Returns
    -------
    str
        Summary, table, hold-out scores, and all warnings. Rows outside the measured budgets carry a
        dagger.
    """
    table = prediction_table(fit)
    has_intervals = bool(table.filter(regex="_lo$").notna().any(axis=None))
    lines = [f"- {line}" for line in _summary_lines(fit, unit, has_intervals)]

    if len(table):
        header = ["C (FLOPs)", "parameters N", f"{unit}s D", "D/N", "loss L"]
        rows = []
        for row in table.to_dict("records"):
            cells = [(human_flops(row["C"]), EXTRAPOLATED_MARK if row["extrapolated"] else "")]
            for quantity in ("N_opt", "D_opt", "D_per_N", "L_opt"):
                write = human_loss if quantity == "L_opt" else human_count
                interval = row[f"{quantity}_lo"], row[f"{quantity}_hi"]
                missing = any(pd.isna(bound) for bound in interval)
                text = human_interval(None if missing else interval, write)
                value = MISSING if pd.isna(row[quantity]) else write(row[quantity])
                cells.append((value, text))
            rows.append(cells)
        lines += ["", *_table_lines(header, rows), ""]
        lines.append(
            f"D/N is in {unit}s per parameter, L in nats per {unit}."
            + (
                f" {EXTRAPOLATED_MARK} extrapolated outside the measured budgets."
                if table["extrapolated"].any()
                else ""
            )
        )

    lines += _holdout_lines(fit)
    for name, status, reason in left_out(fit):
        lines += ["", f"Left out: {short_title(name)} ({status}{': ' if reason else ''}{reason})."]

    found = collected_warnings(fit)
    lines += ["", "Warnings:" if found else "No warnings.", ""]
    lines += [f"- {warning}" for warning in found]
    return "\n".join(lines).rstrip() + "\n"
