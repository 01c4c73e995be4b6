"""The run record of a finished training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from flops_fit.plan.job import Job
from flops_fit.records.run_record import CurveRow, RunRecord, Throughput, World
from flops_fit.train.accelerator import all_hosts, device_name, peak_memory
from flops_fit.train.evaluate import Evaluation
from flops_fit.train.loop import Trainer
from flops_fit.train.peak_flops import mfu
from flops_fit.train.provenance import collect_provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Time that a training took in addition to its steps."""

    startup: float
    evaluation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a training ran on, gathered from all processes while they are joined."""

    device: str
    processes: int
    hosts: list[str]
    peak_memory_bytes: int  # the largest of any process

    @classmethod
    def of(cls, accelerator: Accelerator) -> Hardware:
        """Gather it from all processes (a collective call)."""
        return cls(
            device=device_name(accelerator.device),
            processes=accelerator.num_processes,
            hosts=all_hosts(),
            peak_memory_bytes=peak_memory(accelerator),
        )


def run_record(
    job: Job,
    trainer: Trainer,
    evaluation: Evaluation | None,
    seconds: Seconds,
    hardware: Hardware,
) -> RunRecord:
    """Return what was measured, as ``runs/<id>.json`` will hold it.

    Parameters
    ----------
    trainer
        After its training has ended.
    evaluation
        None if the training diverged.
    """
    state, count = trainer.state, trainer.parts.count
    D = state.step * job.spec.batch
    C = job.flops_per_unit * D
    return RunRecord(
        id=job.id,
        study=job.study,
        spec=job.spec,
        status="diverged" if state.diverged else "completed",
        loss=evaluation.loss if evaluation else None,
        loss_std_err=evaluation.loss_std_err if evaluation else None,
        n_params=count.total,
        n_params_non_embedding=count.non_embedding,
        D=D,
        steps=state.step,
        C=C,
        C_6nd=6 * count.non_embedding * D if job.unit == "token" else None,
        curve=tuple(CurveRow(*row) for row in state.curve.rows),
        throughput=_throughput(job, trainer, D, C, seconds, hardware),
        world=World(
            num_processes=hardware.processes,
            device=hardware.device,
            precision=job.spec.precision,
            gradient_accumulation=trainer.accumulation,
            micro_batch=state.micro_batch,
            hosts=hardware.hosts,
            resumed=state.attempts.resumed,
            **_share_of_trunk(job, trainer, D),
        ),
        provenance=collect_provenance(
            job.search_folder, state.attempts, content=trainer.parts.content
        ),
    )


def _share_of_trunk(job: Job, trainer: Trainer, D: int) -> dict[str, Any]:
    """Return what ``world`` says of an experiment that branched off a trunk."""
    trunk = trainer.state.attempts.trunk
    if trunk is None:
        return {}
    own_D = D - trunk["step"] * job.spec.batch
    return {"trunk": trunk["id"], "own_D": own_D, "own_C": job.flops_per_unit * own_D}


def _throughput(
    job: Job, trainer: Trainer, D: int, C: float, seconds: Seconds, hardware: Hardware
) -> Throughput:
    """Return ``throughput``: speeds cover the steps that count, over all attempts."""
    stopwatch = trainer.state.stopwatch
    flops_per_second = C / stopwatch.training
    # If the attempts ran on different hardware, there is no common peak to compare with.
    alike = len(trainer.state.attempts.places) == 1
    used = mfu(flops_per_second, hardware.device, job.spec.precision, hardware.processes)
    return Throughput(
        units_per_second=D / stopwatch.training,
        flops_per_second=flops_per_second,
        mfu=used if alike else None,
        train_seconds=stopwatch.training,
        checkpoint_seconds=stopwatch.saving,
        startup_seconds=seconds.startup,
        eval_seconds=seconds.evaluation,
        peak_memory_bytes=hardware.peak_memory_bytes,
    )
