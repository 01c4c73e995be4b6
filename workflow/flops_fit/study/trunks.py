"""What a study needs for experiments that share their beginnings."""

from __future__ import annotations

from typing import Any

from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.train_settings import TrainSettings


def mistakes_of_trunks(plan: PlanSettings, train: TrainSettings) -> list[tuple[Any, str]]:
    """Return (place, sentence) of what rules out that experiments share a trunk."""
    found = []
    if plan.designed:
        text = (
            "found true beside target, expected a grid (budgets without target): a design chooses "
            "each round from runs that are finished"
        )
        found.append((("plan", "trunks"), text))
    if train.schedule != "wsd":
        text = f"found {train.schedule!r} with plan.trunks, expected wsd"
        found.append((("train", "schedule"), text))
    if train.warmup_steps is None:
        text = (
            "found null with plan.trunks, expected a number of steps: a warm-up that follows a "
            "run's length is shared by none of another length"
        )
        found.append((("train", "warmup_steps"), text))
    return found
