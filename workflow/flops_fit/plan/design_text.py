"""A design for people to read: ``plan.log``, and ``rounds/<round>.md`` for each of its rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flops_fit.laws.forms.surface import Surface
from flops_fit.plan.data_budget import data_budget
from flops_fit.plan.decision import BROUGHT_ALONG, ChosenExperiment, Decision
from flops_fit.plan.layouts.designed import Ground, summary_of_dropped
from flops_fit.plan.plan import Plan
from flops_fit.plan.summary import experiment_table


def design_headline(decision: Decision) -> str:
    """Return a round in one line."""
    cost = sum(row.C for row in decision.chosen)
    if decision.done:
        return f"round {decision.round}: the design is complete: {decision.why}"
    if decision.kind == BROUGHT_ALONG:
        return f"round {decision.round}: {decision.why}"
    return (
        f"round {decision.round} ({decision.kind}): {len(decision.chosen)} experiments, {cost:.3e} "
        f"training FLOPs; {decision.why}"
    )


def design_summary(
    plan: Plan, ground: Ground, decisions: Sequence[Decision], law: Surface | None = None
) -> str:
    """Return the rounds so far, their experiments, what was left out, and what is short of data.

    Parameters
    ----------
    law
        What the runs so far show; None goes by the prior.
    """
    asked = decisions[-1].asked
    lines = [f"Design of the study {plan.study}", ""]
    lines += _question(asked.target, asked.spend, asked.budgets)
    lines += ["", f"{'round':>5}  {'kind':<13}  {'experiments':>11}  {'FLOPs':>9}"]
    for decision in decisions:
        rows = decision.chosen
        along = f"  and {len(decision.along)} trained already" if decision.along else ""
        lines.append(
            f"{decision.round:>5}  {decision.kind:<13}  {len(rows):>11}  "
            f"{sum(row.C for row in rows):>9.3g}{along}"
        )
    if not decisions[-1].done:
        lines.append("Later rounds are chosen from the runs of these.")
    lines += ["", *experiment_table(plan)]
    left_out = summary_of_dropped(plan.dropped)
    if left_out:
        lines += ["Left out:", *(f"  {line}" for line in left_out), ""]
    lines += data_budget(ground, plan, asked.target, law)
    spent = sum(row.C for decision in decisions for row in decision.chosen)
    lines.append(
        f"{len(plan.experiments)} experiments in {len(decisions)} "
        f"{'round' if len(decisions) == 1 else 'rounds'} so far: {spent:.3e} training FLOPs of "
        f"{asked.spend:.3e} to spend"
    )
    return "\n".join(lines) + "\n"


def _question(target: float, spend: float, budgets: Sequence[float]) -> list[str]:
    ladder = ", ".join(f"{budget:.4g}" for budget in budgets)
    return [
        f"target   {target:.4g} FLOPs",
        f"spend    {spend:.4g} FLOPs",
        f"budgets  {ladder} FLOPs",
    ]


def round_text(decision: Decision) -> str:
    """Return ``rounds/<round>.md``: what was chosen, why, and what it predicts."""
    asked = decision.asked
    lines = [f"# Round {decision.round}: {decision.kind}", "", f"{_sentence(decision.why)}", ""]
    lines += [f"    {line}" for line in _question(asked.target, asked.spend, asked.budgets)]
    lines += ["", *_checks(decision), ""]
    if decision.chosen:
        lines += [
            "| id | budget | size | N | D | seed | why | predicted loss, +- one sd |",
            "|---" * 8 + "|",
        ]
        lines += [_row(row) for row in decision.chosen]
        lines += ["", f"Together {sum(row.C for row in decision.chosen):.4g} FLOPs.", ""]
    if decision.along:
        lines += ["Trained already, and counted:", ""]
        lines += [
            f"- {row.id}: budget {row.budget:.4g}, size {row.size:g}, seed {row.seed}"
            for row in decision.along
        ]
        lines.append("")
    if not decision.done:
        lines.append("This stays as it is once one of these experiments was trained.")
    return "\n".join(lines).rstrip() + "\n"


def _checks(decision: Decision) -> list[str]:
    checks = decision.checks
    lines = []
    if (p := checks.get("chi2_p")) is not None:
        lines.append(
            f"- Losses of the round before against what it had predicted: p = {p:.2g} (chi-square)."
        )
    if (p := checks.get("lack_of_fit_p")) is not None:
        lines.append(f"- Lack of fit of the surface through all runs: p = {p:.2g}.")
    spent, left = checks.get("spent"), checks.get("left")
    if spent is not None and left is not None:
        lines.append(f"- Before this round {spent:.4g} FLOPs were spent, {left:.4g} were left.")
    return lines


def _row(row: ChosenExperiment) -> str:
    loss = ""
    if row.predicted_loss is not None and row.predicted_std is not None:
        digits = max(2, 2 - math.floor(math.log10(max(row.predicted_std, 1e-9))))
        loss = f"{row.predicted_loss:.{digits}f} +- {row.predicted_std:.{digits}f}"
    cells = (
        row.id, f"{row.budget:.4g}", f"{row.size:g}", f"{row.n_params_non_embedding:,}",
        f"{row.D:,}", str(row.seed), row.why, loss,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
