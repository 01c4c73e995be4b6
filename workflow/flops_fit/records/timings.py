"""How long finished trainings took. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flops_fit.records.run_record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The seconds of one training, and where they were measured."""

    device: str  # name of the GPU, or cpu
    hosts: tuple[str, ...]
    training: float
    steps: int
    startup: float
    evaluation: float
    checkpoints: float

    @classmethod
    def of(cls, record: RunRecord) -> Timing | None:
        """Return what a record says; None where it says too little, or it was interrupted.

        The speeds of a record are for information and may be anything: nothing has checked them.
        """
        found, world = record.throughput, record.world
        seconds = (found.train_seconds, found.startup_seconds, found.eval_seconds)
        if not all(_is_seconds(value) for value in seconds) or not isinstance(world.device, str):
            return None
        if world.resumed or not record.steps or found.train_seconds == 0:
            return None
        hosts = world.hosts if isinstance(world.hosts, list) else []
        saving = found.checkpoint_seconds
        return cls(
            device=world.device,
            hosts=tuple(str(host) for host in hosts),
            training=found.train_seconds,
            steps=record.steps,
            startup=found.startup_seconds,
            evaluation=found.eval_seconds,
            checkpoints=saving if _is_seconds(saving) else 0.0,
        )

    def launch(self, whole: float | None) -> float | None:
        """Return the seconds of a job of `whole` seconds that the trainer did not see.

        None where they are not known, or where less passed than the trainer saw: the job found a
        stored record.
        """
        if whole is None:
            return None
        rest = whole - self.startup - self.training - self.checkpoints - self.evaluation
        return rest if rest >= 0 else None


def job_seconds(study_folder: str | Path, run_id: str) -> float | None:
    """Return how long the job of an experiment took, by Snakemake's own measurement."""
    path = Path(study_folder) / "benchmarks" / f"{run_id}.tsv"
    try:
        names, values = path.read_text(encoding="utf-8").splitlines()[:2]
        return float(values.split("\t")[names.split("\t").index("s")])
    except (OSError, ValueError, IndexError):
        return None


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
