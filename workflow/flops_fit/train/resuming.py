"""Where a training begins: at the newest checkpoint that it can go on from, or at its first step.

No checkpoint stops a training. One that cannot be used costs a line in the log; the previous one is
tried, and then the training begins anew, as if there had been none.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from flops_fit.errors import is_trouble_of_the_machine
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    TRUNK_STATE,
    state_folder,
)
from flops_fit.study.spec import Spec
from flops_fit.train.branch import state_of_branch
from flops_fit.train.checkpoint import Keys, UnusableCheckpointError, decode, read_checkpoint
from flops_fit.train.loop import Trainer
from flops_fit.train.model_state import placed
from flops_fit.train.parts_checks import check_model, check_optimizer
from flops_fit.train.progress import LOG
from flops_fit.train.state_checks import Training, check_fields, expect, is_whole

_LONGEST = 300  # characters of a foreign error message


def begin_or_resume(make: Callable[[], Trainer], study_folder: Path | None) -> Trainer:
    """Return a training at its first step, or at its newest checkpoint (a collective call).

    An experiment without a checkpoint of its own goes on where its trunk left it.

    Parameters
    ----------
    make
        Builds the training at its first step. It is called again after a checkpoint that model or
        optimizer rejected: nobody knows what they kept of it.
    study_folder
        Where checkpoints are kept; None keeps none.
    """
    trainer = make()
    job, accelerator = trainer.job, trainer.accelerator
    LOG.info(
        "%s: %s on %s, %d steps of %d %ss",
        trainer.run_id, trainer.title, accelerator.device, trainer.last_step, job.spec.batch,
        job.unit,
    )  # fmt: skip
    if study_folder is None:
        return trainer
    folder = state_folder(study_folder, trainer.run_id)
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT, TRUNK_STATE):
        path = folder / name
        structure, tensors = None, {}
        if accelerator.is_main_process:
            structure, tensors = _read(path, trainer)
        (structure,) = broadcast_object_list([structure])
        if structure is None:
            continue
        problem = _restore(trainer, structure, tensors)
        if not problem:
            return trainer
        if accelerator.is_main_process:
            _say_unused(trainer.title, path, problem)
        torch.set_default_dtype(trainer.parts.default_dtype)
        del trainer, tensors  # two models may not fit into memory
        accelerator.free_memory()
        gc.collect()
        trainer = make()
    if job.trunk is not None and not trainer.state.is_trunk:
        LOG.warning(
            "%s: its trunk %s left no state that it can go on from: it trains its beginning itself",
            trainer.title, job.trunk,
        )  # fmt: skip
    return trainer


def _read(path: Path, trainer: Trainer) -> tuple[str | None, dict[str, torch.Tensor]]:
    """Return structure and tensors of a checkpoint whose content was checked, or None."""
    title = trainer.title
    try:
        structure, tensors = read_checkpoint(path)
        _check(decode(structure, lambda keys, name: tensors[name]), trainer)
    except FileNotFoundError:
        return None, {}
    except UnusableCheckpointError as error:
        _say_unused(title, path, str(error))
        return None, {}
    except Exception as error:  # whatever it holds, no file may stop an experiment
        _say_unused(title, path, f"its content has another form than a checkpoint ({line(error)})")
        return None, {}
    return structure, tensors


def _check(saved: Any, trainer: Trainer) -> None:
    state, spec = trainer.state, trainer.spec
    scaler = trainer.accelerator.scaler
    check_fields(saved, _training(trainer, trainer.run_id, spec))
    _check_trunk(saved, trainer)
    if problem := state.why_not(saved):
        raise UnusableCheckpointError(problem)
    check_model(saved, state.model)
    check_optimizer(saved, state.model, state.optimizer, skips_steps=scaler is not None)


def _training(trainer: Trainer, run_id: str, spec: Spec) -> Training:
    scaler = trainer.accelerator.scaler
    return Training(
        run_id=run_id,
        steps=spec.steps,
        warmup=spec.warmup,
        batch=spec.batch,
        samples_per_step=trainer.samples_per_step,
        lr_of_step=lambda step: spec.lr * trainer.lr_factor(step),
        device=trainer.accelerator.device,
        scaler=None if scaler is None else scaler.state_dict(),
    )


def _check_trunk(saved: Any, trainer: Trainer) -> None:
    """Check that a trunk knows its branches, or that it is the right trunk that was left in time.

    The id of a state, which was checked, stands for all of the experiment's spec.
    """
    state, step = trainer.state, saved["step"]
    if state.is_trunk:
        branches = saved.get("branches")
        expect("branches", branches, isinstance(branches, dict), "a dictionary")
        for branch in state.branches:
            if branch.id in branches and branch.step >= step:
                training = _training(trainer, branch.id, branch.spec)
                check_fields(state_of_branch(saved, branch.id), training)
    elif (left := saved.get("trunk")) is not None:
        trunk, last = trainer.spec.trunk, trainer.spec.decay_start
        fits = isinstance(left, dict) and left.keys() == {"id", "step"} and left["id"] == trunk
        expect("trunk", left, fits, f"an id, {trunk!r}, and a step")
        last = min(step, last)
        expect("trunk.step", left["step"], is_whole(left["step"], 1, last), f"1 to {last}")


def _restore(trainer: Trainer, structure: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Go on from a checkpoint (a collective call); return why a process could not, on all of them.

    The training is of no use after that.
    """
    state, accelerator = trainer.state, trainer.accelerator
    content = decode(structure, placed(state.model, state.optimizer, _fetch(tensors, trainer)))
    problem = ""
    words = "micro_batch: passes of so few samples fail"
    try:
        if len(content["processes"]) == accelerator.num_processes:
            trainer.try_micro_batch(content["micro_batch"])
        words = "model or optimizer rejects its saved state"
        state.restore_parts(content)
    except Exception as error:  # of the user's code, whatever it raises
        if _says_nothing_of_the_file(error):
            raise
        problem = f"{words} ({line(error)})"
    problems = [problem for problem in gather_object([problem]) if problem]
    if problems:
        return problems[0]
    state.restore_progress(content)
    before = len(content["processes"])
    LOG.info(
        "%s: goes on after step %d of %d%s%s",
        trainer.title, state.step, trainer.last_step,
        "" if state.attempts.resumed else f", where its trunk {state.attempts.trunk['id']} left it",
        "" if before == accelerator.num_processes
        else f", on {accelerator.num_processes} processes instead of {before}",
    )  # fmt: skip
    return ""


def _says_nothing_of_the_file(error: Exception) -> bool:
    return is_trouble_of_the_machine(error) or isinstance(
        error, torch.OutOfMemoryError | MemoryError
    )


def line(error: Exception) -> str:
    """Return a foreign error in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error that cannot even be printed
        text = ""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _say_unused(title: str, path: Path, problem: str) -> None:
    LOG.warning("%s: %s: is not used: %s", title, path, problem)


def _fetch(
    tensors: Mapping[str, torch.Tensor], trainer: Trainer
) -> Callable[[Keys, str], torch.Tensor]:
    """Return a function that gives every process the tensors read by the main one."""
    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return lambda keys, name: tensors[name]
    device, is_main = accelerator.device, accelerator.is_main_process

    def fetch(keys: Keys, name: str) -> torch.Tensor:
        local = tensors[name] if is_main else None
        like = [local.shape, local.dtype] if is_main else [None, None]
        shape, dtype = broadcast_object_list(like)
        tensor = local.to(device) if is_main else torch.empty(shape, dtype=dtype, device=device)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu()

    return fetch
