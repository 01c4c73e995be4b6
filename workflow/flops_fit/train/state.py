"""The state of a training: all that its next step depends on, and its history for the record.

A checkpoint is this state. What it does not hold (the data order, the learning rate of a step)
follows from the experiment and the number of steps done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from flops_fit.study.identity import is_present_method
from flops_fit.train.branch import Branch
from flops_fit.train.code import RunningCode
from flops_fit.train.curve import Curve
from flops_fit.train.divergence import Divergence
from flops_fit.train.generators import Generators, seed_afresh
from flops_fit.train.model_state import collect_state, restore_state
from flops_fit.train.stopwatch import Stopwatch


@dataclass(slots=True, kw_only=True)
class Attempts:
    """When, where and with which code the attempts at a training were made."""

    start: str  # UTC, of the first attempt that counts
    place: list[Any]  # of this attempt: name of the device, number of processes
    places: list[list[Any]] = field(default_factory=list)  # of all attempts, each once
    code: RunningCode | None = None  # of this attempt; known once a step was tried
    trainers: list[str] = field(default_factory=list)  # fingerprints of earlier attempts' trainers
    resumed: bool = False
    trunk: dict[str, Any] | None = None  # id, and the step after which it was left

    def __post_init__(self) -> None:
        self.places = self.places or [self.place]

    @property
    def all_trainers(self) -> list[str]:
        """The trainers of all attempts, each once."""
        return list(dict.fromkeys([*self.trainers, self.code.trainer]))

    def changed_parts(self, source: Mapping[str, str | None]) -> list[str]:
        """Return the parts of the user's code that are not those of saved fingerprints."""
        present = is_present_method(source.values())
        now = self.code.source if present else self.code.file_source
        return [part for part, fingerprint in now.items() if source.get(part) != fingerprint]

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Add the attempts before this one, from a saved state."""
        # Version 0.1 did not save its trainer.
        self.start, self.trainers = saved["start"], saved.get("trainers", [])
        self.trunk = saved.get("trunk")
        # Whoever goes on where its trunk left it was not interrupted.
        self.resumed = self.trunk is None or self.trunk["step"] < saved["step"]
        places = saved["hardware"]
        self.places = places + [self.place] * (self.place not in places)


class TrainingState:
    """The part of a training that changes from step to step in one process, and is saved.

    Parameters
    ----------
    model
        The bare model.
    optimizer
        The optimizer as Accelerator prepared it.
    accelerator
        Joins the processes, and has the gradient scaler.
    seed
        The experiment's seed.
    steps
        Optimizer steps of the whole run.
    warmup
        How many of them belong to the warm-up.
    micro_batch
        Samples that each process takes at once.
    attempts
        Only this attempt, until `restore_progress` adds earlier ones.
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        seed: int,
        steps: int,
        warmup: int,
        micro_batch: int,
        attempts: Attempts,
    ) -> None:
        self.model, self.optimizer, self.accelerator = model, optimizer, accelerator
        self.seed = seed
        self.steps = steps
        self.step = 0  # done so far
        self.micro_batch = micro_batch
        self.diverged = False
        self.curve = Curve(device=accelerator.device)
        self.divergence = Divergence(steps=steps, warmup=warmup)
        self.is_trunk = False
        self.branches: list[Branch] = []  # of a trunk
        self.stopwatch = Stopwatch()
        self.generators = Generators(accelerator.device)
        self.attempts = attempts

    def add(self, loss_sum: torch.Tensor, count: torch.Tensor | int) -> None:
        """Add one micro-batch of this process to the curves."""
        for curve in (self.curve, *(branch.curve for branch in self.branches)):
            curve.add(loss_sum, count)

    def collect(self) -> dict[str, Any] | None:
        """Return the state as plain values and tensors on the CPU (a collective call).

        Returns
        -------
        dict or None
            The input of `restore_parts` and `restore_progress`; None on all processes but the main
            one.
        """
        is_main = self.accelerator.is_main_process
        tensors = collect_state(self.model, self.optimizer, keep=is_main)
        own = {"sums": self.curve.sums.tolist(), "random": self.generators.state()}
        if self.is_trunk:
            own["branches"] = {branch.id: branch.curve.sums.tolist() for branch in self.branches}
        processes = gather_object([own])
        if not is_main:
            return None
        scaler = self.accelerator.scaler
        kept = {} if self.attempts.trunk is None else {"trunk": self.attempts.trunk}
        if self.is_trunk:
            kept["branches"] = {branch.id: branch.progress() for branch in self.branches}
        return {
            **kept,
            "source": self.attempts.code.source,
            "trainers": self.attempts.all_trainers,
            "step": self.step,
            "micro_batch": self.micro_batch,
            "rows": self.curve.rows,
            "divergence": self.divergence.state(),
            "training": self.stopwatch.training,
            "saving": self.stopwatch.saving,
            "start": self.attempts.start,
            "hardware": self.attempts.places,
            "scaler": None if scaler is None else scaler.state_dict(),
            "processes": processes,
            **tensors,
        }

    def why_not(self, saved: Mapping[str, Any]) -> str | None:
        """Say why a saved state comes from other code than this training's; None if it does not."""
        if changed := self.attempts.changed_parts(saved["source"]):
            return f"the code of {' and '.join(changed)} changed since"
        return None

    def restore_parts(self, saved: Mapping[str, Any]) -> None:
        """Put a saved state into model and optimizer.

        Whatever the user's code raises comes through; this training is of no use after that.

        Parameters
        ----------
        saved
            Its tensors on the CPU, or sharded as the model's are.
        """
        restore_state(saved, self.model, self.optimizer)

    def restore_progress(self, saved: Mapping[str, Any]) -> None:
        """Continue from a saved state that was checked; the parts have theirs already."""
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.load_state_dict(saved["scaler"])
        self.step = saved["step"]
        self.curve.rows = saved["rows"]
        self.divergence.restore(saved["divergence"])
        self.stopwatch.training, self.stopwatch.saving = saved["training"], saved["saving"]
        self.attempts.restore(saved)
        # What diverged, or has passed the step where it leaves the trunk, trains by itself.
        self.branches = [
            branch
            for branch in self.branches
            if branch.step >= self.step and branch.id in saved["branches"]
        ]
        for branch in self.branches:
            branch.restore(saved["branches"][branch.id])
        self._restore_processes(saved["processes"], saved["micro_batch"])

    def _restore_processes(self, processes: list[Mapping[str, Any]], micro_batch: int) -> None:
        """Restore what differs between processes: curve sums, generators and the micro-batch."""
        index = self.accelerator.process_index
        same = len(processes) == self.accelerator.num_processes
        self.curve.restore_sums([one["sums"] for one in processes], index, same=same)
        for branch in self.branches:
            sums = [one["branches"][branch.id] for one in processes]
            branch.curve.restore_sums(sums, index, same=same)
        if same:
            self.generators.put_back_later(processes[index]["random"])
            self.micro_batch = min(self.micro_batch, micro_batch)
            return
        seed_afresh(self.seed, self.step, index)
