"""One experiment from its job to its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.records.run_record import RunRecord
from flops_fit.train.accelerator import device_name, start_accelerator
from flops_fit.train.code import code_after_a_step, code_at_start, refuse_to_mix
from flops_fit.train.evaluate import Evaluation
from flops_fit.train.loop import Trainer
from flops_fit.train.model_state import collect_weights
from flops_fit.train.provenance import now
from flops_fit.train.recording import Hardware, Seconds, run_record
from flops_fit.train.resuming import begin_or_resume
from flops_fit.train.saving import Saver
from flops_fit.train.state import Attempts


def train_experiment(
    job: Job,
    *,
    gpus: int,
    threads: int = 1,
    study_folder: Path | None = None,
    warned: Warned | None = None,
    weights: dict[str, torch.Tensor] | None = None,
) -> RunRecord:
    """Train one experiment with all processes of this launch and return its record.

    Parameters
    ----------
    gpus
        GPUs that all processes of this node have together; 0 trains on the CPU.
    threads
        CPU threads of this process.
    study_folder
        Where checkpoints are kept; None keeps none.
    warned
        Whether this process was asked to save and leave.
    weights
        Dictionary into which the main process puts the final weights of a completed run; None, on
        all processes, if they are not wanted.

    Raises
    ------
    Interrupted
        On every process, if one was asked to leave before the end.
    UserError
        If the processes, the model or the dataset are not as planned, or the study's other runs
        have other code.
    """
    started, start = time.monotonic(), now()
    accelerator = start_accelerator(job, gpus)
    attempts = Attempts(
        start=start, place=[device_name(accelerator.device), accelerator.num_processes]
    )

    def make() -> Trainer:
        return Trainer(job, accelerator, attempts, threads)

    trainer = begin_or_resume(lambda: checked(make, job, attempts, study_folder), study_folder)
    saver = Saver(job, trainer.state, accelerator, study_folder, warned or Warned())
    trained_from = time.monotonic()
    trainer.train(saver.after_step)
    saver.after_training()
    evaluated_from = time.monotonic()
    evaluation = _evaluate(trainer, saver)
    seconds = Seconds(startup=trained_from - started, evaluation=time.monotonic() - evaluated_from)
    hardware = Hardware.of(accelerator)
    if weights is not None and evaluation is not None:
        weights |= collect_weights(trainer.prepared.bare, keep=accelerator.is_main_process)
    saver.warned.finish()
    # Without an orderly shutdown, processes joined by gloo occasionally crash at exit.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run_record(job, trainer, evaluation, seconds, hardware)


def checked(
    make: Callable[[], Trainer], job: Job, attempts: Attempts, study_folder: Path | None
) -> Trainer:
    """Return the trainer, once its code is known to be that of the study's other runs."""
    if attempts.code is not None:  # it is built again, of what this process has imported
        return make()
    at_start = code_at_start(job)
    trainer = make()
    attempts.code = code_after_a_step(job, at_start)
    if study_folder is not None:
        refuse_to_mix(job, attempts.code, study_folder, trainer.accelerator)
    return trainer


def _evaluate(trainer: Trainer, saver: Saver) -> Evaluation | None:
    """Return the validation loss; None if it is not finite or the training had diverged before.

    Raises
    ------
    Interrupted
        On every process, if one was asked to leave.
    """
    if trainer.state.diverged:
        return None
    evaluation = trainer.evaluate(saver.warned.asked)
    if evaluation is None:
        saver.leave()
    if math.isfinite(evaluation.loss):
        return evaluation
    trainer.state.diverged = True
    return None
