"""How the processes of a training agree on the step after which they save or leave."""

from __future__ import annotations

import time

import torch
from accelerate import Accelerator

_SECONDS_BETWEEN_ROUNDS = 1.0
_MOST_GROWTH = 10  # of the number of steps between two rounds


class Agreement:
    """Lets all processes save, or leave, after the same step.

    They exchange their requests in rounds, about one per second however short a step is, and each
    round also fixes the step of the next. So the steps in between cost nothing, and no process ever
    waits for a round that the others do not take part in.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.alone = accelerator.num_processes == 1
        self.next_step = 0
        self.stride = 1
        self.last_step, self.last_time = 0, time.monotonic()

    def reach(self, step: int, *, save: bool, leave: bool) -> tuple[bool, bool]:
        """Return whether all save, and whether all leave, after this step.

        Parameters
        ----------
        save
            Whether it is time for a checkpoint; only the main process decides that.
        leave
            Whether this process was asked to leave; a request to one process is enough.
        """
        if self.alone:
            return save, leave
        if step < self.next_step:
            return False, False
        is_main = self.accelerator.is_main_process
        wishes = [leave, is_main and save, is_main * self._steps_per_round(step)]
        sums = torch.tensor(wishes, dtype=torch.int64, device=self.accelerator.device)
        left, saved, stride = self.accelerator.reduce(sums, reduction="sum").tolist()
        self.stride, self.next_step = stride, step + stride
        self.last_step, self.last_time = step, time.monotonic()
        return saved > 0, left > 0

    def _steps_per_round(self, step: int) -> int:
        seconds = max(time.monotonic() - self.last_time, 1e-6)
        stride = round((step - self.last_step) / seconds * _SECONDS_BETWEEN_ROUNDS)
        return max(1, min(stride, _MOST_GROWTH * self.stride))
