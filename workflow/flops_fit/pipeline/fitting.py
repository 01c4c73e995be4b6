"""Fits a study's runs, which gives the content of fit.json."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.laws.data.table import UnknownExclusionError, UnusableRunsError
from flops_fit.laws.designed_sweep import near_optimum_entry
from flops_fit.laws.evidence.units import NATS_PER_UNIT
from flops_fit.laws.fit import Progress, fit_runs
from flops_fit.laws.judgement.judgement import Judgement, add_judgements, judge
from flops_fit.laws.judgement.phrases import mixed_groups
from flops_fit.laws.without_law import too_few_for_laws, without_law
from flops_fit.pipeline.to_train import ids_of_rounds
from flops_fit.records.imported_table import (
    derived_columns,
    judge_unfinished,
    read_imported_runs,
    unfinished_runs,
)
from flops_fit.records.merged_runs import (
    RUNS_COLUMNS,
    MergedRun,
    mixed_circumstances,
    mixed_fingerprints,
    read_merged_runs,
)
from flops_fit.records.run_record import CurveRow, read_record
from flops_fit.study.study import RunsTable, Study


def fit_study(
    study: Study,
    runs_file: str | Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit a study's ``runs.csv`` as the study asks and return the content of ``fit.json``.

    Raises
    ------
    UserError
        As in :func:`fit_merged_runs`, and if ``runs.csv`` is damaged.
    """
    if study.runs_table is None:
        return fit_merged_runs(
            study, read_merged_runs(runs_file), runs_file, workers=workers, progress=progress
        )
    runs = read_imported_runs(runs_file)
    states = unfinished_runs(runs)
    finished = runs[~runs["id"].isin(states)]
    fit = _fit(
        study,
        finished.to_dict("list"),
        left_out=states,
        loss_unit=_loss_unit(study.runs_table),
        expected=runs_file,
        # The file to correct is the user's own, not the copy made from it.
        source=study.runs_table.path,
        workers=workers,
        progress=progress,
    )
    left_out = [
        {"id": id, "reason": f"not finished: {state} in the table"} for id, state in states.items()
    ]
    fit["excluded"] = sorted([*fit["excluded"], *left_out], key=lambda entry: entry["id"])
    add_judgements(fit, [*judge_unfinished(states, len(runs)), *derived_columns(finished)])
    return fit


def _loss_unit(table: RunsTable) -> str | None:
    """Return the unit of a table's losses; None if it is not stated, and can be doubted."""
    if table.loss_unit is None and table.unit != "token":
        return NATS_PER_UNIT  # what other units cost is not known
    return table.loss_unit


def fit_merged_runs(
    study: Study,
    runs: Sequence[MergedRun],
    runs_file: str | Path,
    *,
    records: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit runs as a study asks and return the content of ``fit.json``.

    Parameters
    ----------
    runs
        The rows of ``runs_file``.
    records
        Folder of the run records, for the training curves that approach 1 may use; by default
        ``runs/`` beside the table.

    Raises
    ------
    UserError
        If runs of different code or data are mixed and ``fit.allow_mixed_code`` is false,
        if ``fit.exclude`` names no run, or if the runs cannot be fitted.
    """
    judgements = [*_check_code(study, runs, runs_file), *circumstances(study, runs)]
    fit = _fit(
        study,
        {name: [getattr(run, name) for run in runs] for name in RUNS_COLUMNS},
        expected=runs_file,
        source=runs_file,
        left_out=ids_of_rounds(Path(runs_file).parent) - {run.id for run in runs},
        curves=read_curves(
            Path(records or Path(runs_file).parent / "runs"), (run.id for run in runs)
        ),
        workers=workers,
        progress=progress,
    )
    add_judgements(fit, judgements)
    return fit


def read_curves(folder: Path, ids: Iterable[str]) -> dict[str, Sequence[CurveRow]]:
    """Return the training curves of the records in a folder, by id, skipping missing files."""
    curves = {}
    for name in ids:
        try:
            curve = read_record(folder / f"{name}.json").curve
        except (OSError, UserError):
            continue
        if curve:
            curves[name] = curve
    return curves


def _fit(
    study: Study,
    columns: Mapping[str, Sequence[Any]],
    *,
    expected: str | Path,
    source: str | Path,
    curves: Mapping[str, Sequence[CurveRow]] | None = None,
    left_out: Collection[str] = (),
    loss_unit: str | None = NATS_PER_UNIT,
    workers: int | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Call `fit_runs` with the settings of a study; its errors name the user's files.

    Parameters
    ----------
    expected
        Where the known ids are found, for the error message.
    source
        The file to correct if runs cannot be used.
    left_out
        Ids of runs that are not among the rows, which the study may exclude all the same.
    """
    exclude = [name for name in study.fit.exclude if name not in left_out]
    with _naming(study, expected, source):
        # A sweep with too few runs is unfinished; single experiments may be all that was wanted.
        named = study.plan is not None and study.plan.experiments is not None
        if named and too_few_for_laws(columns, exclude):
            told = {"exclude": exclude, "ci": study.fit.ci, "loss_unit": loss_unit}
            return without_law(columns, study.name, study.fit.params, **told)
        fit = fit_runs(
            columns,
            study=study.name,
            params=study.fit.params,
            predict_budgets=study.predict_budgets,
            exclude=exclude,
            approaches=study.fit.approaches,
            bootstrap=study.fit.bootstrap,
            ci=study.fit.ci,
            seed=study.fit.seed,
            stratify=study.fit.stratify,
            holdout_budgets=study.fit.holdout_budgets,
            tie_exponents=study.fit.tie_exponents,
            E=study.fit.E,
            noise=study.fit.noise,
            curves=curves,
            schedule_decays=study.train is not None and study.train.schedule != "constant",
            loss_unit=loss_unit,
            workers=workers,
            progress=progress,
        )
        if study.plan is not None and study.plan.designed:
            fit["answer"]["near_optimum"] = near_optimum_entry(
                columns,
                [row["C"] for row in fit["answer"]["predictions"]],
                exclude=exclude,
                level=study.fit.ci,
            )
        return fit


@contextmanager
def _naming(study: Study, expected: str | Path, source: str | Path) -> Iterator[None]:
    """Name the user's files in errors about the runs, see `_fit`."""
    try:
        yield
    except UnknownExclusionError as error:
        raise UserError(
            f"{study.config_file}: fit.exclude: found {error.ids[0]!r}, expected ids of {expected}"
        ) from None
    except UnusableRunsError as error:
        raise UserError(f"{source}: {error}") from None


def circumstances(study: Study, runs: Sequence[MergedRun]) -> list[Judgement]:
    """Report runs of different or unknown trainers, of different torch or devices."""
    fitted = [run for run in runs if run.completed and run.id not in study.fit.exclude]
    mixed = mixed_circumstances(fitted)
    trainers = mixed.pop("trainer", None)
    unknown = [run.id for run in fitted if run.trainer is None]
    judgements = []
    if trainers:
        judgements.append(judge("mixed_trainer", trainers=trainers))
    if unknown:
        judgements.append(judge("unknown_trainer", ids=unknown, of=len(fitted)))
    if mixed:
        judgements.append(judge("mixed_environment", circumstances=mixed))
    return judgements


def _check_code(study: Study, runs: Sequence[MergedRun], runs_file: str | Path) -> list[Judgement]:
    """Refuse runs of different code or data, or report them if the study allows them."""
    excluded = set(study.fit.exclude)
    fitted = [run for run in runs if run.completed and run.id not in excluded]
    mixed = mixed_fingerprints(fitted)
    if not mixed:
        return []
    if not study.fit.allow_mixed_code:
        folder = Path(runs_file).parent
        raise UserError(
            f"{runs_file}: runs of different code or data are mixed ({mixed_groups(mixed)}); raise "
            "the version of what changed in the configuration, which trains all of them again "
            f"({len(fitted)} runs, {sum(run.C for run in fitted):.3g} FLOPs), or delete those with "
            f"the other code ({folder}/runs/<id>.json and {folder}/state/<id>), which trains them "
            "alone again, or set fit.allow_mixed_code: true"
        )
    return [judge("mixed_code", fingerprints=mixed)]
