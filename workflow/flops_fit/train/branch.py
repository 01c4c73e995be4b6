"""What an experiment that branches off a trunk would know if it had trained its beginning itself.

Parameters, optimizer and generators are those of the trunk. The curve and the rule of divergence
depend on the length of the experiment, so a trunk keeps them for each of its branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator

from flops_fit.plan.job import Job
from flops_fit.train.curve import Curve, curve_steps
from flops_fit.train.divergence import Divergence

STEPS_BETWEEN_CHECKS = 100  # for a loss that is no longer finite


class Branch:
    """One experiment that branches off a trunk, up to the step where its decay begins.

    Parameters
    ----------
    job
        The experiment.
    device
        Where the sums of its curve are kept.
    """

    def __init__(self, job: Job, device: torch.device) -> None:
        self.job, self.id, self.spec = job, job.id, job.spec
        self.step: int = job.spec.decay_start  # after which it leaves the trunk
        self.curve = Curve(device=device)
        self.divergence = Divergence(steps=job.spec.steps, warmup=job.spec.warmup)
        self.diverged = False
        self._rows = set(curve_steps(job.spec.steps))

    def check(self, step: int, lr: float, accelerator: Accelerator) -> None:
        """Do after a step what the experiment's own training would do (a collective call).

        Parameters
        ----------
        step
            Steps done so far.
        lr
            Learning rate of the last one.
        """
        is_row = step in self._rows
        if self.diverged or not (is_row or step % STEPS_BETWEEN_CHECKS == 0):
            return
        mean = self.curve.mean(accelerator)
        self.diverged = self.divergence.seen(step, mean)
        if is_row:
            self.curve.close_row(step, step * self.spec.batch, mean, lr)

    def progress(self) -> dict[str, Any]:
        """Return what `restore` reads."""
        return {"rows": self.curve.rows, "divergence": self.divergence.state()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from the progress of another instance."""
        self.curve.rows = saved["rows"]
        self.divergence.restore(saved["divergence"])


def state_of_branch(saved: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Return the part of a trunk's state that one of its branches would have saved itself.

    The curve that the trunk keeps as its own is that of its longest branch.
    """
    own = saved["branches"].get(run_id, {})
    processes = [
        {"sums": one["branches"][run_id] if own else one["sums"], "random": one["random"]}
        for one in saved["processes"]
    ]
    shared = {name: value for name, value in saved.items() if name != "branches"}
    return {**shared, **own, "id": run_id, "processes": processes}
