"""The parts of an experiment, built from the user's code and checked against the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch.utils.data import Dataset

from flops_fit.errors import UserError
from flops_fit.plan.job import Job
from flops_fit.train.generators import random_state, restore_random_state
from flops_fit.train.optimizer import build_optimizer
from flops_fit.user_code.content_fingerprint import check_content
from flops_fit.user_code.dataset_contract import open_splits, units_per_sample
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.flops import ParameterCount, count_parameters
from flops_fit.user_code.loss_contract import loss_function
from flops_fit.user_code.model_contract import BuildError, model_factory
from flops_fit.user_code.references import UserCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one experiment trains, with which loss, on which data."""

    loss: Callable[[Any, Any], Any]
    train_data: Dataset
    validation_data: Dataset
    content: str  # fingerprint of what was read from the two
    units_per_sample: int
    model: torch.nn.Module  # bare, on the CPU
    count: ParameterCount
    optimizer: torch.optim.Optimizer
    dtype: torch.dtype | None  # of inputs and targets; None leaves theirs
    default_dtype: torch.dtype  # torch's, before these parts were built


def build(job: Job) -> Parts:
    """Build all parts of an experiment; the seed decides the initial weights.

    Raises
    ------
    UserError
        If the user's code breaks its contract, or the model or the dataset is not the planned one.
    """
    spec = job.spec
    code = UserCode.of_spec(spec, job.search_folder, f"experiment {job.id}")
    loss = loss_function(code)
    content = _check_data(code, job)
    dtype = torch.float64 if spec.precision == "float64" else None
    default_dtype = torch.get_default_dtype()
    if dtype is not None:  # not before: the samples were measured as they are by default
        torch.set_default_dtype(dtype)
    splits = open_splits(code, Path(job.data_folder))
    set_seed(spec.seed)
    try:
        model = model_factory(code)(spec.size)
    except BuildError as error:
        raise UserError(str(error)) from error
    count = count_parameters(model)
    _check_count(job, count)
    return Parts(
        loss=loss,
        train_data=splits["train"],
        validation_data=splits["validation"],
        content=content,
        units_per_sample=units_per_sample(splits["train"]),
        model=model,
        count=count,
        optimizer=build_optimizer(model, spec, code.folder),
        dtype=dtype,
        default_dtype=default_dtype,
    )


def _check_data(code: UserCode, job: Job) -> str:
    """Return the fingerprint of the content that is there, which has to be the planned one.

    It leaves no trace: the training draws the same random numbers as without it.
    """
    meta_file = Path(job.data_folder) / "meta.json"
    meta = DatasetMeta.load(meta_file)
    planned = job.spec.dataset.content
    if meta.content_fingerprint != planned:
        raise UserError(
            f"{meta_file}: content_fingerprint: found {meta.content_fingerprint!r}, but "
            f"{planned!r} was planned: the dataset was prepared again with other content; run "
            "snakemake again to plan again"
        )
    cpu = torch.device("cpu")
    before = random_state(cpu)
    source = f"{job.data_folder}: dataset {job.spec.dataset.target}"
    content = check_content(lambda: open_splits(code, Path(job.data_folder)), meta, source)
    restore_random_state(before, cpu)
    return content


def _check_count(job: Job, count: ParameterCount) -> None:
    if (count.total, count.non_embedding) != (job.n_params, job.n_params_non_embedding):
        raise UserError(
            f"model: {job.title} has {count.total} parameters ({count.non_embedding} without "
            f"lookup tables), but {job.n_params} ({job.n_params_non_embedding}) were planned; the "
            "model's code changed since: raise model.version and run snakemake again"
        )
