"""Learning rate as a function of the step."""

from __future__ import annotations

import math


def lr_factor(
    step: int, steps: int, *, warmup_fraction: float, schedule: str, final_fraction: float
) -> float:
    """Return the share of the peak learning rate that a step uses.

    Linear warm-up over ``round(warmup_fraction * steps)`` steps, its first step at 1/warm-up and
    its last at the peak; then constant, or half a cosine that reaches ``final_fraction`` at the
    last step.

    Parameters
    ----------
    step
        Counted from 0, below ``steps``.
    steps
        Steps of the whole run.
    schedule
        ``cosine`` or ``constant``.
    """
    warmup = round(warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    progress = (step - warmup + 1) / max(1, steps - warmup)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2
