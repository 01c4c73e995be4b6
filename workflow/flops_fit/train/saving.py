"""When a training saves or leaves, and where it resumes, in step across all processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from flops_fit.errors import Interrupted, UserError
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    clear_checkpoints,
    state_folder,
)
from flops_fit.train.agreement import Agreement
from flops_fit.train.checkpoint import (
    FORMAT,
    Keys,
    UnsavableStateError,
    UnusableCheckpointError,
    decode,
    encode,
    read_checkpoint,
    write_checkpoint,
)
from flops_fit.train.model_state import placed
from flops_fit.train.progress import LOG
from flops_fit.train.state import RefusedStateError, TrainingState


class Saver:
    """Keeps the checkpoints of one experiment.

    Parameters
    ----------
    job
        The experiment.
    state
        The state to save and restore.
    accelerator
        Joins the processes: all call each method at the same step; the main one reads and writes.
    study_folder
        Where the experiment keeps its state; None keeps none.
    warned
        Whether this process was asked to leave.
    """

    def __init__(
        self,
        job: Job,
        state: TrainingState,
        accelerator: Accelerator,
        study_folder: Path | None,
        warned: Warned,
    ) -> None:
        self.run_id, self.title = job.id, job.title
        self.state, self.accelerator, self.warned = state, accelerator, warned
        self.study_folder = study_folder
        self.folder = None if study_folder is None else state_folder(study_folder, job.id)
        minutes = job.checkpoint_minutes
        self.period = None if minutes is None else 60 * minutes  # seconds
        self.agreement = Agreement(accelerator)
        self.saved_at = time.monotonic()
        self.saved_step: int | None = None  # of the newest checkpoint
        self.cannot_save = ""

    def after_step(self) -> None:
        """Save if a checkpoint is due, and leave if a process was asked to.

        Raises
        ------
        Interrupted
            On every process, at the same step.
        """
        due = self.period is not None and time.monotonic() - self.saved_at >= self.period
        save, leave = self.agreement.reach(self.state.step, save=due, leave=self.warned.asked())
        if leave:
            self.leave()
        if save:
            self.save()

    def after_training(self) -> None:
        """Save the final state of a training that was long enough to be saved before."""
        self.state.generators.end_training()
        if self.saved_step not in (None, self.state.step) and not self.state.diverged:
            self.save()

    def leave(self) -> None:
        """Save and leave; every process calls it.

        Raises
        ------
        Interrupted
            Always.
        """
        self.warned.finish()
        saved = self.save()
        # Without an orderly shutdown, processes joined by gloo occasionally crash at exit.
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        number = self.warned.signal
        why = signal.Signals(number).name if number else "a signal to another process"
        raise Interrupted(
            f"{self.title}: stopped by {why} after step {self.state.step} of {self.state.steps}; "
            + (f"a rerun goes on from {saved}" if saved else "it could not be saved")
        )

    def save(self) -> Path | None:
        """Write a checkpoint; return its file on the main process, None if it failed."""
        with self.state.stopwatch.timing_a_save():
            self.saved_step = self.state.step
            written = self._save()
            self.saved_at = time.monotonic()
        return written

    def _save(self) -> Path | None:
        if self.folder is None:
            return None
        # The collective call comes first: a later failure affects only the main process, which
        # reports it and trains on.
        state = self.state.collect()
        if state is None or self.cannot_save:
            return None
        try:
            write_checkpoint(self.folder, *encode({"format": FORMAT, "id": self.run_id, **state}))
        except UnsavableStateError as error:
            self.cannot_save = str(error)
            LOG.warning(
                "%s: no checkpoint can hold its state, it trains on without one: %s",
                self.title, error,
            )  # fmt: skip
            return None
        except OSError as error:
            LOG.warning(
                "%s: %s: the checkpoint cannot be written (%s); the training goes on",
                self.title, self.folder / CHECKPOINT, error,
            )  # fmt: skip
            return None
        return self.folder / CHECKPOINT

    def resume(self) -> None:
        """Resume from the newest undamaged checkpoint of this experiment, if any.

        Raises
        ------
        UserError
            If the optimizer rejects its own saved state; the checkpoint was removed.
        """
        found, tensors, path = None, {}, None
        if self.accelerator.is_main_process and self.folder is not None:
            found, tensors, path = self._newest()
        (found,) = broadcast_object_list([found])
        if found is None:
            return
        fetch = placed(self.state.model, self.state.optimizer, self._fetch(tensors))
        content = decode(found, fetch)
        try:
            self.state.restore(content)
        except RefusedStateError as error:
            # The file is intact but unusable: the next attempt has to start from scratch.
            if self.accelerator.is_main_process:
                clear_checkpoints(self.study_folder, self.run_id)
            raise UserError(
                f"{path or self.folder}: the optimizer rejects its own saved state "
                f"({error}); the checkpoint was removed, run snakemake again"
            ) from error
        self.saved_step = self.state.step
        LOG.info("%s: goes on after step %d of %d", self.title, self.state.step, self.state.steps)

    def _newest(self) -> tuple[str | None, dict[str, torch.Tensor], Path | None]:
        for path in (self.folder / CHECKPOINT, self.folder / PREVIOUS_CHECKPOINT):
            try:
                structure, tensors = read_checkpoint(path)
                content = decode(structure, lambda keys, name, tensors=tensors: tensors[name])
                self._check(content)
            except FileNotFoundError:
                continue
            except UnusableCheckpointError as error:
                LOG.warning("%s: %s: is not used: %s", self.title, path, error)
            except Exception as error:  # whatever it holds, no file may stop an experiment
                LOG.warning("%s: %s: is not used: %r", self.title, path, error)
            else:
                return structure, tensors, path
        return None, {}, None

    def _check(self, content: Mapping[str, Any]) -> None:
        if content["format"] != FORMAT:
            raise UnusableCheckpointError(f"its format is {content['format']}, expected {FORMAT}")
        if content["id"] != self.run_id:
            raise UnusableCheckpointError(f"it belongs to the experiment {content['id']}")
        if problem := self.state.why_not(content):
            raise UnusableCheckpointError(problem)

    def _fetch(self, tensors: Mapping[str, torch.Tensor]) -> Callable[[Keys, str], torch.Tensor]:
        """Return a function that gives every process the tensors read by the main one."""
        if self.accelerator.num_processes == 1:
            return lambda keys, name: tensors[name]
        device, is_main = self.accelerator.device, self.accelerator.is_main_process

        def fetch(keys: Keys, name: str) -> torch.Tensor:
            local = tensors[name] if is_main else None
            like = [local.shape, local.dtype] if is_main else [None, None]
            shape, dtype = broadcast_object_list(like)
            tensor = local.to(device) if is_main else torch.empty(shape, dtype=dtype, device=device)
            torch.distributed.broadcast(tensor, src=0)
            return tensor.cpu()

        return fetch
