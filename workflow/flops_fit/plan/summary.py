"""The plan for people to read: ``plan.log``."""

from __future__ import annotations

from flops_fit.plan.plan import Plan
from flops_fit.plan.trunks import lines_on_trunks


def plan_summary(plan: Plan) -> str:
    """Return sizes per budget, what they cost, and what was dropped."""
    lines = [f"Plan of the study {plan.study}", "", *experiment_table(plan)]
    repeated = sum(row.epochs > 1 for row in plan.experiments)
    if repeated:
        lines.append(f"{repeating(repeated)} training data (more than 1 epoch).")
    if plan.dropped:
        lines.append("Dropped:")
        lines += [
            f"  budget {row.budget:.4g}, size {row.size:g}: {row.reason}" for row in plan.dropped
        ]
        lines.append("")
    if plan.trunks:
        lines += lines_on_trunks(plan.experiments, plan.specs)
    return "\n".join([*lines, plan_headline(plan)]) + "\n"


def repeating(n: int) -> str:
    """Return the beginning of a sentence about so many experiments that repeat data."""
    return "1 experiment repeats" if n == 1 else f"{n} experiments repeat"


def experiment_table(plan: Plan) -> list[str]:
    """Return a line for each size at each budget, in the plan's order."""
    lines = [f"{'budget (FLOPs)':>14}  {'size':>8}  {'N':>10}  {plan.unit + 's D':>12}  "
             f"{'D/N':>6}  {'steps':>8}  {'epochs':>6}"]  # fmt: skip
    shown = set()
    for row in plan.experiments:
        if (row.budget, row.size) in shown:
            continue
        shown.add((row.budget, row.size))
        lines.append(
            f"{row.budget:>14.4g}  {row.size:>8g}  {row.n_params_non_embedding:>10,}  "
            f"{row.D:>12,}  {row.units_per_param:>6.3g}  {row.steps:>8,}  {row.epochs:>6.2f}"
        )
    return [*lines, "", "N is the non-embedding count.", ""]


def plan_headline(plan: Plan) -> str:
    """Return the plan in one line: how many experiments, how many FLOPs, how many dropped."""
    total = sum(row.C for row in plan.experiments)
    budgets = len({row.budget for row in plan.experiments})
    return (
        f"{len(plan.experiments)} experiments at {budgets} budgets, {total:.3e} training FLOPs in "
        f"total, {len(plan.dropped)} combinations dropped"
    )
