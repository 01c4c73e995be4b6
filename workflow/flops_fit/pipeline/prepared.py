"""Where a study reads what was measured on its dataset. Imports no torch.

Studies share a prepared dataset, ``results/data/<fingerprint>/``. What a run of Snakemake declares
as an output is locked against all other runs until it ends, so no run declares the ``meta.json`` in
there. A study that finds it there at its start reads it as it is. One that does not declares a copy
of its own, and prepares the dataset, or waits for the study that does, to make it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.plan.files import PLAN_FILE, read_plan, study_folder_of
from flops_fit.user_code.dataset_meta import DatasetMeta

_UNDECLARED = (PLAN_FILE, "specs.json", "plan.log")


def copy_of_meta(data_folder: str | Path, study_folder: str | Path) -> str:
    """Return the path of a study's own copy of its dataset's ``meta.json``.

    It has the fingerprint in its name: a configuration that is edited while its study runs must not
    touch the copy that the running study reads.
    """
    return str(Path(study_folder) / "data" / f"{Path(data_folder).name}.json")


def measured_dataset(data_folder: str | Path, study_folder: str | Path, *, main: bool) -> str:
    """Return the path from which a study reads the measurements of its dataset.

    Snakemake reads the rules again for every job that it runs elsewhere, and has to find the same
    path there. It does: a copy that the main process chose is made before any such job starts.

    Parameters
    ----------
    main
        Whether this is the Snakemake that the user started. It alone moves a damaged ``meta.json``
        aside, and removes a copy of what is no longer so: ``meta.json`` was deleted, or the dataset
        was prepared again with other content.

    Raises
    ------
    UserError
        If the files cannot be accessed.
    """
    meta, copy = Path(data_folder) / "meta.json", Path(copy_of_meta(data_folder, study_folder))
    try:
        if main:
            measured = is_measured(meta)
            if copy.exists() and not (measured and copy.read_bytes() == meta.read_bytes()):
                copy.unlink()
        return str(meta if meta.exists() and not copy.exists() else copy)
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be accessed ({error.strerror}); expected a prepared dataset "
            "that this user may read"
        ) from None


def is_measured(meta: Path) -> bool:
    """Return whether a ``meta.json`` is there and whole; a damaged one is named and moved aside."""
    try:
        DatasetMeta.load(meta)
    except FileNotFoundError:
        return False
    except UserError as error:
        print(error, file=sys.stderr)
        return False
    return True


def planned_files(plan: str | Path, measured: str, *, main: bool) -> list[str]:
    """Return the files of a plan that a study asks for by name.

    Both parts of a grid's plan, so that a damaged one that was moved aside is planned again; and
    the measurements of the dataset if they are gone while experiments are left to train, since the
    train rule asks for none. A finished study does without its dataset.

    Parameters
    ----------
    plan
        The file that the plan is known by (`flops_fit.plan.files.study_folder_of`).
    measured
        From :func:`measured_dataset`.
    main
        Whether this is the Snakemake that the user started. It alone has the first round of a
        design planned again where the files of the plan are gone, which no rule declares.
    """
    folder = study_folder_of(plan)
    files = [str(plan)]
    if Path(plan).name == PLAN_FILE:
        files.append(f"{folder}/specs.json")
    elif main and not all((folder / name).exists() for name in _UNDECLARED):
        Path(plan).unlink(missing_ok=True)
    if not Path(measured).exists() and _is_unfinished(folder):
        files.append(measured)
    return files


def _is_unfinished(study_folder: Path) -> bool:
    """Return whether there is a plan of experiments some of which have no record."""
    try:
        planned = read_plan(study_folder / "plan.csv")
    except (OSError, UserError):
        return False
    return not all((study_folder / "runs" / f"{row.id}.json").exists() for row in planned)
