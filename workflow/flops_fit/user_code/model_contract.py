"""The user's model: it takes its size parameter, and every size builds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.user_code.import_path import import_target, named_error
from flops_fit.user_code.references import UserCode

if TYPE_CHECKING:
    from torch import nn


class BuildError(Exception):
    """The model did not build at one size; the message is a sentence for the user."""


def check_arguments(model: Callable[..., Any], code: UserCode) -> None:
    """Check from its signature that the model takes its size parameter and its kwargs.

    Raises
    ------
    UserError
        If it does not take one of them, or if the size parameter is among the kwargs.
    """
    name, path = code.size_param, code.model.path
    try:
        parameters = inspect.signature(model).parameters
    except (TypeError, ValueError):  # some builtins have no signature; building will show
        return
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    unknown = [] if takes_any else sorted(set(code.model.kwargs) - set(parameters))
    if name not in parameters and not takes_any:
        raise UserError(
            f"{code.source}: model.size_param: {path!r} takes no argument {name!r}; expected "
            f"one of {', '.join(parameters) or 'nothing at all'}"
        )
    if unknown:
        raise UserError(
            f"{code.source}: model.kwargs: {path!r} takes no argument {unknown[0]!r}; "
            f"expected some of {', '.join(parameters)}"
        )
    if name in code.model.kwargs:
        raise UserError(
            f"{code.source}: model.kwargs: found the size parameter {name!r}, expected it in "
            "model.sizes alone"
        )


def model_factory(code: UserCode) -> Callable[[float], nn.Module]:
    """Return ``size -> module``, which raises a BuildError that names the size."""
    from torch import nn

    path, kwargs = code.model.path, code.model.kwargs
    target = import_target(path, code.folder, f"{code.source}: model.target")

    def build(size: float) -> nn.Module:
        call = f"{path}({code.size_param}={size})"
        try:
            model = target(**{code.size_param: size}, **kwargs)
        except Exception as error:
            raise BuildError(
                f"{code.source}: model: building {call} failed with {named_error(error)}; expected "
                "every one of model.sizes to build"
            ) from error
        if not isinstance(model, nn.Module):
            raise BuildError(
                f"{code.source}: model.target: {call} returned {type(model).__name__}, "
                "expected a torch.nn.Module"
            )
        if not any(True for _ in model.parameters()):
            raise BuildError(
                f"{code.source}: model.target: {call} has no parameters, expected a model "
                "that can be trained"
            )
        return model

    return build
