"""The files of a recommended training: a study for this workflow, and JSON for other trainers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import yaml

from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.laws.reading import Reading
from flops_fit.laws.readouts.summary import Estimate
from flops_fit.pipeline.recommending import Recommended, Results
from flops_fit.study.study import Study

_SECTIONS = ("model", "dataset", "loss", "train")


def write_files(found: Recommended, results: Results, output: Path | None) -> tuple[Path, Path]:
    """Write ``<study>_final.yaml`` and ``.json`` and return their paths.

    Parameters
    ----------
    output
        Their folder; None takes that of the study's configuration, where its modules are found.

    Raises
    ------
    UserError
        If modules of the study would not be found from there, or the files cannot be written.
    """
    study = found.study
    folder = study.folder if output is None else output
    _check_modules(study, folder)
    name = f"{study.name}_final"
    paths = folder / f"{name}.yaml", folder / f"{name}.json"
    config = _configuration(found, name, folder)
    Study.from_config(config, paths[0])  # what cannot be read is a defect that ends here
    head = (
        f"# What flops-fit recommends at {found.optimum['C'].value:g} FLOPs, by "
        f"{results.source}.\n"
        f"#   snakemake --cores all --configfile {paths[0]}\n"
    )
    try:
        write_whole(paths[0], head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        write_json(paths[1], _content(found, results))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written ({error.strerror})") from None
    return paths


def write_optimum(optimum: Reading, results: Results, output: Path | None) -> Path:
    """Write what is known of a study that brought its runs along: the optimum alone."""
    folder = results.folder if output is None else output
    path = folder / f"{results.fit['study']}_final.json"
    try:
        write_json(path, _answer(optimum, results))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written ({error.strerror})") from None
    return path


def _configuration(found: Recommended, name: str, folder: Path) -> dict[str, Any]:
    """Return a study of one experiment, whose recipe is stated in numbers."""
    study, row = found.study, found.row
    config = {"study": name} | {key: study.config[key] for key in _SECTIONS}
    train = dict(config["train"]) | {"batch": row.batch, "lr": row.lr, "keep_checkpoint": True}
    if study.accelerate_config is not None:
        train["accelerate_config"] = os.path.relpath(study.accelerate_config, folder)
    config["train"] = train
    config["plan"] = {
        "experiments": [{"size": row.size, "D": row.D, "seed": row.seed}],
        "flops": study.config["plan"]["flops"],
        "max_epochs": study.config["plan"]["max_epochs"],
    }
    config["fit"] = {"params": study.fit.params}
    return config


def _check_modules(study: Study, folder: Path) -> None:
    """Refuse a folder from which modules beside the study's configuration are not found."""
    if os.path.realpath(folder) == os.path.realpath(study.folder):
        return
    targets = (study.model.target, study.dataset, study.loss, study.optimizer)
    for target in targets:
        module = target.path.partition(":")[0].partition(".")[0]
        for place in (study.folder / module, study.folder / f"{module}.py"):
            if place.exists():
                raise UserError(
                    f"--output {folder}: found a folder other than {study.folder}, which holds "
                    f"{place.name} beside {Path(study.config_file).name}, expected that one (or no "
                    "--output): the module would not be found"
                )


def _answer(optimum: Reading, results: Results) -> dict[str, Any]:
    laws = results.laws
    return {
        "study": results.fit["study"],
        "recommended_by": results.source,
        "said_by": laws.said_by,
        "interval": laws.level,
        "params": results.fit["params"],
        "loss_unit": results.fit.get("loss_unit"),
        "measured_budgets": list(laws.budgets),
        **{name: _estimate(optimum[name]) for name in ("C", "N_opt", "D_opt", "D_per_N", "L_opt")},
    }


def _content(found: Recommended, results: Results) -> dict[str, Any]:
    row, spec = found.row, found.spec
    recipe = dataclasses.asdict(spec)
    hours = found.hours
    return {
        **_answer(found.optimum, results),
        "extrapolated": found.extrapolated,
        "training": {
            "id": row.id,
            "size_param": found.study.model.size_param,
            "unit": found.unit,
            **dataclasses.asdict(row),
            "recipe": {key: value for key, value in recipe.items() if value is not None},
        },
        "off_optimum": None
        if found.price is None
        else {name: _estimate(found.price[name]) for name in ("factor", "extra", "L")},
        "hours": None if hours is None else hours.seconds / 3600,
        "hours_by": None if hours is None else hours.source,
        "notes": list(found.notes),
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    interval = None if estimate.interval is None else list(estimate.interval)
    return {"value": estimate.value, "interval": interval}
