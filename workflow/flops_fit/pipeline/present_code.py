"""Compares the user's code with that of the plan and of its runs, before Snakemake starts anything.

Imports no torch, and none of the user's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.files.reading import DamagedFileError, parse_json
from flops_fit.files.writing import write_json
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import read_plan
from flops_fit.plan.other_code import other_code, refuse_other_code, trained_code
from flops_fit.plan.planned_code import PlannedCode
from flops_fit.records.experiment_files import run_file
from flops_fit.study.study import Study
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import code_in_use, targets_of

_checked: set[tuple[str, int | None]] = set()  # studies, and when their plans were written


def check_present_code(study: Study, study_folder: str | Path, planned_at: int | None) -> None:
    """Check that what is about to be trained would be of the same code as what is trained.

    It does so once for each plan: the trainer looks again. Records of version 0.1 are left to it,
    too, as it can compare with them.

    Parameters
    ----------
    planned_at
        When the plan was written.

    Raises
    ------
    UserError
        If not, unless the study allows mixed code.
    """
    if study.fit.allow_mixed_code or (study.name, planned_at) in _checked:
        return
    refusal = refusal_to_train(study, read_plan(Path(study_folder) / "plan.csv"), study_folder)
    if refusal is not None:
        raise refusal
    _checked.add((study.name, planned_at))


def refusal_of_code(
    study: Study, planned: Sequence[PlannedExperiment], study_folder: str | Path
) -> UserError | None:
    """Return why `check_present_code` would refuse to train a plan, or None."""
    return None if study.fit.allow_mixed_code else refusal_to_train(study, planned, study_folder)


def refusal_to_train(
    study: Study, planned: Sequence[PlannedExperiment], study_folder: str | Path
) -> UserError | None:
    """Return why the experiments that are left cannot be trained with the present code, or None."""
    costs = {experiment.id: experiment.C for experiment in planned}
    trained = trained_code(study_folder, costs, study.fit.exclude)
    if not trained:
        return None
    code = UserCode.of_study(study)
    known = stored.files if (stored := PlannedCode.read(study_folder)) else {}

    @cache
    def present(imported: tuple[str, ...]) -> dict[str, str | None]:
        return code_in_use(code, imported=imported, known=known).fingerprints

    found = other_code(trained, lambda imported: present(tuple(imported)))
    if found is None:
        return None
    return refuse_other_code(
        found,
        source=study.config_file,
        study_folder=study_folder,
        targets=targets_of(code),
        costs=costs,
        trained=trained,
    )


def note_edited_code(study: Study, study_folder: str | Path, *, write: bool) -> list[str]:
    """Return the files, none or one, whose change makes the plan run again: ``edited_code.json``.

    It is written when the user's code is not that of the plan any more while experiments are left
    to train, since the FLOPs of the plan were measured with the other code. If the code is not that
    of the runs either, it is not: their training is refused, and an undone edit changes nothing.

    Parameters
    ----------
    write
        Whether this process may write it: the main one, before it starts anything.
    """
    file = Path(study_folder) / "edited_code.json"
    planned = PlannedCode.read(study_folder) if write else None
    experiments = _unfinished_plan(file.parent) if planned is not None else []
    if planned is not None and experiments:
        now = planned.now(UserCode.of_study(study))
        edited = now not in (planned.fingerprints, _content(file))
        if edited and refusal_of_code(study, experiments, study_folder) is None:
            write_json(file, now)
    return [str(file)] if file.exists() else []


def _unfinished_plan(study_folder: Path) -> list[PlannedExperiment]:
    """Return the experiments of the plan; none if all of them have records."""
    try:
        planned = read_plan(study_folder / "plan.csv")
    except (UserError, OSError):
        return []
    finished = all(run_file(study_folder, experiment.id).exists() for experiment in planned)
    return [] if finished else planned


def _content(file: Path) -> object:
    try:
        return parse_json(file)
    except (OSError, DamagedFileError):
        return None
