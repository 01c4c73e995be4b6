"""The keys of ``simulate``: how ``snakemake simulate`` tries a plan out."""

from __future__ import annotations

from flops_fit.study.section import Section, key
from flops_fit.study.values import Positive, check_distinct, list_of, whole


class SimulateSettings(Section):
    """How a plan is tried out. None of it is part of what is planned or trained."""

    studies: whole(ge=2, le=100_000) = key(
        "How many studies are simulated, each with its own noise.", "studies", default=200
    )
    seed: whole(ge=0) = key(
        "Seed of the noise; the same seed gives the same numbers.", "seed", default=0
    )
    spends: list_of(Positive, check_distinct, sorted, tuple) = key(
        "Spends of a design to simulate instead of plan.spend, for a curve of the interval against "
        "the FLOPs.",
        "FLOPs",
        default=[],
        expected="a list of positive numbers",
    )
