"""The source of an experiment's id: everything that changes its outcome, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flops_fit.files.fields import from_plain, later, to_plain
from flops_fit.study.identity import fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """``target(<size_param>=size, **kwargs)``."""

    target: str  # package.module:name
    kwargs: dict[str, Any]
    version: int | str
    size_param: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """``target(split=, folder=, **kwargs)``, and its content when the plan was made."""

    target: str
    kwargs: dict[str, Any]
    version: int | str
    content: str  # fingerprint of the samples
    units_per_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """``target(outputs, targets)``."""

    target: str
    version: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """``target(model, lr, weight_decay)``, or ``adamw``."""

    target: str
    version: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class LrScaling:
    """Learning rates are multiplied by (size / reference_size)^power."""

    power: float
    reference_size: float
    apply: str  # matrices | all | none


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One training, as far as its id depends on it: ``fingerprint(spec.to_json())`` is the id.

    Adding or removing a field, or spelling a number differently, changes the id: every experiment
    of every study would be trained again.
    """

    recipe: int  # RECIPE_VERSION of the trainer
    model: ModelSpec
    size: float
    dataset: DatasetSpec
    loss: LossSpec
    D: int  # units
    batch: int  # units per optimizer step, over all processes
    lr: float  # peak, at the reference size
    lr_scaling: LrScaling
    optimizer: OptimizerSpec
    weight_decay: float
    warmup_fraction: float
    grad_clip: float | None
    schedule: str
    final_lr_fraction: float
    precision: str
    eval_units: int
    seed: int
    # Of some schedules; absent where they are None, so that other ids stay what they were
    warmup_steps: int | None = later()  # instead of warmup_fraction, which is 0 then
    decay_fraction: float | None = later()  # of the steps, at the end of wsd
    decay_shape: str | None = later()  # linear | 1-sqrt

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Spec:
        """Return the spec that a JSON object holds.

        Raises
        ------
        FieldError
            If a field is missing, unknown or of the wrong type.
        """
        return from_plain(cls, plain, closed=True)

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.D // self.batch

    @property
    def warmup(self) -> int:
        """Steps in which the learning rate rises."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return round(self.warmup_fraction * self.steps)

    @property
    def decay_start(self) -> int | None:
        """Steps before the learning rate of a ``wsd`` schedule falls; None for other schedules."""
        if self.decay_fraction is None:
            return None
        return decay_start(self.steps, self.decay_fraction)

    @property
    def trunk(self) -> str | None:
        """Name of the beginning that it shares, bit for bit, with experiments of another length.

        They differ in D alone: whatever their length, the same steps at the same learning rates see
        the same samples, until the shorter one decays. None where the course of the learning rate
        follows the length from the first step on.
        """
        if self.decay_fraction is None or self.warmup_steps is None:
            return None
        shared = {name: value for name, value in self.to_json().items() if name != "D"}
        return fingerprint({"trunk": shared})

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain objects, as in the run record."""
        return to_plain(self)


def decay_start(steps: int, decay_fraction: float) -> int:
    """Return after how many of its steps the decay of a run begins."""
    return steps - round(decay_fraction * steps)
