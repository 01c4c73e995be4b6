"""The learning rates that the zoo's GPT in muP needs."""

from __future__ import annotations

from typing import Any

from flops_fit.study.train_settings import LrScaling, TrainSettings

MUP_GPT = "flops_fit.zoo.mup:GPT"


def misfit_of_mup(model: Any, train: TrainSettings) -> tuple[tuple[str, ...], str] | None:
    """Return place and sentence if a study's GPT in muP gets other learning rates than muP's.

    A user's own optimizer makes its own groups, and is trusted.

    Parameters
    ----------
    model
        The settings of the model: target, size_param and kwargs.
    """
    kwargs, base = model.kwargs, model.kwargs.get("base_width")
    in_mup = kwargs.get("parametrization", "mup") == "mup" and isinstance(base, int)
    if model.target != MUP_GPT or not in_mup or base < 1 or train.optimizer != "adamw":
        return None
    if model.size_param != "d_model":
        text = f"found {model.size_param!r}, expected d_model: muP is about widths"
        return ("model", "size_param"), text
    expected = LrScaling(power=-1, reference_size=base, apply="matrices")
    if train.lr_scaling != expected:
        return ("train", "lr_scaling"), (
            f"found {_written(train.lr_scaling)}, expected {_written(expected)}: in muP the "
            "learning rates of matrices fall as base_width / d_model"
        )
    return None


def _written(scaling: LrScaling) -> str:
    return (
        f"{{power: {scaling.power:g}, reference_size: {scaling.reference_size:g}, "
        f"apply: {scaling.apply}}}"
    )
