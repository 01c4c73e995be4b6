"""The code that an experiment runs, the user's and the trainer's own, checked before it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from flops_fit.errors import UserError
from flops_fit.files.reading import parse_json
from flops_fit.plan.files import read_costs, read_ids
from flops_fit.plan.job import Job
from flops_fit.plan.other_code import other_code, refuse_other_code, trained_code
from flops_fit.plan.planned_code import PlannedCode
from flops_fit.train.trainer_fingerprint import trainer_fingerprint
from flops_fit.user_code.importable import check_importable
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import (
    CodeInUse,
    code_in_use,
    file_fingerprints,
    targets_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCode:
    """What the record says about the code of a training."""

    source: dict[str, str | None]  # by part
    file_source: dict[str, str | None]  # in the manner of version 0.1
    imported: tuple[str, ...]
    alone: dict[str, str | None]  # the parts without the imported modules, and each of these
    packages: dict[str, str]
    trainer: str


def code_of(job: Job) -> UserCode:
    """Return the user's code that an experiment names."""
    return UserCode.of_spec(job.spec, job.search_folder, f"experiment {job.id}")


def code_at_start(job: Job) -> CodeInUse:
    """Import the targets and return their code, as it is now."""
    code = code_of(job)
    check_importable(code)
    return code_in_use(code, imported=())


def code_after_a_step(job: Job, at_start: CodeInUse) -> RunningCode:
    """Return the code of a training whose model was built and has run a step.

    Modules that were imported only then, by names which the code computes, are known now.

    Raises
    ------
    UserError
        If files were edited since the start: what was imported need not be what they say now.
    """
    code = code_of(job)
    again = code_in_use(code, imported=())
    for part, fingerprint in at_start.fingerprints.items():
        if again.fingerprints[part] != fingerprint:
            raise UserError(
                f"{job.title}: the code of {part} ({targets_of(code)[part]}) was edited while the "
                "experiment started; run snakemake again"
            )
    used = code_in_use(code)
    return RunningCode(
        source=used.fingerprints,
        file_source=file_fingerprints(code),
        imported=used.imported,
        alone=used.alone,
        packages=used.packages,
        trainer=trainer_fingerprint(),
    )


def refuse_to_mix(
    job: Job, running: RunningCode, study_folder: Path, accelerator: Accelerator
) -> None:
    """Check, before an experiment trains, that its code is that of the study's other runs.

    All processes call it together; the main one looks at the files.

    Raises
    ------
    UserError
        On every process, unless the study allows mixed code.
    """
    problem = None
    if accelerator.is_main_process:
        error = _problem(job, running, study_folder)
        problem = None if error is None else str(error)
    (problem,) = broadcast_object_list([problem])
    if problem is not None:
        raise UserError(problem)


def _problem(job: Job, running: RunningCode, study_folder: Path) -> UserError | None:
    allowed, excluded = _fit_settings(study_folder)
    specs = study_folder / "specs.json"
    if allowed or not specs.exists():
        return None
    code = code_of(job)

    @cache
    def present(imported: tuple[str, ...]) -> dict[str, str | None]:
        return code_in_use(code, imported=imported).fingerprints

    def now(imported: Sequence[str]) -> dict[str, str | None]:
        return running.source if tuple(imported) == running.imported else present(tuple(imported))

    trained = trained_code(study_folder, read_ids(specs), excluded)
    found = other_code(trained, now, running.file_source)
    if found is not None:
        return refuse_other_code(
            found,
            source=job.title,
            study_folder=study_folder,
            targets=targets_of(code),
            costs=read_costs(specs),
            trained=trained,
        )
    planned = PlannedCode.read(study_folder)
    if planned is not None and (changed := planned.changed(code)):
        return UserError(
            f"{job.title}: the code of {' and '.join(changed)} was edited since the study was "
            "planned, so that its FLOPs may be wrong; run snakemake again, which plans again first"
        )
    return None


def _fit_settings(study_folder: Path) -> tuple[bool, list[Any]]:
    """Return ``fit.allow_mixed_code`` and ``fit.exclude`` of the planned study."""
    try:
        settings = parse_json(study_folder / "planned_study.json")["config"]["fit"]
        return bool(settings["allow_mixed_code"]), list(settings["exclude"])
    except (OSError, ValueError, KeyError, TypeError):  # nothing else depends on this file
        return False, []
