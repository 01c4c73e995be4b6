"""Learning rate as a function of the step."""

from __future__ import annotations

import math

from flops_fit.study.spec import decay_start


def lr_factor(
    step: int,
    steps: int,
    *,
    warmup_fraction: float,
    schedule: str,
    final_fraction: float,
    warmup_steps: int | None = None,
    decay_fraction: float = 0.0,
    decay_shape: str = "linear",
) -> float:
    """Return the share of the peak learning rate that a step uses.

    Linear warm-up over ``round(warmup_fraction * steps)`` steps (or ``warmup_steps``), its first
    step at 1/warm-up and its last at the peak; then constant, or half a cosine that reaches
    ``final_fraction`` at the last step, or constant until the last
    ``round(decay_fraction * steps)`` steps, which fall to ``final_fraction`` in a line or as
    1 - sqrt (Haegele et al. 2024, arXiv 2405.18392, equation 1 and section 4.1).

    Parameters
    ----------
    step
        Counted from 0, below ``steps``.
    steps
        Steps of the whole run.
    schedule
        ``cosine``, ``constant`` or ``wsd`` (warm-up, stable, decay).
    decay_shape
        ``linear`` or ``1-sqrt``.
    """
    warmup = round(warmup_fraction * steps)
    if warmup_steps is not None:
        warmup = warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "wsd":
        start = decay_start(steps, decay_fraction)
        if step < start:
            return 1.0
        progress = (step - start + 1) / (steps - start)
        left = 1 - math.sqrt(progress) if decay_shape == "1-sqrt" else 1 - progress
        return final_fraction + (1 - final_fraction) * left
    progress = (step - warmup + 1) / max(1, steps - warmup)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2
