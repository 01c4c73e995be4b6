"""What the rounds of a design have to have trained, for Snakemake to read. Imports no torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.files.reading import DamagedFileError, parse_json
from flops_fit.files.rows import read_rows
from flops_fit.plan.decision import ChosenExperiment, decided_rounds, read_decision
from flops_fit.plan.files import DESIGN_FOLDER
from flops_fit.records.experiment_files import run_file
from flops_fit.study.study import Study


def runs_to_have(table: str, study: Study, study_folder: str) -> tuple[list[str], bool]:
    """Return the records of a round, and whether it is the last one.

    An experiment that the study excludes and that was never trained needs none.

    Parameters
    ----------
    table
        ``rounds/<round>.csv``; without rows it ends the design.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    rows = read_rows(table, ChosenExperiment, exact=True)
    runs = [
        f"{study_folder}/runs/{row.id}.json"
        for row in rows
        if not needs_no_record(row.id, study, Path(study_folder))
    ]
    return runs, not rows


def needs_no_record(run_id: str, study: Study, study_folder: Path) -> bool:
    """Say whether an experiment is left out of the plan: it is excluded, and was never trained."""
    return run_id in study.fit.exclude and not run_file(study_folder, run_id).exists()


def ids_of_rounds(study_folder: str | Path) -> set[str]:
    """Return the ids of all experiments that the rounds in a folder chose, trained or not."""
    folder, ids = Path(study_folder) / DESIGN_FOLDER, set()
    for number in decided_rounds(folder):
        with suppress(UserError):
            decision = read_decision(folder, number)
            ids |= {row.id for row in decision.rows} if decision else set()
    return ids


def rounds_to_come(study_folder: str | Path) -> bool:
    """Say whether the folder holds a design that has not come to its end."""
    folder = Path(study_folder) / DESIGN_FOLDER
    numbers = decided_rounds(folder)
    if not numbers or not _is_design(Path(study_folder) / "planned_study.json"):
        return False
    try:
        decisions = [read_decision(folder, number) for number in numbers]
    except UserError:
        return True
    return not any(decision is not None and decision.done for decision in decisions)


def _is_design(study_file: Path) -> bool:
    """Say whether the study that was planned is one; the folder may hold earlier rounds."""
    try:
        return parse_json(study_file)["config"]["plan"].get("target") is not None
    except (OSError, DamagedFileError, KeyError, TypeError, AttributeError):
        return False
