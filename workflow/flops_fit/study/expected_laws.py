"""The laws that a study names, checked before anything is planned."""

from __future__ import annotations

from flops_fit.design.law_names import LAW_NAMES
from flops_fit.errors import UserError
from flops_fit.study.study import Study


def check_laws(study: Study) -> Study:
    """Return the study if `plan.prior` and `plan.truth` are there.

    A study.json is not checked again: a finished study can be fitted without the files of another.

    Raises
    ------
    UserError
        If one is neither a number, nor a law, nor the path of a fit.json or of its folder.
    """
    for name in ("prior", "truth"):
        value = getattr(study.plan, name, None)
        if isinstance(value, str) and value not in LAW_NAMES:
            _check_file(study, f"plan.{name}", value)
    return study


def _check_file(study: Study, key: str, value: str) -> None:
    path = study.folder / value
    try:
        exists = path.is_file() or (path / "fit.json").is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise UserError(
            f"{study.config_file}: {key}: found {value[:200]!r}, expected a number of units per "
            f"parameter, the name of a law ({', '.join(LAW_NAMES)}), or the path of a fit.json; "
            f"there is no file {str(path)[:200]}"
        )
