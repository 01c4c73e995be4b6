"""When a training is abandoned: its loss is not finite, or has exploded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

FACTOR = 10.0
MARGIN = 20.0  # nats
_FEWEST_STEPS = 100
_SHARE_OF_STEPS = 0.1


@dataclass(slots=True, kw_only=True)
class Divergence:
    """Decides from the mean training losses of a run, check by check, whether it has diverged.

    A mean that is not finite ends a run at once. A loss has exploded if, after the warm-up, every
    check in a tenth of the run (at least 100 steps), or the last check of the run, is above

        max(10 L0, L0 + 20 nats)

    where L0 is the first mean of the run, that of the untrained model. An untrained model that
    spreads its predictions evenly over V classes has L0 = log V; ten times that loss means that it
    assigns the probability V^-10 to the true class. Spikes from a large learning rate pass within
    some steps, and a warm-up may begin with a few of them, so neither counts; but a run that has
    been worse than untrained for a tenth of its steps says nothing about how good its size is. The
    margin covers small losses (a regression, log densities below zero), for which a factor is
    meaningless.

    The rule sees means over all processes, at steps that depend only on the length of the run, so
    it fires at the same step whatever the number of processes or interruptions.
    """

    steps: int  # of the whole run
    warmup: int  # steps
    initial: float | None = None  # L0
    since: int | None = None  # step of the first of the consecutive checks that were too high
    reason: str = field(default="", compare=False)

    @property
    def patience(self) -> int:
        """Steps."""
        return max(_FEWEST_STEPS, math.ceil(_SHARE_OF_STEPS * self.steps))

    def seen(self, step: int, mean: float | None) -> bool:
        """Take one check into account and return whether to end the run.

        Parameters
        ----------
        step
            Steps done so far.
        mean
            Mean loss since the last row of the curve; None where nothing was predicted.
        """
        if mean is None:
            return False
        if not math.isfinite(mean):
            self.reason = f"the loss is {mean}"
            return True
        if self.initial is None:
            self.initial = mean
        if not self._is_too_high(step, mean):
            self.since = None
            return False
        if self.since is None:
            self.since = step
        self.reason = f"the loss exploded from {self.initial:.4g} to {mean:.4g}"
        return step == self.steps or step - self.since >= self.patience

    def _is_too_high(self, step: int, mean: float) -> bool:
        limit = max(FACTOR * self.initial, self.initial + MARGIN)
        return step > self.warmup and mean > limit

    def follows_from(self, rows: list[list[Any]], step: int) -> bool:
        """Return whether ``since`` can be what the checks up to a step of a running training left.

        Parameters
        ----------
        rows
            Of the curve: its means are those of the checks, but for some checks between two rows.
        """
        too_high = {
            row_step: self._is_too_high(row_step, mean)
            for row_step, _, mean, _ in rows
            if mean is not None
        }
        if self.since is None:
            return not too_high.get(step, False)
        return step - self.since < self.patience and all(
            high for row_step, high in too_high.items() if row_step >= self.since
        )

    def state(self) -> dict[str, Any]:
        """Return the state that :meth:`restore` reads."""
        return {"initial": self.initial, "since": self.since}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another instance."""
        self.initial, self.since = state["initial"], state["since"]
