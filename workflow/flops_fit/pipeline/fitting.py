"""From a study and its runs.csv to fit.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from flops_fit.errors import UserError
from flops_fit.files.reading import read_csv_rows
from flops_fit.laws.data.table import UnusableRunsError
from flops_fit.laws.evidence.judgement import Judgement, add_judgements, judge
from flops_fit.laws.evidence.phrases import mixed_groups
from flops_fit.laws.fit import Progress, fit_runs
from flops_fit.records.imported_table import derived_columns
from flops_fit.records.merged_runs import (
    FINGERPRINT_COLUMNS,
    RUNS_COLUMNS,
    check_merged_rows,
    mixed_fingerprints,
)
from flops_fit.study.study import Study


def fit_study(
    study: Study,
    runs_file: str | Path,
    *,
    records: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit what the study asks for and return the content of ``fit.json``.

    Parameters
    ----------
    records
        Folder of the run records, for the training curves that approach 1 may use; by default
        ``runs/`` beside the table.

    Raises
    ------
    UserError
        If runs of different code or data stand side by side and ``fit.allow_mixed_code`` is false,
        or ``fit.exclude`` names no run.
    """
    runs = _read(runs_file, imported=study.runs_table is not None)
    unknown = sorted(set(study.fit.exclude) - set(runs["id"]))
    if unknown:
        raise UserError(
            f"{study.config_file}: fit.exclude: found {unknown[0]!r}, expected ids of {runs_file}"
        )
    judgements = derived_columns(runs) + _check_code(study, runs, runs_file)
    decays = study.train is not None and study.train.schedule != "constant"
    curves = None
    if study.runs_table is None:
        curves = read_curves(Path(records or Path(runs_file).parent / "runs"), runs["id"])
    try:
        fit = fit_runs(
            runs.to_dict("list"),
            study=study.name,
            params=study.fit.params,
            predict_budgets=study.predict_budgets,
            exclude=study.fit.exclude,
            approaches=study.fit.approaches,
            bootstrap=study.fit.bootstrap,
            ci=study.fit.ci,
            seed=study.fit.seed,
            stratify=study.fit.stratify,
            holdout_budgets=study.fit.holdout_budgets,
            tie_exponents=study.fit.tie_exponents,
            curves=curves,
            schedule_decays=decays,
            workers=workers,
            progress=progress,
        )
    except UnusableRunsError as error:
        # The file to correct is the user's own, not what was read from it
        source = runs_file if study.runs_table is None else study.runs_table.path
        raise UserError(f"{source}: {error}") from None
    add_judgements(fit, judgements)
    return fit


def read_curves(folder: Path, ids: Iterable[str]) -> dict[str, list[list[float]]]:
    """Return the training curves of the records in a folder, by id; without those that are gone."""
    curves = {}
    for name in ids:
        try:
            record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("curve"):
            curves[name] = record["curve"]
    return curves


def _read(runs_file: str | Path, *, imported: bool) -> pd.DataFrame:
    """Return the table of runs; an imported one has fewer columns than ours."""
    text = dict.fromkeys(("id", "size", "derived", *FINGERPRINT_COLUMNS), str)
    rows = read_csv_rows(runs_file, ("N", "loss") if imported else RUNS_COLUMNS)
    if not imported:
        check_merged_rows(runs_file, rows)
    runs = pd.read_csv(runs_file, dtype=text)
    if "size" in runs and runs["size"].isna().all():
        runs = runs.drop(columns="size")
    return runs


def _check_code(study: Study, runs: pd.DataFrame, runs_file: str | Path) -> list[Judgement]:
    """Refuse runs of different code or data, or judge them where the study allows them."""
    if study.runs_table is not None:
        return []
    used = runs[~runs["id"].isin(study.fit.exclude) & (runs["status"] == "completed")]
    fingerprints = used[["id", *FINGERPRINT_COLUMNS]].fillna("")
    mixed = mixed_fingerprints(fingerprints.to_dict("records"))
    if not mixed:
        return []
    if not study.fit.allow_mixed_code:
        described = mixed_groups(mixed)
        raise UserError(
            f"{runs_file}: runs of different code or data stand side by side ({described}); raise "
            "the version of what changed in the configuration, which trains all of them anew, or "
            "set fit.allow_mixed_code: true"
        )
    return [judge("mixed_code", fingerprints=mixed)]
