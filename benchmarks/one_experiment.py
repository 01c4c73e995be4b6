"""One experiment of the zoo's GPT on Python sources, planned for a benchmark without a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from flops_fit.plan.job import Job
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.plan import experiment_spec
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare

ROOT = Path(__file__).resolve().parent.parent


def experiment_job(
    folder: Path,
    size: int,
    steps: int,
    batch: int,
    *,
    precision: str = "no",
    compiled: bool = False,
    kwargs: Mapping[str, Any] | None = None,
    lr: float = 0.016,
) -> Job:
    """Prepare the data in ``folder`` and return the experiment.

    Parameters
    ----------
    size
        d_model.
    batch
        Tokens per optimizer step.
    kwargs
        What replaces the demo's own kwargs of the model; its ``seq_len`` is the dataset's, too.
    """
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["sizes"] = sorted({size, 2 * size, 4 * size})
    config["model"]["kwargs"] |= dict(kwargs or {})
    config["dataset"]["kwargs"]["seq_len"] = config["model"]["kwargs"]["seq_len"]
    config["train"] |= {"batch": batch, "precision": precision}
    study = Study.from_config(config, ROOT / "config" / "config.yaml")
    data = folder / "data"
    prepare(study, data / "meta.json")
    meta = DatasetMeta.load(data / "meta.json")
    measure = measure_sizes(study, data)[size]
    cell = Cell(budget=measure.flops_per_unit * steps * batch, size=size, steps=steps, batch=batch)
    spec = experiment_spec(study, meta, cell, lr=lr, seed=0)
    return Job(
        spec=spec,
        study="benchmark",
        unit=meta.unit,
        budget=measure.flops_per_unit * steps * batch,
        n_params=measure.n_params,
        n_params_non_embedding=measure.n_params_non_embedding,
        flops_per_unit=measure.flops_per_unit,
        steps=steps,
        processes=1,
        compile=compiled,
        find_unused_parameters=False,
        accelerate_config=None,
        checkpoint_minutes=study.train.checkpoint_minutes,
        keep_checkpoint=False,
        data_folder=str(data),
        search_folder=str(ROOT / "config"),
    )
