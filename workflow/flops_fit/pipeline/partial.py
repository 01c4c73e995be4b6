"""What a study says before it is finished: ``results/<study>/partial/``."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from flops_fit.files.writing import write_json, write_whole
from flops_fit.laws.evidence.judgement import add_judgements, judge
from flops_fit.laws.fit import Progress
from flops_fit.pipeline.fitting import fit_study
from flops_fit.pipeline.status import headline, missing_text, study_outcomes
from flops_fit.records.merged_runs import collect_runs, runs_csv
from flops_fit.report.write import write_report
from flops_fit.study.study import Study


def fit_partial(
    study: Study,
    plan_rows: Sequence[Mapping[str, str]],
    study_folder: str | Path,
    unit: str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Merge, fit and report the finished experiments; return the folder.

    It holds ``runs.csv``, ``fit.json``, ``table.csv``, ``table.md``, ``figures/`` and
    ``missing.txt``, which names each experiment without a record, with the last lines of its log.
    What an earlier call wrote is removed first, so that no old number passes for a new one.

    Parameters
    ----------
    plan_rows
        Rows of ``plan.csv``.
    study_folder
        ``results/<study>``.
    unit
        What D counts, in the singular.

    Raises
    ------
    UserError
        If the finished experiments are too few to fit; ``missing.txt`` is written all the same.
    """
    study_folder = Path(study_folder)
    folder = study_folder / "partial"
    shutil.rmtree(folder, ignore_errors=True)
    outcomes = study_outcomes(plan_rows, study_folder, study.name)
    write_whole(folder / "missing.txt", missing_text(outcomes))
    finished = {outcome.id for outcome in outcomes if outcome.finished}
    finished_rows = [row for row in plan_rows if row["id"] in finished]
    rows = collect_runs(finished_rows, study_folder, study.fit.params, study.name)
    write_whole(folder / "runs.csv", runs_csv(rows))
    excluded = tuple(run_id for run_id in study.fit.exclude if run_id in finished)
    so_far = dataclasses.replace(study, fit=study.fit.model_copy(update={"exclude": excluded}))
    fit = fit_study(
        so_far,
        folder / "runs.csv",
        records=study_folder / "runs",
        workers=workers,
        progress=progress,
    )
    if len(finished) < len(outcomes):
        add_judgements(fit, [judge("unfinished_study", counts=headline(outcomes))], first=True)
    write_json(folder / "fit.json", fit)
    runs = pd.read_csv(folder / "runs.csv", dtype={"id": str})
    write_report(fit, runs, folder, unit)
    return folder
