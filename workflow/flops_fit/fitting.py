"""From a study and its runs.csv to fit.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from flops_fit.errors import UserError
from flops_fit.laws.fit import fit_runs
from flops_fit.runs import FINGERPRINT_COLUMNS, mixed_fingerprints
from flops_fit.study import Study


def fit_study(study: Study, runs_file: str | Path) -> dict[str, Any]:
    """Fit what the study asks for and return the content of ``fit.json``.

    Raises
    ------
    UserError
        If runs of different code or data stand side by side and ``fit.allow_mixed_code`` is false,
        or ``fit.exclude`` names no run.
    """
    text = dict.fromkeys(("id", "size", *FINGERPRINT_COLUMNS), str)
    runs = pd.read_csv(runs_file, dtype=text)
    unknown = sorted(set(study.fit.exclude) - set(runs["id"]))
    if unknown:
        raise UserError(
            f"{study.config_file}: fit.exclude: found {unknown[0]!r}, expected ids of {runs_file}"
        )
    used = runs[~runs["id"].isin(study.fit.exclude) & (runs["status"] == "completed")]
    fingerprints = used[["id", *FINGERPRINT_COLUMNS]].fillna("")
    mixed = mixed_fingerprints(fingerprints.to_dict("records"))
    described = "; ".join(_described(name, values) for name, values in mixed.items())
    if mixed and not study.fit.allow_mixed_code:
        raise UserError(
            f"{runs_file}: runs of different code or data stand side by side ({described}); raise "
            "the version of what changed in the configuration, which trains all of them anew, or "
            "set fit.allow_mixed_code: true"
        )
    fit = fit_runs(
        runs.to_dict("list"),
        study=study.name,
        params=study.fit.params,
        predict_budgets=study.predict_budgets,
        exclude=study.fit.exclude,
        approaches=study.fit.approaches,
    )
    if mixed:
        fit["warnings"].append(f"Runs of different code or data are fitted together: {described}.")
    return fit


def _described(name: str, values: dict[str, list[str]]) -> str:
    groups = ", ".join(
        f"{len(ids)} runs with {value or 'none'} such as {ids[0]}" for value, ids in values.items()
    )
    return f"{name.replace('_', ' ')}: {groups}"
