"""Whether the settings of ``train`` that may differ from budget to budget suit the plan."""

from __future__ import annotations

from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.train_settings import PerBudget, TrainSettings


def mistakes_by_budget(train: TrainSettings, plan: PlanSettings) -> list[tuple[str, str]]:
    """Return (key, sentence) for each setting that the plan cannot use."""
    settings = {name: value for name, value in train if isinstance(value, PerBudget)}
    found = {name: _unfit(name, value, plan) for name, value in settings.items()}
    return [(name, text) for name, text in found.items() if text]


def _unfit(name: str, value: PerBudget, plan: PlanSettings) -> str:
    """Return why the plan cannot use a setting, empty if it can."""
    if name == "lr" and plan.lr_pilot and value.is_grid:
        return "found a list, expected one rate: plan.lr_pilot tries rates around it"
    if plan.experiments is not None:
        return _unfit_for_given(name, value, plan)
    if plan.designed and (text := _unfit_for_design(value, plan)):
        return text
    if missing := value.missing(plan.budgets or ()):
        return (
            f"has no entry for the budget{'s' * (len(missing) > 1)} "
            f"{', '.join(f'{budget:g}' for budget in missing)}, expected one number for "
            "all budgets or an entry for each of plan.budgets"
        )
    return ""


def _unfit_for_given(name: str, value: PerBudget, plan: PlanSettings) -> str:
    """Return why a setting by budget cannot be that of single experiments, empty if it can."""
    needing = [one for one in plan.experiments or () if getattr(one, name) is None]
    if missing := value.missing(tuple(one.C for one in needing if one.C is not None)):
        return (
            f"has no entry for the C {missing[0]:g} of plan.experiments, expected one number, an "
            f"entry for each C, or {name} in the experiment itself"
        )
    if isinstance(value.root, dict) and any(one.C is None for one in needing):
        return (
            "found a map from budgets, which an experiment with D has none of, expected one "
            f"number, or {name} in the experiment itself"
        )
    return ""


def _unfit_for_design(value: PerBudget, plan: PlanSettings) -> str:
    """Return why a setting by budget cannot be that of a design, empty if it can."""
    if isinstance(value.root, dict) and plan.budgets is None:
        return (
            "found a map from budgets, expected one number: a design chooses its budgets itself "
            "unless plan.budgets names them"
        )
    entries = value.root.values() if isinstance(value.root, dict) else [value.root]
    if any(isinstance(entry, tuple) and len(entry) > 1 for entry in entries):
        return "found a grid of several values, expected one: a design trains each size at one"
    return ""
