"""The training of one experiment in one process, from its first step to its validation loss."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object

from flops_fit.errors import UserError
from flops_fit.plan.job import Job
from flops_fit.train.batches import Batches
from flops_fit.train.branch import STEPS_BETWEEN_CHECKS
from flops_fit.train.build import build
from flops_fit.train.curve import curve_steps
from flops_fit.train.data_order import process_slice, samples_of_steps
from flops_fit.train.evaluate import Evaluation, evaluate
from flops_fit.train.memory import agree_on_micro_batch, undisturbed
from flops_fit.train.prepared import prepare
from flops_fit.train.progress import LOG, Progress
from flops_fit.train.schedule import lr_factor
from flops_fit.train.sharding import agree_on_sharded_micro_batch
from flops_fit.train.state import Attempts, TrainingState
from flops_fit.user_code.loss_contract import loss_sum_and_count

_STEPS_ORDERED_AT_ONCE = 256  # computing the data order step by step is slow for tiny models


class Trainer:
    """One training in one process: its parts, how it takes a step, and its state.

    The constructor builds and prepares (places and wraps) the parts, and agrees with the other
    processes on the micro-batch. All processes call each method at the same time.

    Parameters
    ----------
    job
        The experiment.
    accelerator
        Places model and batches, and runs the backward pass.
    attempts
        This attempt, for the state to record.
    threads
        CPU threads of this process.

    Raises
    ------
    UserError
        If the user's code breaks its contract, the model or the dataset is not the planned one, or
        a single sample does not fit into memory.
    """

    def __init__(
        self, job: Job, accelerator: Accelerator, attempts: Attempts, threads: int = 1
    ) -> None:
        spec = job.spec
        self.job, self.spec, self.accelerator = job, spec, accelerator
        self.run_id, self.title = job.id, job.title
        self.parts = build(job)
        self.prepared = prepare(self.parts, job, accelerator)
        self.peak_lrs = [group["lr"] for group in self.prepared.optimizer.param_groups]
        self.batches = Batches(accelerator, self.parts.dtype, threads)
        self.samples_per_step = spec.batch // self.parts.units_per_sample
        self.share = process_slice(
            self.samples_per_step, accelerator.process_index, accelerator.num_processes
        )
        # With several processes, each would wait for a gradient that never comes.
        self.all_used = (
            accelerator.num_processes > 1
            and not self.prepared.sharded
            and not job.find_unused_parameters
        )
        micro_batch = self._agree_on_micro_batch()
        self.state = TrainingState(
            model=self.prepared.bare,
            optimizer=self.prepared.optimizer,
            accelerator=accelerator,
            seed=spec.seed,
            steps=spec.steps,
            warmup=spec.warmup,
            micro_batch=micro_batch,
            attempts=attempts,
        )

    @property
    def last_step(self) -> int:
        """Steps after which this training ends."""
        return self.state.steps

    @property
    def accumulation(self) -> int:
        """Passes per optimizer step."""
        return math.ceil(self._own_samples / self.state.micro_batch)

    @property
    def _own_samples(self) -> int:
        """Samples of this process per optimizer step."""
        return self.share.stop - self.share.start

    def train(self, after_step: Callable[[], None] = lambda: None) -> None:
        """Take the optimizer steps that are left, until the end or a divergence.

        Parameters
        ----------
        after_step
            Called after every step; an exception from it ends the training.
        """
        state = self.state
        rows = set(curve_steps(state.steps))
        state.stopwatch.start()
        micro_batches = self.batches.load(
            self.parts.train_data, self._index_lists(), state.generators.put_back
        )
        with Progress(
            self.title, self.last_step, self.spec.batch, self.job.unit,
            active=self.accelerator.is_main_process, done=state.step,
        ) as progress:  # fmt: skip
            self.prepared.called.train()
            for step in range(state.step, self.last_step):
                lr, last_loss = self._step(step, micro_batches)
                state.step = step + 1
                is_row = state.step in rows
                if is_row or state.step % STEPS_BETWEEN_CHECKS == 0:
                    self._check_loss(lr, is_row=is_row)
                    if state.diverged:
                        break
                if progress.due():
                    progress.show(state.step, last_loss.item())
                after_step()
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.accelerator.device)
        state.stopwatch.stop()

    def evaluate(self, interrupted: Callable[[], bool] = lambda: False) -> Evaluation | None:
        """Return the validation loss of the model as it is now.

        Parameters
        ----------
        interrupted
            Whether this process was asked to leave.

        Returns
        -------
        Evaluation or None
            None, on every process, if one of them was asked to leave before the end.
        """
        for buffer in self.prepared.bare.buffers():  # these differ between processes
            buffer.copy_(broadcast(buffer.clone()))
        return evaluate(
            self.prepared.bare,
            self.parts.loss,
            self.parts.validation_data,
            self.spec.eval_units,
            self.state.micro_batch,
            self.accelerator,
            self.batches,
            equal_passes=self.prepared.sharded,
            interrupted=interrupted,
        )

    def lr_factor(self, step: int) -> float:
        """Share of the peak learning rate that a step, counted from 0, uses."""
        spec = self.spec
        return lr_factor(
            step,
            self.state.steps,
            warmup_fraction=spec.warmup_fraction,
            schedule=spec.schedule,
            final_fraction=spec.final_lr_fraction,
            warmup_steps=spec.warmup_steps,
            decay_fraction=spec.decay_fraction or 0.0,
            decay_shape=spec.decay_shape or "linear",
        )

    def _agree_on_micro_batch(self) -> int:
        """Return how many samples every process takes at once, found by trial passes.

        Raises
        ------
        UserError
            If a parameter got no gradient, for which the other processes would wait.
        """
        unused: list[str] = []

        def attempt(samples: int) -> None:
            unused[:] = self._try_samples(samples)

        agree = agree_on_sharded_micro_batch if self.prepared.sharded else agree_on_micro_batch
        micro_batch = agree(self._own_samples, attempt, self.accelerator)
        if self.all_used and (everywhere := sorted(set(gather_object(unused)))):
            self._refuse_unused(everywhere)
        return micro_batch

    def try_micro_batch(self, samples: int) -> None:
        """Run the passes of a step with fewer samples at once than were found to fit.

        Batch normalisation, for one, fails with a single sample. All processes call it together; it
        leaves no trace in parameters, buffers and generators.
        """
        if samples < self.state.micro_batch:
            for size in sorted({samples, self._own_samples % samples} - {0}):
                self._try_samples(size)

    def _try_samples(self, samples: int) -> list[str]:
        """Run a forward and backward pass over the first samples, leaving no trace.

        Returns
        -------
        list of str
            Names of the trainable parameters that got no gradient.
        """
        order = samples_of_steps(
            0, 1, self.samples_per_step, len(self.parts.train_data), self.spec.seed
        )
        indices = order[0, self.share][:samples].tolist()
        model = self.prepared.bare
        with undisturbed(model, self.prepared.optimizer):
            inputs, targets = self.batches.one(self.parts.train_data, indices)
            with self.accelerator.autocast():
                value = self.parts.loss(model(inputs), targets)
            loss_sum_and_count(value, 1)[0].backward()
            return self._without_gradient()

    def _without_gradient(self) -> list[str]:
        """Names of the trainable parameters that have no gradient at this moment."""
        named = self.prepared.bare.named_parameters()
        return [name for name, p in named if p.requires_grad and p.grad is None]

    def _refuse_unused(self, names: list[str]) -> NoReturn:
        raise UserError(
            f"{self.job.title}: parameters of the model got no gradient ({len(names)}, such as "
            f"{names[0]}); several processes train such a model with "
            "train.find_unused_parameters: true"
        )

    def _step(self, step: int, micro_batches: Iterator[Any]) -> tuple[float, torch.Tensor]:
        """Take one optimizer step; return the learning rate and this process's last mean loss."""
        spec, optimizer = self.spec, self.prepared.optimizer
        factor = self.lr_factor(step)
        for group, peak in zip(optimizer.param_groups, self.peak_lrs, strict=True):
            group["lr"] = peak * factor
        optimizer.zero_grad(set_to_none=True)
        counts, last_loss = self._accumulate(micro_batches)
        if self.all_used and (unused := self._without_gradient()):
            self._refuse_unused(unused)
        self._rescale_gradients(counts)
        if spec.grad_clip is not None:
            self.accelerator.clip_grad_norm_(self.prepared.called.parameters(), spec.grad_clip)
        optimizer.step()
        return spec.lr * factor, last_loss

    def _accumulate(
        self, micro_batches: Iterator[Any]
    ) -> tuple[list[torch.Tensor | int], torch.Tensor]:
        """Add up the gradients of one step; return the units per pass and the last mean loss."""
        accelerator, passes = self.accelerator, self.accumulation
        counts: list[torch.Tensor | int] = []
        for k in range(passes):
            inputs, targets = next(micro_batches)
            # Unreduced gradients of a sharded model would not fit: reduce them in every pass.
            reduced = self.prepared.sharded or k == passes - 1
            whole = contextlib.nullcontext()
            with whole if reduced else accelerator.no_sync(self.prepared.wrapped):
                with accelerator.autocast():
                    value = self.parts.loss(self.prepared.called(inputs), targets)
                total, count = loss_sum_and_count(value, self._micro_units(k))
                # Data parallelism averages gradients over the processes, but we want the mean over
                # the units of the global batch.
                accelerator.backward(total * (accelerator.num_processes / self.spec.batch))
            self.state.add(total, count)
            counts.append(count)
        return counts, total.detach() / count

    def _rescale_gradients(self, counts: list[torch.Tensor | int]) -> None:
        """Divide by the number of units actually predicted, if the loss returns it."""
        if isinstance(counts[0], int):  # a mean over all units of the batch
            return
        local = torch.stack(counts).sum().double().to(self.accelerator.device)
        predicted = self.accelerator.reduce(local, reduction="sum")
        # If the batch was nothing but padding, the gradients are zero already. (`torch.where`
        # instead of `if`: reading the number would wait for the GPU.)
        factor = torch.where(predicted == 0, 1.0, self.spec.batch / predicted)
        for parameter in self.prepared.called.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.dtype))

    def _check_loss(self, lr: float, *, is_row: bool) -> None:
        """Check for divergence, and append a row to the curve if one is due."""
        state = self.state
        mean = state.curve.mean(self.accelerator)
        state.diverged = state.divergence.seen(state.step, mean)
        if is_row or state.diverged:
            state.curve.close_row(state.step, state.step * self.spec.batch, mean, lr)
        if state.diverged:
            LOG.warning(
                "%s: ends after step %d of %d: %s",
                self.title, state.step, state.steps, state.divergence.reason,
            )  # fmt: skip

    def _micro_units(self, k: int) -> int:
        """Units of this process in pass ``k`` of a step."""
        micro_batch = self.state.micro_batch
        samples = min(micro_batch, self._own_samples - k * micro_batch)
        return samples * self.parts.units_per_sample

    def _index_lists(self) -> Iterator[list[int]]:
        """Dataset indices of each remaining micro-batch of this process."""
        state, length = self.state, len(self.parts.train_data)
        for first in range(state.step, state.steps, _STEPS_ORDERED_AT_ONCE):
            last = min(first + _STEPS_ORDERED_AT_ONCE, state.steps)
            order = samples_of_steps(first, last, self.samples_per_step, length, self.spec.seed)
            for samples in order[:, self.share].tolist():
                for k in range(self.accumulation):
                    yield samples[k * state.micro_batch : (k + 1) * state.micro_batch]
