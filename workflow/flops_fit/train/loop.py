"""One experiment from its spec to its record."""

from __future__ import annotations

import contextlib
import math
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    broadcast,
    gather_object,
    set_seed,
)
from torch.nn.modules.batchnorm import _BatchNorm

from flops_fit.errors import UserError
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.train.batches import Batches
from flops_fit.train.curve import Curve, curve_steps
from flops_fit.train.data_order import process_slice, samples_of_steps
from flops_fit.train.divergence import Divergence
from flops_fit.train.evaluate import Evaluation, evaluate
from flops_fit.train.memory import agree_on_micro_batch, undisturbed
from flops_fit.train.optimizer import build_optimizer
from flops_fit.train.peak_flops import mfu
from flops_fit.train.progress import LOG, Progress
from flops_fit.train.provenance import collect_provenance, now
from flops_fit.train.saving import Saver, Stopwatch
from flops_fit.train.schedule import lr_factor
from flops_fit.train.sharding import agree_on_sharded_micro_batch, check_sharded, shards_asked
from flops_fit.train.training_state import collect_weights
from flops_fit.user_code.dataset_contract import open_dataset, units_per_sample
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.flops import count_parameters
from flops_fit.user_code.loss_contract import loss_function, loss_sum_and_count
from flops_fit.user_code.model_contract import BuildError, model_factory
from flops_fit.user_code.references import UserCode

_STEPS_BETWEEN_CHECKS = 100  # for a loss that is no longer finite
_STEPS_ORDERED_AT_ONCE = 256  # computing the data order step by step is slow for tiny models


def train_experiment(
    run_id: str,
    job: Job,
    *,
    gpus: int,
    threads: int = 1,
    study_folder: Path | None = None,
    warned: Warned | None = None,
    weights: dict[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Train one experiment with all processes of this launch and return its record.

    Parameters
    ----------
    run_id
        The experiment's id.
    job
        Its entry of ``specs.json``.
    gpus
        GPUs that all processes of this node have together; 0 trains on the CPU.
    threads
        CPU threads of this process.
    study_folder
        Where checkpoints are kept; None keeps none.
    warned
        Knows whether this process was asked to save and leave.
    weights
        Takes up the final weights of a completed run on the main process; None on all processes
        does without.

    Raises
    ------
    Interrupted
        On every process, if one was asked to leave before the end.
    UserError
        If the processes that started are not those asked for, or the model or the dataset is not
        the one that was planned.
    """
    started, start = time.monotonic(), now()
    spec = job.spec
    accelerator = start_accelerator(
        spec.precision, job.processes, gpus, find_unused=job.find_unused_parameters
    )
    saver = Saver(
        run_id, job, accelerator, study_folder, Warned() if warned is None else warned, start
    )
    trainer = Trainer(run_id, job, accelerator, saver, threads)
    LOG.info(
        "%s: %s on %s, %d steps of %d %ss",
        run_id, trainer.title, accelerator.device, trainer.steps, spec.batch, job.unit,
    )  # fmt: skip
    saver.resume(trainer)
    startup_seconds = time.monotonic() - started
    train_seconds = trainer.train()
    saver.after_training(trainer)
    begun = time.monotonic()
    evaluation = None if trainer.diverged else trainer.evaluate()
    if evaluation is not None and not math.isfinite(evaluation.loss):
        trainer.diverged, evaluation = True, None
    eval_seconds = time.monotonic() - begun
    D = trainer.done * spec.batch
    C = job.flops_per_unit * D
    hosts = sorted(set(gather_object([socket.gethostname()])))
    peak_memory_bytes = peak_memory(accelerator)
    if weights is not None and evaluation is not None:
        weights |= collect_weights(trainer.bare, keep=accelerator.is_main_process)
    saver.warned.finish()
    # Without an orderly end, processes that are joined by gloo die at exit now and then.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return {
        "id": run_id,
        "study": job.study,
        "spec": spec.to_json(),
        "status": "diverged" if trainer.diverged else "completed",
        "loss": evaluation.loss if evaluation else None,
        "loss_std_err": evaluation.loss_std_err if evaluation else None,
        "n_params": trainer.count.total,
        "n_params_non_embedding": trainer.count.non_embedding,
        "D": D,
        "steps": trainer.done,
        "C": C,
        "C_6nd": 6 * trainer.count.non_embedding * D if job.unit == "token" else None,
        "curve": trainer.curve.rows,
        "throughput": {
            "units_per_second": D / train_seconds,
            "flops_per_second": C / train_seconds,
            # Of attempts on different hardware no share of a peak can be told.
            "mfu": mfu(C / train_seconds, trainer.place[0], spec.precision, trainer.place[1])
            if len(saver.hardware) == 1
            else None,
            "train_seconds": train_seconds,
            "checkpoint_seconds": trainer.stopwatch.saving,
            "startup_seconds": startup_seconds,
            "eval_seconds": eval_seconds,
            "peak_memory_bytes": peak_memory_bytes,
        },
        "world": {
            "num_processes": accelerator.num_processes,
            "device": device_name(accelerator.device),
            "precision": spec.precision,
            "gradient_accumulation": trainer.accumulation,
            "micro_batch": trainer.micro_batch,
            "hosts": hosts,
            "resumed": saver.resumed,
        },
        # The code that was trained: its files may have been edited, or be gone, since it started.
        "provenance": collect_provenance(spec, job.search_folder, saver.start, saver.source),
    }


def start_accelerator(
    precision: str, processes: int, gpus: int, *, find_unused: bool = False
) -> Accelerator:
    """Return the Accelerator of this experiment.

    Parameters
    ----------
    find_unused
        Look in every step which parameters have a gradient, instead of waiting for all of them.

    Raises
    ------
    UserError
        If another number of processes started than was asked for, or they do not have the GPUs that
        were leased for them.
    """
    if gpus and torch.cuda.device_count() < gpus:
        raise UserError(
            f"train.processes: {gpus} GPUs were leased for {processes} processes, but torch "
            f"{torch.__version__} can use {torch.cuda.device_count()}; install a CUDA build of "
            "torch that suits the driver, or set CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        )
    if not gpus and torch.cuda.is_available():
        raise UserError(
            f"torch can use {torch.cuda.device_count()} GPUs, but nvidia-smi lists none, so that "
            "experiments cannot be kept apart on them; make nvidia-smi available, or set "
            "CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        )
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no" if precision == "float64" else precision,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=find_unused)],
    )
    if accelerator.num_processes != processes:
        raise UserError(
            f"train.processes: {processes} processes were asked for, but "
            f"{accelerator.num_processes} work together; expected the launcher of flops-fit to "
            "start them all"
        )
    if torch.cuda.is_available() and accelerator.device.type != "cuda":
        raise UserError(
            f"train.processes: {gpus} GPUs were leased for {processes} processes, but accelerate "
            f"chose the device {accelerator.device}; expected no setting that overrules this"
        )
    if accelerator.device.type == "cpu":
        torch.set_flush_denormal(True)
    return accelerator


class Trainer:
    """The state of one training run in one process.

    Parameters
    ----------
    run_id, job
        The experiment and its entry of ``specs.json``.
    accelerator
        Places model and batches, and runs the backward pass.
    saver
        Saves and leaves between steps; None does neither.
    threads
        CPU threads of this process.
    """

    def __init__(
        self,
        run_id: str,
        job: Job,
        accelerator: Accelerator,
        saver: Saver | None = None,
        threads: int = 1,
    ) -> None:
        spec = job.spec
        self.spec, self.job, self.accelerator = spec, job, accelerator
        self.title = job.title
        dtype = torch.float64 if spec.precision == "float64" else None
        if dtype is not None:
            torch.set_default_dtype(dtype)
        code = UserCode.of_spec(spec, job.search_folder, f"experiment {run_id}")
        self.loss = loss_function(code)
        self.train_data = open_dataset(code, "train", Path(job.data_folder))
        self.validation_data = open_dataset(code, "validation", Path(job.data_folder))
        self._check_data_as_planned()
        set_seed(spec.seed)
        try:
            bare = model_factory(code)(spec.size)
        except BuildError as error:
            raise UserError(str(error)) from error
        self.count = count_parameters(bare)
        self._check_as_planned()
        optimizer = build_optimizer(bare, spec, code.folder)
        shards = shards_asked(accelerator)
        self.prepared, self.optimizer = accelerator.prepare(bare, optimizer)
        # Trial passes and evaluation use the bare model: a wrapper would synchronise in each. A
        # sharded model has no wrapper: each of its passes is a collective call.
        self.sharded = check_sharded(self.prepared, shards)
        self.bare = accelerator.unwrap_model(self.prepared)
        self.model = torch.compile(self.prepared) if job.compile else self.prepared
        if any(isinstance(module, _BatchNorm) for module in bare.modules()):
            LOG.warning(
                "%s: it has batch normalisation, whose statistics are those of a micro-batch: its "
                "loss depends on the number of processes and on their memory",
                self.title,
            )
        set_seed(spec.seed, device_specific=True)  # dropout differs between processes
        self.peak_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.batches = Batches(accelerator, dtype, threads)
        self.units_per_sample = units_per_sample(self.train_data)
        self.samples_per_step = spec.batch // self.units_per_sample
        self.steps = spec.D // spec.batch
        share = process_slice(
            self.samples_per_step, accelerator.process_index, accelerator.num_processes
        )
        self.share = share
        # Between several processes, a gradient that does not come would be waited for.
        self.all_used = (
            accelerator.num_processes > 1 and not self.sharded and not job.find_unused_parameters
        )
        self.unused: list[str] = []  # in the trial pass
        agree = agree_on_sharded_micro_batch if self.sharded else agree_on_micro_batch
        self.set_micro_batch(agree(share.stop - share.start, self._try_samples, accelerator))
        if self.all_used and (unused := sorted(set(gather_object(self.unused)))):
            self._refuse_unused(unused)
        self.curve = Curve(device=accelerator.device)
        self.done = 0
        self.diverged = False
        self.divergence = Divergence(
            steps=self.steps, warmup=round(spec.warmup_fraction * self.steps)
        )
        self.saver = saver
        self.stopwatch = Stopwatch()
        self.place = [device_name(accelerator.device), accelerator.num_processes]

    def set_micro_batch(self, samples: int) -> None:
        """Take so many samples at once, and as many passes per step as that needs."""
        self.micro_batch = samples
        self.accumulation = math.ceil((self.share.stop - self.share.start) / samples)

    def train(self) -> float:
        """Run the optimizer steps that are left; return the seconds of all, whoever ran them.

        Raises
        ------
        Interrupted
            On every process, at the same step, if one was asked to leave.
        """
        rows = set(curve_steps(self.steps))
        self.stopwatch.start()
        micro_batches = self.batches.load(
            self.train_data, self._index_lists(), self.saver and self.saver.restore_random
        )
        with Progress(
            self.title, self.steps, self.spec.batch, self.job.unit,
            active=self.accelerator.is_main_process, done=self.done,
        ) as progress:  # fmt: skip
            self.model.train()
            for step in range(self.done, self.steps):
                lr, last_loss = self._step(step, micro_batches)
                self.done = step + 1
                if self.done in rows or self.done % _STEPS_BETWEEN_CHECKS == 0:
                    mean = self.curve.mean(self.accelerator)
                    self.diverged = self.divergence.seen(self.done, mean)
                    if self.done in rows or self.diverged:
                        self.curve.close_row(self.done, self.done * self.spec.batch, mean, lr)
                    if self.diverged:
                        LOG.warning(
                            "%s: it ends after step %d of %d: %s",
                            self.title, self.done, self.steps, self.divergence.reason,
                        )  # fmt: skip
                        break
                if progress.due():
                    progress.show(self.done, last_loss.item())
                if self.saver is not None:
                    self.saver.after_step(self)
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.accelerator.device)
        self.stopwatch.stop()
        return self.stopwatch.training

    def evaluate(self) -> Evaluation:
        """Return the validation loss of the model as it is now.

        Raises
        ------
        Interrupted
            On every process, if one was asked to leave.
        """
        for buffer in self.bare.buffers():  # each process kept its own since the last step
            buffer.copy_(broadcast(buffer.clone()))
        evaluation = evaluate(
            self.bare,
            self.loss,
            self.validation_data,
            self.spec.eval_units,
            self.micro_batch,
            self.accelerator,
            self.batches,
            equal_passes=self.sharded,
            interrupted=self.saver.warned.asked if self.saver is not None else lambda: False,
        )
        if evaluation is None:
            self.saver.leave(self)
        return evaluation

    def _try_samples(self, samples: int) -> None:
        """Run a forward and backward pass over the first samples, without a trace."""
        order = samples_of_steps(0, 1, self.samples_per_step, len(self.train_data), self.spec.seed)
        indices = order[0, self.share][:samples].tolist()
        model = self.bare
        with undisturbed(model, self.optimizer):
            inputs, targets = self.batches.one(self.train_data, indices)
            with self.accelerator.autocast():
                value = self.loss(model(inputs), targets)
            loss_sum_and_count(value, 1)[0].backward()
            self.unused = self._without_gradient()

    def _without_gradient(self) -> list[str]:
        """Names of the trainable parameters that have no gradient at this moment."""
        named = self.bare.named_parameters()
        return [name for name, p in named if p.requires_grad and p.grad is None]

    def _refuse_unused(self, names: list[str]) -> NoReturn:
        raise UserError(
            f"{self.title}: parameters of the model got no gradient ({len(names)}, such as "
            f"{names[0]}); several processes train such a model with "
            "train.find_unused_parameters: true"
        )

    def _step(self, step: int, micro_batches: Iterator[Any]) -> tuple[float, torch.Tensor]:
        """Take one optimizer step; return the learning rate and this process's last mean loss."""
        spec, accelerator = self.spec, self.accelerator
        factor = lr_factor(
            step,
            self.steps,
            warmup_fraction=spec.warmup_fraction,
            schedule=spec.schedule,
            final_fraction=spec.final_lr_fraction,
        )
        for group, peak in zip(self.optimizer.param_groups, self.peak_lrs, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad(set_to_none=True)
        counts: list[torch.Tensor | int] = []
        for k in range(self.accumulation):
            inputs, targets = next(micro_batches)
            # Whole gradients of a sharded model would not fit: they are reduced in every pass.
            reduced = self.sharded or k == self.accumulation - 1
            with contextlib.nullcontext() if reduced else accelerator.no_sync(self.prepared):
                with accelerator.autocast():
                    value = self.loss(self.model(inputs), targets)
                total, count = loss_sum_and_count(value, self._micro_units(k))
                # Data parallelism averages gradients over the processes; the mean over the units of
                # the global batch is wanted.
                accelerator.backward(total * (accelerator.num_processes / spec.batch))
            self.curve.add(total, count)
            counts.append(count)
        if self.all_used and (unused := self._without_gradient()):
            self._refuse_unused(unused)
        self._rescale_gradients(counts)
        if spec.grad_clip is not None:
            accelerator.clip_grad_norm_(self.model.parameters(), spec.grad_clip)
        self.optimizer.step()
        return spec.lr * factor, total.detach() / count

    def _rescale_gradients(self, counts: list[torch.Tensor | int]) -> None:
        """Divide by the units that the loss really predicted, where it returns their count."""
        if isinstance(counts[0], int):  # a mean over all units of the batch
            return
        local = torch.stack(counts).sum().double().to(self.accelerator.device)
        predicted = self.accelerator.reduce(local, reduction="sum")
        # Where nothing but padding was seen, the gradients are zero already. (Without a look at the
        # number itself, a GPU need not be waited for.)
        factor = torch.where(predicted == 0, 1.0, self.spec.batch / predicted)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.dtype))

    def _micro_units(self, k: int) -> int:
        samples = min(self.micro_batch, self.share.stop - self.share.start - k * self.micro_batch)
        return samples * self.units_per_sample

    def _index_lists(self) -> Iterator[list[int]]:
        """Dataset indices of every micro-batch of this process that is still to come."""
        for first in range(self.done, self.steps, _STEPS_ORDERED_AT_ONCE):
            last = min(first + _STEPS_ORDERED_AT_ONCE, self.steps)
            order = samples_of_steps(
                first, last, self.samples_per_step, len(self.train_data), self.spec.seed
            )
            for samples in order[:, self.share].tolist():
                for k in range(self.accumulation):
                    yield samples[k * self.micro_batch : (k + 1) * self.micro_batch]

    def _check_data_as_planned(self) -> None:
        meta = Path(self.job.data_folder) / "meta.json"
        prepared = DatasetMeta.load(meta).content_fingerprint
        planned = self.spec.dataset.content
        if prepared != planned:
            raise UserError(
                f"{meta}: content_fingerprint: found {prepared!r}, but {planned!r} was "
                "planned: the dataset was prepared anew with other content; run snakemake again, "
                "it plans anew"
            )

    def _check_as_planned(self) -> None:
        planned = (self.job.n_params, self.job.n_params_non_embedding)
        if (self.count.total, self.count.non_embedding) != planned:
            raise UserError(
                f"model: {self.title} has {self.count.total} parameters "
                f"({self.count.non_embedding} without lookup tables), but {planned[0]} "
                f"({planned[1]}) were planned; the model's code changed since: raise model.version "
                "and run snakemake again"
            )


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(accelerator: Accelerator) -> int:
    """Return the largest memory of any process: of its GPU, or resident where there is none."""
    if accelerator.device.type == "cuda":
        local = torch.cuda.max_memory_allocated(accelerator.device)
    else:
        local = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        local *= 1 if sys.platform == "darwin" else 1024
    return max(gather_object([local]))
