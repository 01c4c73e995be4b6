"""When a training saves or leaves, in step across all processes."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from flops_fit.errors import Interrupted
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import CHECKPOINT, state_folder
from flops_fit.train.agreement import Agreement
from flops_fit.train.checkpoint import FORMAT, UnsavableStateError, encode, write_checkpoint
from flops_fit.train.progress import LOG
from flops_fit.train.state import TrainingState


class Saver:
    """Keeps the checkpoints of one experiment.

    Parameters
    ----------
    job
        The experiment.
    state
        The state to save.
    accelerator
        Joins the processes: all call each method at the same step; the main one writes.
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
        self.folder = None if study_folder is None else state_folder(study_folder, job.id)
        minutes = job.checkpoint_minutes
        self.period = None if minutes is None else 60 * minutes  # seconds
        self.agreement = Agreement(accelerator)
        self.saved_at = time.monotonic()
        # Of the newest checkpoint
        self.saved_step: int | None = state.step if state.attempts.resumed else None
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
        return self._written(self.folder / CHECKPOINT, {"id": self.run_id, **state})

    def _written(self, path: Path, state: dict[str, Any]) -> Path | None:
        """Write a state on the main process; return its file, None if that failed."""
        try:
            write_checkpoint(path.parent, *encode({"format": FORMAT, **state}), path.name)
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
                self.title, path, error,
            )  # fmt: skip
            return None
        return path
