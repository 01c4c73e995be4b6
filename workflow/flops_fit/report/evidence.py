"""What stands beside the answer in table.md: its assumptions, and the approaches as evidence."""

from __future__ import annotations

from collections.abc import Sequence

from flops_fit.report.answer import ReportedAnswer
from flops_fit.report.fitted import HoldoutScore, Law, ReportedFit
from flops_fit.report.layout import MISSING, table_lines
from flops_fit.report.quantities import human_flops, human_interval, human_r_squared

ASSUMPTIONS = {
    "N_bend": "the path of log N bends, by e-fold²",
    "N_scatter": "budgets scatter about it",
    "L_bend": "the path of log(L - E) bends, by e-fold²",
    "L_scatter": "budgets scatter about it",
}
"""What the entries of `answer.form_error` are called."""


def assumption_lines(answer: ReportedAnswer) -> list[str]:
    """Lay out the error of the form that the answer's intervals hold; empty where there is none."""
    if answer.form_error is None:
        return []
    rows = []
    for item in answer.form_error.assumptions:
        if isinstance(item.prior, tuple):
            before = f"{item.prior[0]:.3g} ± {item.prior[1]:.2g}"
        else:
            before = f"about {item.prior:.2g}"
        found = MISSING if item.found is None else f"{item.found:.4f}"
        interval = human_interval(item.interval, "{:.4f}".format)
        cells = (f"{ASSUMPTIONS[item.name]} ({item.name})", before, (found, interval))
        width = f"{item.cost:.2f}"
        rows.append([cell if isinstance(cell, tuple) else (cell, "") for cell in (*cells, width)])
    header = ["assumed of the form", "before the runs", "after them", "width"]
    return [
        "",
        "The intervals hold the error of the form:",
        "",
        *table_lines(header, rows),
        "",
        "Width: of the interval of N_opt or L_opt at "
        f"{human_flops(answer.form_error.C)} FLOPs, over its width without the assumption.",
    ]


def approach_lines(fit: ReportedFit) -> list[str]:
    """Lay out the exponents of the approaches, which are evidence beside the answer."""
    if not fit.fitted:
        return []
    header = ["approach", "a of N_opt", "R²", "b of D_opt", "R²"]
    rows = [
        [
            (approach.method.title, ""),
            *(cell for name in ("N_opt", "D_opt") for cell in _law_cells(approach.laws[name])),
        ]
        for approach in fit.fitted
    ]
    return ["", "The approaches, as evidence:", "", *table_lines(header, rows)]


def _law_cells(law: Law) -> list[tuple[str, str]]:
    interval = human_interval(law.exponent_interval, "{:.3f}".format)
    return [(f"{law.exponent:.3f}", interval), (human_r_squared(law.r_squared), "")]


def holdout_lines(fit: ReportedFit) -> list[str]:
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
        *table_lines(header, [[(cell, "") for cell in row] for row in rows]),
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
