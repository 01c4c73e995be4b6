"""When a training saves, when it leaves, and how it goes on: agreed on by all its processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from flops_fit.errors import Interrupted, UserError
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    clear_checkpoints,
    state_folder,
)
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
from flops_fit.train.progress import LOG
from flops_fit.train.provenance import source_fingerprints
from flops_fit.train.training_state import (
    collect_state,
    mismatch,
    placed,
    random_state,
    restore_random_state,
    restore_state,
    seed_afresh,
)

if TYPE_CHECKING:
    from flops_fit.train.loop import Trainer

_SECONDS_BETWEEN_TALKS = 1.0
_MOST_GROWTH = 10


class Stopwatch:
    """Seconds of training that count for what the record says about speed.

    They are those of the steps that count, over all attempts: a killed attempt's work since its
    last checkpoint is in neither the seconds nor the units. Saving is timed by itself.
    """

    def __init__(self) -> None:
        self.training = 0.0
        self.saving = 0.0
        self._begun: float | None = None

    def start(self) -> None:
        """Go on counting seconds of training."""
        self._begun = time.monotonic()

    def stop(self) -> None:
        """Stop counting seconds of training."""
        self.training += time.monotonic() - self._begun
        self._begun = None

    @contextmanager
    def timing_a_save(self) -> Iterator[None]:
        """Count the seconds of the block as saving."""
        running = self._begun is not None
        if running:
            self.stop()
        begun = time.monotonic()
        try:
            yield
        finally:
            self.saving += time.monotonic() - begun
            if running:
                self.start()


class Talks:
    """Says after which steps the processes talk about saving and leaving.

    About once a second, however short a step is: the next such step is part of what they agree on,
    so that the steps in between cost nothing, and no two processes ever talk at different ones.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.alone = accelerator.num_processes == 1
        self.next_step = 0
        self.stride = 1
        self.last_step, self.last_time = 0, time.monotonic()

    def agree(self, step: int, *, save: bool, leave: bool) -> tuple[bool, bool]:
        """Return whether all save, and whether all leave, after this step.

        Parameters
        ----------
        save
            Whether it is time for a checkpoint; the main process alone is asked.
        leave
            Whether this process was asked to leave; one is enough.
        """
        if self.alone:
            return save, leave
        if step < self.next_step:
            return False, False
        is_main = self.accelerator.is_main_process
        words = [leave, is_main and save, is_main * self._stride_of_a_second(step)]
        spoken = torch.tensor(words, dtype=torch.int64, device=self.accelerator.device)
        left, saved, stride = self.accelerator.reduce(spoken, reduction="sum").tolist()
        self.stride, self.next_step = stride, step + stride
        self.last_step, self.last_time = step, time.monotonic()
        return saved > 0, left > 0

    def _stride_of_a_second(self, step: int) -> int:
        seconds = max(time.monotonic() - self.last_time, 1e-6)
        stride = round((step - self.last_step) / seconds * _SECONDS_BETWEEN_TALKS)
        return max(1, min(stride, _MOST_GROWTH * self.stride))


class Saver:
    """Keeps the checkpoints of one experiment.

    Parameters
    ----------
    run_id, job
        The experiment and its entry of ``specs.json``.
    accelerator
        Joins the processes: all call every method at the same step, the main one reads and writes.
    study_folder
        Where the experiment keeps its state; None keeps none.
    warned
        Knows whether this process was asked to leave.
    start
        When this attempt started (UTC).
    """

    def __init__(
        self,
        run_id: str,
        job: Job,
        accelerator: Accelerator,
        study_folder: Path | None,
        warned: Warned,
        start: str,
    ) -> None:
        self.run_id, self.accelerator, self.warned = run_id, accelerator, warned
        self.folder = None if study_folder is None else state_folder(study_folder, run_id)
        self.study_folder = study_folder
        minutes = job.checkpoint_minutes
        self.period = None if minutes is None else 60 * minutes  # seconds
        self.talks = Talks(accelerator)
        self.saved_at = time.monotonic()
        self.saved_step: int | None = None  # of the newest checkpoint
        self.cannot_save = ""
        self.start = start
        self.resumed = False
        self.hardware: list[list[Any]] = []
        self._random: Mapping[str, Any] | None = None
        self._random_at_end: dict[str, Any] | None = None
        self.source = source_fingerprints(job.spec, job.search_folder)

    def after_step(self, trainer: Trainer) -> None:
        """Save where it is time to, and leave where a process was asked to.

        Raises
        ------
        Interrupted
            On every process, at the same step.
        """
        due = self.period is not None and time.monotonic() - self.saved_at >= self.period
        save, leave = self.talks.agree(trainer.done, save=due, leave=self.warned.asked())
        if leave:
            self.leave(trainer)
        if save:
            self.save(trainer)

    def after_training(self, trainer: Trainer) -> None:
        """Save the end of a training that was long enough to be saved on its way."""
        self.restore_random()  # where no step was left to do it
        self._random_at_end = random_state(self.accelerator.device)
        if self.saved_step not in (None, trainer.done) and not trainer.diverged:
            self.save(trainer)

    def leave(self, trainer: Trainer) -> None:
        """Save and leave; every process calls it.

        Raises
        ------
        Interrupted
            Always.
        """
        self.warned.finish()
        saved = self.save(trainer)
        # Without an orderly end, processes that are joined by gloo die at exit now and then.
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        number = self.warned.signal
        why = signal.Signals(number).name if number else "a signal to another process"
        raise Interrupted(
            f"{trainer.title}: stopped by {why} after step {trainer.done} of {trainer.steps}; "
            + (f"a rerun goes on from {saved}" if saved else "it could not be saved")
        )

    def save(self, trainer: Trainer) -> Path | None:
        """Write a checkpoint; return its file on the main process, None where it failed."""
        with trainer.stopwatch.timing_a_save():
            self.saved_step = trainer.done
            written = self._save(trainer)
            self.saved_at = time.monotonic()
        return written

    def _save(self, trainer: Trainer) -> Path | None:
        accelerator, is_main = self.accelerator, self.accelerator.is_main_process
        if self.folder is None:
            return None
        # Collective calls first; whatever fails after them fails on the main process alone, which
        # says so and trains on.
        state = collect_state(trainer.bare, trainer.optimizer, keep=is_main)
        own = {
            "sums": trainer.curve.sums.tolist(),
            "random": self._random_at_end or random_state(accelerator.device),
        }
        processes = gather_object([own])
        if not is_main or self.cannot_save:
            return None
        scaler = accelerator.scaler
        content = {
            "format": FORMAT,
            "id": self.run_id,
            "source": self.source,
            "step": trainer.done,
            "micro_batch": trainer.micro_batch,
            "rows": trainer.curve.rows,
            "divergence": trainer.divergence.state(),
            "training": trainer.stopwatch.training,
            "saving": trainer.stopwatch.saving,
            "start": self.start,
            "hardware": self.hardware,
            "scaler": None if scaler is None else scaler.state_dict(),
            "processes": processes,
            **state,
        }
        try:
            write_checkpoint(self.folder, *encode(content))
        except UnsavableStateError as error:
            self.cannot_save = str(error)
            LOG.warning(
                "%s: it has a state that no checkpoint can hold and trains on without: %s",
                trainer.title, error,
            )  # fmt: skip
            return None
        except OSError as error:
            LOG.warning(
                "%s: %s: the checkpoint cannot be written (%s); it trains on",
                trainer.title, self.folder / CHECKPOINT, error,
            )  # fmt: skip
            return None
        return self.folder / CHECKPOINT

    def resume(self, trainer: Trainer) -> None:
        """Go on from the newest checkpoint that is whole and of this very experiment, if any."""
        found, tensors, path = None, {}, None
        if self.accelerator.is_main_process and self.folder is not None:
            found, tensors, path = self._newest(trainer)
        place = [trainer.place]
        self.hardware = place
        (found,) = broadcast_object_list([found])
        if found is None:
            return
        fetch = placed(trainer.bare, trainer.optimizer, self._fetch(tensors))
        content = decode(found, fetch)
        self._restore(trainer, content, path)
        self.start, self.resumed, self.saved_step = content["start"], True, trainer.done
        self.hardware = content["hardware"] + [p for p in place if p not in content["hardware"]]
        LOG.info("%s: goes on after step %d of %d", trainer.title, trainer.done, trainer.steps)

    def restore_random(self) -> None:
        """Put the random generators where they were, once nothing draws before the next step."""
        if self._random is not None:
            restore_random_state(self._random, self.accelerator.device)
            self._random = None

    def _newest(self, trainer: Trainer) -> tuple[str | None, dict[str, torch.Tensor], Path | None]:
        for path in (self.folder / CHECKPOINT, self.folder / PREVIOUS_CHECKPOINT):
            try:
                structure, tensors = read_checkpoint(path)
                content = decode(structure, lambda keys, name, tensors=tensors: tensors[name])
                self._check(content, trainer)
            except FileNotFoundError:
                continue
            except UnusableCheckpointError as error:
                LOG.warning("%s: %s: is not used: %s", trainer.title, path, error)
            except Exception as error:  # whatever is in it: no file may stop an experiment
                LOG.warning("%s: %s: is not used: %r", trainer.title, path, error)
            else:
                return structure, tensors, path
        return None, {}, None

    def _check(self, content: Mapping[str, Any], trainer: Trainer) -> None:
        if content["format"] != FORMAT:
            raise UnusableCheckpointError(f"its format is {content['format']}, expected {FORMAT}")
        if content["id"] != self.run_id:
            raise UnusableCheckpointError(f"it is of the experiment {content['id']}")
        changed = [key for key, now in self.source.items() if content["source"].get(key) != now]
        if changed:
            raise UnusableCheckpointError(f"the code of {' and '.join(changed)} changed since")
        if problem := mismatch(content, trainer.bare, trainer.optimizer):
            raise UnusableCheckpointError(problem)

    def _fetch(self, tensors: Mapping[str, torch.Tensor]):
        """Return a function that gives every process the tensors that the main one has read."""
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

    def _restore(self, trainer: Trainer, content: Mapping[str, Any], path: Path | None) -> None:
        accelerator = self.accelerator
        index, processes = accelerator.process_index, content["processes"]
        try:
            restore_state(content, trainer.bare, trainer.optimizer)
        except Exception as error:
            # It is whole, and the optimizer refuses it: without it, the next attempt starts anew.
            if accelerator.is_main_process:
                clear_checkpoints(self.study_folder, self.run_id)
            raise UserError(
                f"{path or self.folder}: the optimizer does not take up its own state "
                f"({error!r}); the checkpoint was removed, run snakemake again"
            ) from error
        if accelerator.scaler is not None and content["scaler"] is not None:
            accelerator.scaler.load_state_dict(content["scaler"])
        trainer.done = content["step"]
        trainer.curve.rows = content["rows"]
        trainer.divergence.restore(content["divergence"])
        trainer.stopwatch.training = content["training"]
        trainer.stopwatch.saving = content["saving"]
        sums = torch.tensor([process["sums"] for process in processes], dtype=torch.float64)
        if len(processes) == accelerator.num_processes:
            trainer.curve.sums.copy_(sums[index])
            self._random = processes[index]["random"]
            if content["micro_batch"] <= trainer.micro_batch:
                trainer.set_micro_batch(content["micro_batch"])
            return
        # Another number of processes: what they had seen is added up, and one of them has it.
        if index == 0:
            trainer.curve.sums.copy_(sums.sum(dim=0))
        seed_afresh(trainer.spec.seed, trainer.done, index)
