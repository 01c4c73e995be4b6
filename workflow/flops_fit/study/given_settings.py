"""The keys of one entry of ``plan.experiments``."""

from __future__ import annotations

from pydantic import model_validator

from flops_fit.study.section import Section, key
from flops_fit.study.values import Positive, PositiveWhole, mistakes_below, whole


class GivenExperiment(Section):
    """One experiment that is named, and not laid out."""

    size: Positive = key(
        "The size of its model, whatever model.sizes holds.", "value of size_param"
    )
    D: PositiveWhole | None = key(
        "What it is trained on, in whole steps of its batch; instead of C.", "units", default=None
    )
    C: Positive | None = key(
        "The compute that it is trained with, as a budget of a grid; instead of D.",
        "FLOPs",
        default=None,
    )
    seed: whole(ge=0, le=2**31 - 1) | None = key(
        "Its seed; without it, it is trained once for each of plan.seeds.", "seed", default=None
    )
    lr: Positive | None = key(
        "Its peak learning rate at the reference size; without it that of train.lr.",
        "learning rate",
        default=None,
    )
    batch: PositiveWhole | None = key(
        "Its units per optimizer step; without it those of train.batch.", "units", default=None
    )

    @model_validator(mode="after")
    def _check(self) -> GivenExperiment:
        if (self.D is None) == (self.C is None):
            found = "neither D nor C" if self.D is None else f"D {self.D} and C {self.C:g}"
            raise mistakes_below("experiment", [(("D",), f"found {found}, expected one of them")])
        if self.D is not None and self.batch is not None and self.D < self.batch:
            text = f"found {self.D}, expected at least the {self.batch} units of one step (batch)"
            raise mistakes_below("experiment", [(("D",), text)])
        return self
