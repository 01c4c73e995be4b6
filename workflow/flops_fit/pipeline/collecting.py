"""Merges the records of a study's experiments into ``runs.csv``. Imports no torch."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.records.experiment_files import run_file
from flops_fit.records.merged_runs import MergedRun, listed
from flops_fit.records.run_record import (
    CODE_PARTS,
    DamagedRecordError,
    Provenance,
    RunRecord,
    read_record,
    use_stored_record,
)
from flops_fit.study.identity import is_present_method


def collect_runs(
    planned: Sequence[PlannedExperiment],
    study_folder: str | Path,
    params: str,
    study: str | None = None,
) -> list[MergedRun]:
    """Merge the records of the planned experiments, in the plan's order.

    Records without a checksum, whose edits would go unnoticed, are named on standard error.

    Parameters
    ----------
    planned
        The experiments of ``plan.csv``.
    study_folder
        ``results/<study>``; files of ``runs/`` that the plan does not name are not read.
    params
        Which count is N: ``total`` or ``non_embedding``.
    study
        Name of the study that the records must belong to; None accepts any.

    Raises
    ------
    UserError
        If a file is missing or not a valid record of its experiment, or an id occurs twice.
    """
    records: list[tuple[PlannedExperiment, RunRecord]] = []
    seen: set[str] = set()
    for experiment in planned:
        if experiment.id in seen:
            raise UserError(
                f"plan.csv: the id {experiment.id} occurs twice, expected one row per id"
            )
        seen.add(experiment.id)
        record = _read_or_restore(study_folder, experiment.id)
        check_as_planned(record, experiment, study, str(run_file(study_folder, experiment.id)))
        records.append((experiment, record))
    check_schedules([record for _, record in records], study_folder)
    unchecked = [record.id for _, record in records if record.checksum is None]
    if unchecked:
        print(
            f"{Path(study_folder) / 'runs'}: records without a checksum, so nothing shows "
            f"whether they were edited: {listed(unchecked)}",
            file=sys.stderr,
        )
    sources = comparable_sources([record.provenance for _, record in records])
    return [
        _merged(experiment, record, params, source)
        for (experiment, record), source in zip(records, sources, strict=True)
    ]


def check_schedules(records: Sequence[RunRecord], study_folder: str | Path) -> None:
    """Refuse to merge runs whose learning rates took different courses.

    Raises
    ------
    UserError
        Their losses differ by more than N and D say.
    """
    first: dict[tuple[Any, ...], str] = {}
    for record in records:
        spec = record.spec
        course = (spec.schedule, spec.decay_fraction, spec.decay_shape, spec.final_lr_fraction)
        first.setdefault(course, record.id)
    if len(first) > 1:
        (one, one_id), (other, other_id) = list(first.items())[:2]
        raise UserError(
            f"{Path(study_folder) / 'runs'}: found {_course(one)} ({one_id}) and {_course(other)} "
            f"({other_id}), expected runs of one schedule: they end at different losses for the "
            "same N and D; leave one kind out of the plan"
        )


def _course(course: tuple[Any, ...]) -> str:
    schedule, decay_fraction, decay_shape, final = course
    decay = "" if decay_fraction is None else f", decay {decay_fraction:g} {decay_shape}"
    return f"schedule {schedule} to {final:g}{decay}"


def comparable_sources(provenances: Sequence[Provenance]) -> list[dict[str, str | None]]:
    """Return the source fingerprints of runs, all made by the same method.

    That is the one of version 0.1 as long as one of the runs has no other. Where runs imported
    different modules by computed names (those of another size, say), only the code that they have
    in common can differ.
    """
    present = [is_present_method(one.source.values()) for one in provenances]
    if all(present):
        if len({tuple(one.imported) for one in provenances}) < 2:
            return [one.source for one in provenances]
        return _apart_from_imported(provenances)
    return [
        one.file_source if is_present else one.source
        for one, is_present in zip(provenances, present, strict=True)
    ]


def _apart_from_imported(provenances: Sequence[Provenance]) -> list[dict[str, str | None]]:
    """Return the fingerprints without imported modules, but for those that changed in between."""
    versions: dict[str, set[str | None]] = {}
    for one in provenances:
        for name in one.imported:
            versions.setdefault(name, set()).add(one.alone.get(f"module {name}"))
    changed = {name for name, found in versions.items() if len(found) > 1}
    sources = []
    for one in provenances:
        if one.imported and changed.intersection(one.imported):
            sources.append(one.source)
        else:
            sources.append(
                {part: one.alone.get(part, source) for part, source in one.source.items()}
            )
    return sources


def read_planned_record(
    experiment: PlannedExperiment, study_folder: str | Path, study: str | None = None
) -> RunRecord:
    """Return the record of a planned experiment, checked.

    Parameters
    ----------
    study
        Its name; None where that of the record does not matter.

    Raises
    ------
    FileNotFoundError
        If there is none.
    UserError
        If it is damaged, or not what was planned.
    """
    path = run_file(study_folder, experiment.id)
    record = read_record(path, experiment.id)
    check_as_planned(record, experiment, study, str(path))
    return record


def check_as_planned(
    record: RunRecord, experiment: PlannedExperiment, study: str | None, source: str
) -> None:
    """Raise a UserError unless a checked record belongs to a planned experiment.

    Parameters
    ----------
    study
        Its name; None where that of the record does not matter.
    source
        The record's file, for the error message.
    """
    advice = "delete it, and a rerun trains this experiment again"
    expected: dict[str, Any] = {
        "n_params": experiment.n_params,
        "n_params_non_embedding": experiment.n_params_non_embedding,
        "steps": record.D / experiment.batch,
    }
    if study is not None:
        expected["study"] = study
    if record.completed:
        expected["D"] = experiment.D
    C = experiment.flops_per_unit * record.D
    if not math.isclose(record.C, C, rel_tol=1e-9):
        expected["C"] = C
    for name, value in expected.items():
        found = getattr(record, name)
        if found != value:
            raise UserError(
                f"{source}: {name}: found {found!r:.80}, expected {value!r} as planned; {advice}"
            )
    if record.steps > experiment.steps:
        raise UserError(
            f"{source}: steps: found {record.steps}, expected at most the {experiment.steps} that "
            f"were planned; {advice}"
        )


def _read_or_restore(study_folder: str | Path, run_id: str) -> RunRecord:
    """Return a record, restored from its stored copy if its file is damaged.

    Without a stored copy, the damaged file is moved aside; a rerun finds it missing and trains the
    experiment again.
    """
    path = run_file(study_folder, run_id)
    try:
        return read_record(path, run_id)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; run snakemake again to train it") from None
    except DamagedRecordError as error:
        if use_stored_record(study_folder, run_id):
            print(f"{path}: {error.reason}; it was rewritten from its stored copy", file=sys.stderr)
            return read_record(path, run_id)
        raise make_room(path, error.reason, "trains this experiment again") from None


def _merged(
    experiment: PlannedExperiment,
    record: RunRecord,
    params: str,
    source: Mapping[str, str | None],
) -> MergedRun:
    provenance = record.provenance
    return MergedRun(
        id=record.id,
        status=record.status,
        budget=experiment.budget,
        size=experiment.size,
        seed=experiment.seed,
        lr=experiment.lr,
        N=record.n_params if params == "total" else record.n_params_non_embedding,
        D=record.D,
        C=record.C,
        loss=record.loss,
        loss_std_err=record.loss_std_err,
        n_params=record.n_params,
        n_params_non_embedding=record.n_params_non_embedding,
        C_6nd=record.C_6nd,
        flops_per_unit=record.C / record.D if record.D else None,
        steps=record.steps,
        batch=experiment.batch,
        units_per_param=record.D / record.n_params_non_embedding,
        # The plan's epochs per unit, times the units actually trained on.
        epochs=experiment.epochs * record.D / experiment.D,
        **{f"{part}_source": source.get(part) for part in CODE_PARTS},
        dataset_content=provenance.content_fingerprint,
        trainer=_text(provenance.trainer),
        torch=_text(provenance.torch),
        device=_text(record.world.device),
        # Whether it branched off or trained its beginning itself: the noise is shared.
        trunk=record.spec.trunk,
    )


def _text(value: Any) -> str | None:
    """Return information of a record, which nothing has checked, if it is text."""
    return value if isinstance(value, str) and value else None
