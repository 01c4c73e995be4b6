r"""The trainer's loop beside a bare PyTorch loop (no accelerate), on the same model and data.

    PYTHONPATH=workflow python benchmarks/training_loop.py [--model demo] [--steps 300]
    PYTHONPATH=workflow python benchmarks/training_loop.py --model gpt124m --precision bf16 \
        --compile

`demo` is the demo's model at d_model 64; `gpt124m` has 12 layers of width 768, a vocabulary of
50304 and sequences of 1024. The bare loop reads the same batches in the same order, with the same
optimizer, schedule, clipping and precision, and does nothing else: no curve, no progress, no
checks. Rounds alternate; the first of each is not counted (compilation). On a GPU both print MFU;
on a CPU there is a ratio of CPU seconds as well, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.train.accelerator import device_name, start_accelerator
from flops_fit.train.data_order import samples_of_steps
from flops_fit.train.loop import Trainer
from flops_fit.train.optimizer import build_optimizer
from flops_fit.train.peak_flops import mfu
from flops_fit.train.saving import Saver
from flops_fit.train.schedule import lr_factor
from flops_fit.train.state import Attempts
from flops_fit.user_code.dataset_contract import open_dataset
from flops_fit.user_code.loss_contract import loss_function
from flops_fit.user_code.model_contract import model_factory
from flops_fit.user_code.references import UserCode
from one_experiment import experiment_job
from torch.utils.data import DataLoader

THREADS = 5  # of a process with a GPU: all but one load samples
MODELS: dict[str, dict[str, Any]] = {
    "demo": {"size": 64, "batch": 1024, "kwargs": {}, "lr": 0.016},
    "gpt124m": {
        "size": 768, "batch": 64 * 1024, "lr": 6e-4,
        "kwargs": {"n_layer": 12, "vocab_size": 50304, "seq_len": 1024, "head_dim": 64},
    },
}  # fmt: skip


class BareLoop:
    """What one writes by hand."""

    def __init__(self, job: Job, micro_batch: int, device: torch.device) -> None:
        spec = job.spec
        code = UserCode.of_spec(spec, job.search_folder, "the benchmark")
        torch.manual_seed(spec.seed)
        model = model_factory(code)(spec.size).to(device)
        self.optimizer = build_optimizer(model, spec, code.folder)
        self.model = torch.compile(model) if job.compile else model
        self.spec, self.device, self.micro_batch = spec, device, micro_batch
        self.steps = spec.D // spec.batch
        self.loss = loss_function(code)
        self.data = open_dataset(code, "train", Path(job.data_folder))
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]

    def train(self) -> float:
        """Take all steps and return the seconds that took."""
        spec, device = self.spec, self.device
        samples = spec.batch // self.data.units_per_sample
        order = samples_of_steps(0, self.steps, samples, len(self.data), spec.seed)
        lists = [
            row[k : k + self.micro_batch]
            for row in order.tolist()
            for k in range(0, samples, self.micro_batch)
        ]
        on_gpu = device.type == "cuda"
        loader = DataLoader(
            self.data,
            batch_sampler=lists,
            num_workers=THREADS - 1 if on_gpu else 0,
            pin_memory=on_gpu,
        )
        begun = time.monotonic()
        batches = iter(loader)
        for step in range(self.steps):
            factor = lr_factor(
                step, self.steps, warmup_fraction=spec.warmup_fraction,
                schedule=spec.schedule, final_fraction=spec.final_lr_fraction,
            )  # fmt: skip
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak * factor
            self.optimizer.zero_grad(set_to_none=True)
            for k in range(0, samples, self.micro_batch):
                inputs, targets = next(batches)
                inputs = inputs.to(device, non_blocking=True)
                targets = targets.to(device, non_blocking=True)
                with torch.autocast(
                    device.type, dtype=torch.bfloat16, enabled=spec.precision == "bf16"
                ):
                    value = self.loss(self.model(inputs), targets)
                (value * (min(self.micro_batch, samples - k) / samples)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), spec.grad_clip)
            self.optimizer.step()
        if on_gpu:
            torch.cuda.synchronize(device)
        self.last_loss = value.item()
        return time.monotonic() - begun


def main() -> None:
    """Measure, alternating, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chosen = MODELS[options.model]
    rates: dict[str, list[float]] = {"trainer": [], "bare loop": []}
    cpu_seconds: dict[str, list[float]] = {which: [] for which in rates}
    with tempfile.TemporaryDirectory() as name:
        job = experiment_job(
            Path(name), chosen["size"], options.steps, chosen["batch"], kwargs=chosen["kwargs"],
            precision=options.precision, compiled=options.compile, lr=chosen["lr"],
        )  # fmt: skip
        gpus = min(1, torch.cuda.device_count())
        accelerator = start_accelerator(job, gpus)
        place = [device_name(accelerator.device), 1]
        for number in range(options.rounds + 1):
            attempts = Attempts(start="", place=place)
            trainer = Trainer(job, accelerator, attempts, THREADS)
            saver = Saver(job, trainer.state, accelerator, Path(name), Warned())
            bare = BareLoop(job, trainer.state.micro_batch, accelerator.device)
            for which, train in (
                ("trainer", lambda trainer=trainer, saver=saver: trained(trainer, saver)),
                ("bare loop", bare.train),
            ):
                cpu = time.process_time()
                seconds = train()
                if number:
                    rates[which].append(job.spec.D / seconds)
                    cpu_seconds[which].append(time.process_time() - cpu)
        difference = abs(trainer.evaluate().loss - _evaluated(trainer, bare))
    device = device_name(accelerator.device)
    print(
        f"{options.model}: {job.n_params} parameters, {options.steps} steps of "
        f"{chosen['batch']} tokens in micro-batches of {trainer.state.micro_batch} sequences, "
        f"precision {options.precision}{', compiled' if options.compile else ''}, on {device}"
    )
    for which, values in rates.items():
        rate = statistics.median(values)
        used = mfu(rate * job.flops_per_unit, device, options.precision, 1)
        print(f"{which:<10} {rate:12.4g} tokens/s" + (f", MFU {used:.1%}" if used else ""))
    print(f"throughput, trainer / bare loop: {_ratios(rates)}")
    if device == "cpu":
        print(f"CPU seconds, trainer / bare loop: {_ratios(cpu_seconds)}")
    print(f"difference of the validation losses: {difference:.2e} nats")


def _ratios(values: dict[str, list[float]]) -> str:
    pairs = [a / b for a, b in zip(values["trainer"], values["bare loop"], strict=True)]
    return f"{statistics.median(pairs):.3f} (pairs: {', '.join(f'{ratio:.3f}' for ratio in pairs)})"


def trained(trainer: Trainer, saver: Saver) -> float:
    """Take all steps of the trainer and return the seconds that took."""
    trainer.train(saver.after_step)
    return trainer.state.stopwatch.training


def _evaluated(trainer: Trainer, bare: BareLoop) -> float:
    """Validation loss of the bare loop's model, by the trainer's evaluation."""
    trainer.prepared = replace(trainer.prepared, bare=getattr(bare.model, "_orig_mod", bare.model))
    return trainer.evaluate().loss


if __name__ == "__main__":
    main()
