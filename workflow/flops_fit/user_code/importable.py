"""Checks of the user's code that need no prepared dataset."""

from __future__ import annotations

from flops_fit.user_code.import_path import import_target
from flops_fit.user_code.model_contract import check_arguments
from flops_fit.user_code.references import UserCode


def check_importable(code: UserCode) -> None:
    """Check everything that can be checked before the dataset is prepared.

    Raises
    ------
    UserError
        If a target is missing, or the model does not take its size parameter.
    """
    folder, source = code.folder, code.source
    model = import_target(code.model.path, folder, f"{source}: model.target")
    check_arguments(model, code)
    import_target(code.dataset.path, folder, f"{source}: dataset.target")
    import_target(code.loss, folder, f"{source}: loss")
    if code.optimizer != "adamw":
        import_target(code.optimizer, folder, f"{source}: train.optimizer")
