"""One planned experiment: a row of ``plan.csv``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExperiment:
    """What to train, for how long, and at what cost; the fields are the columns of the file."""

    id: str
    budget: float  # FLOPs
    size: int | float
    n_params: int
    n_params_non_embedding: int
    flops_per_unit: float
    D: int  # units: steps * batch
    steps: int
    C: float  # FLOPs: flops_per_unit * D
    units_per_param: float  # D / n_params_non_embedding
    epochs: float  # D / units of the training split
    seed: int
    lr: float
    batch: int  # units per step over all processes
    processes: int

    @property
    def title(self) -> str:
        """Budget, size, and what else distinguishes it from the others."""
        return f"C={self.budget:.3g} size={self.size:g} seed={self.seed} lr={self.lr:g}"
