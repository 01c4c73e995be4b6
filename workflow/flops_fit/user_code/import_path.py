"""Import paths `package.module:name`, and the errors of importing them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from flops_fit.errors import UserError

_SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def import_target(path: str, folder: str | Path, key: str) -> Any:
    """Return the callable at ``package.module:name``.

    Parameters
    ----------
    path
        Import path; modules are searched in the environment and then in ``folder``.
    folder
        Folder of the configuration file.
    key
        The configuration key that errors name, for example ``model.target``.

    Raises
    ------
    UserError
        If the module is not found or fails at import, if it has no such attribute, or if the
        attribute cannot be called.
    """
    module_name, _, attribute = path.partition(":")
    module = found = _import_module(module_name, str(Path(folder).resolve()), key, path)
    for name in attribute.split("."):
        if not hasattr(found, name):
            file = getattr(module, "__file__", "built in")
            public = ", ".join(_public_names(found)) or "it has none"
            raise UserError(
                f"{key}: {module_name!r} ({file}) has no {name!r}; expected one of its public "
                f"names: {public}"
            )
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"{key}: {path!r} is {type(found).__name__}, expected a callable")
    return found


def named_error(error: BaseException) -> str:
    """Return an error in one line: its type and the beginning of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _import_module(name: str, folder: str, key: str, path: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.append(folder)
    # A script's own folder comes first on the search path and would hide a user's train.py.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _SCRIPTS]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"{key}: found no module {error.name!r} for {path!r}; expected it in the "
                f"environment of {sys.executable} or as a file in {folder}"
            ) from None
        raise UserError(
            f"{key}: {name!r} imports {error.name!r}, which is not installed in the "
            f"environment of {sys.executable}"
        ) from error
    except (Exception, SystemExit) as error:  # a script that parses its arguments at import exits
        raise UserError(
            f"{key}: importing {name!r} failed with {named_error(error)}; try "
            f"`python -c 'import {name}'` in {folder}"
        ) from error


def _public_names(holder: Any) -> list[str]:
    return [name for name in vars(holder) if not name.startswith("_")][:20]
