"""Results of a study before it is finished: ``results/<study>/partial/``."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from flops_fit.files.rows import csv_text
from flops_fit.files.writing import write_json, write_whole
from flops_fit.laws.fit import Progress
from flops_fit.laws.judgement.judgement import add_judgements, judge
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.pipeline.fitting import fit_merged_runs
from flops_fit.pipeline.status import headline, missing_text, study_outcomes
from flops_fit.pipeline.to_train import rounds_to_come
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.records.merged_runs import MergedRun
from flops_fit.report.write import write_report
from flops_fit.study.study import Study


def fit_partial(
    study: Study,
    planned: Sequence[PlannedExperiment],
    study_folder: str | Path,
    unit: str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Merge, fit and report the finished experiments; return the folder.

    It holds ``runs.csv``, ``fit.json``, ``table.csv``, ``table.md``, ``figures/`` and
    ``missing.txt``, which names each experiment without a record, with the last lines of its log.
    The files of an earlier call are removed first, so that no old number passes for a new one.

    Parameters
    ----------
    planned
        The experiments of ``plan.csv``.
    study_folder
        ``results/<study>``.
    unit
        What D counts, in the singular.

    Raises
    ------
    UserError
        If the finished experiments are too few to fit; ``missing.txt`` is written anyway.
    """
    study_folder = Path(study_folder)
    folder = study_folder / "partial"
    shutil.rmtree(folder, ignore_errors=True)
    outcomes = study_outcomes(planned, study_folder, study.name)
    write_whole(folder / "missing.txt", missing_text(outcomes))
    finished = {outcome.id for outcome in outcomes if outcome.finished}
    trained = [experiment for experiment in planned if experiment.id in finished]
    runs = collect_runs(trained, study_folder, study.fit.params, study.name)
    write_whole(folder / "runs.csv", csv_text(MergedRun, runs))
    excluded = tuple(run_id for run_id in study.fit.exclude if run_id in finished)
    so_far = dataclasses.replace(study, fit=study.fit.model_copy(update={"exclude": excluded}))
    fit = fit_merged_runs(
        so_far,
        runs,
        folder / "runs.csv",
        records=study_folder / "runs",
        workers=workers,
        progress=progress,
    )
    to_come = ", and rounds to come" if rounds_to_come(study_folder) else ""
    if len(finished) < len(outcomes) or to_come:
        counts = f"{headline(outcomes)}{to_come}"
        add_judgements(fit, [judge("unfinished_study", counts=counts)], first=True)
    write_json(folder / "fit.json", fit)
    table = pd.DataFrame([dataclasses.asdict(run) for run in runs])
    write_report(fit, table, folder, unit)
    return folder
