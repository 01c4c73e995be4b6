"""The training curve of a record: at most 200 rows, evenly spaced in the logarithm of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator

CURVE_ROWS = 200


@dataclass(slots=True, kw_only=True)
class Curve:
    """The training curve, and the running sums for its next row."""

    device: torch.device
    rows: list[list[float | None]] = field(default_factory=list)
    sums: torch.Tensor = field(init=False)  # (2,): loss sum in nats, units

    def __post_init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)

    def add(self, loss_sum: torch.Tensor, count: torch.Tensor | int) -> None:
        """Add one micro-batch of this process."""
        self.sums[0] += loss_sum.detach().double()
        self.sums[1] += count

    def mean(self, accelerator: Accelerator) -> float | None:
        """Mean loss over all processes since the last row (a collective call).

        None if nothing was predicted: a step may hold nothing but padding.
        """
        total, count = accelerator.reduce(self.sums, reduction="sum").tolist()
        if count == 0 and total == 0:
            return None
        return total / count if count else math.nan

    def restore_sums(self, sums: list[list[float]], process: int, *, same: bool) -> None:
        """Take over the sums that each process of an earlier attempt had.

        Parameters
        ----------
        same
            Whether there are as many processes as then; if not, process 0 takes those of all.
        """
        saved = torch.tensor(sums, dtype=torch.float64)
        if same:
            self.sums.copy_(saved[process])
        elif process == 0:
            self.sums.copy_(saved.sum(dim=0))

    def close_row(self, step: int, D: int, mean: float | None, lr: float) -> None:
        """Append a row and reset the sums; a mean that is not finite becomes None."""
        is_number = mean is not None and math.isfinite(mean)
        self.rows.append([step, D, mean if is_number else None, lr])
        self.sums = torch.zeros_like(self.sums)


def curve_steps(steps: int) -> list[int]:
    """Return at most 200 step counts from 1 to ``steps``, evenly spaced in the logarithm."""
    spaced = np.unique(np.round(np.geomspace(1, steps, min(CURVE_ROWS, steps))).astype(int))
    return [int(step) for step in spaced]
