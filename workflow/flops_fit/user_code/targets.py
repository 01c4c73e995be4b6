"""The user's model, dataset, loss and optimizer: found by import path, held to their contracts.

Every mistake is a :class:`~flops_fit.errors.UserError` that says what was found, what is expected
and how to mend it. torch is imported where it is needed only.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import numbers
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.study.study import Study, Target

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

_FINGERPRINT_SAMPLES = 256
_SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCode:
    """The import paths of one study or experiment, and where they are searched."""

    model: Target
    size_param: str
    sizes: tuple[float, ...]
    dataset: Target
    loss: str
    optimizer: str  # adamw or an import path
    folder: Path
    source: str  # what the errors name: the configuration file

    @classmethod
    def of_study(cls, study: Study) -> UserCode:
        """The user's code that a configuration names."""
        return cls(
            model=study.model.target,
            size_param=study.model.size_param,
            sizes=study.model.sizes,
            dataset=study.dataset,
            loss=study.loss.path,
            optimizer=study.train.optimizer,
            folder=study.folder,
            source=study.config_file,
        )

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any], folder: str | Path, source: str) -> UserCode:
        """The user's code that an experiment's spec names."""
        model, dataset = spec["model"], spec["dataset"]
        return cls(
            model=Target(path=model["target"], kwargs=model["kwargs"], version=model["version"]),
            size_param=model["size_param"],
            sizes=(spec["size"],),
            dataset=Target(
                path=dataset["target"], kwargs=dataset["kwargs"], version=dataset["version"]
            ),
            loss=spec["loss"]["target"],
            optimizer=spec["optimizer"]["target"],
            folder=Path(folder),
            source=source,
        )


class BuildError(Exception):
    """The model did not build at one size; the message is a sentence for the user."""


def import_target(path: str, folder: str | Path, key: str) -> Any:
    """Return the object at ``package.module:name``.

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
        If the module is not found or fails at import, or has no such attribute.
    """
    module_name, _, attribute = path.partition(":")
    folder = str(Path(folder).resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    # A script's own folder comes first in the search: it would hide a user's train.py or plan.py.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _SCRIPTS]
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UserError(
                f"{key}: found no module {error.name!r} for {path!r}; expected it in the "
                f"environment of {sys.executable} or as a file in {folder}"
            ) from None
        raise UserError(
            f"{key}: {module_name!r} imports {error.name!r}, which is not installed in the "
            f"environment of {sys.executable}"
        ) from error
    except (Exception, SystemExit) as error:  # a script that parses its arguments at import exits
        raise UserError(
            f"{key}: importing {module_name!r} failed with {named_error(error)}; try "
            f"`python -c 'import {module_name}'` in {folder}"
        ) from error
    file = getattr(found, "__file__", "built in")
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise UserError(
                f"{key}: {module_name!r} ({file}) has no "
                f"{name!r}; "
                f"expected one of its public names: "
                f"{', '.join(_public_names(found)) or 'it has none'}"
            )
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"{key}: {path!r} is {type(found).__name__}, expected a callable")
    return found


def source_fingerprint(path: str, folder: str | Path, key: str) -> str | None:
    """Return a hash of the source of the module that defines ``package.module:name``.

    Modules that it imports from its own folder count as well. Comments, layout and docstrings do
    not, and neither does the version of Python. None where the module has no Python source.
    """
    target = import_target(path, folder, key)
    defined = inspect.isclass(target) or inspect.isfunction(target)
    module = target.__module__ if defined else path.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    sources = _local_sources(Path(file), {})
    sources[""] = sources.pop(Path(file).name, "")  # under whatever name it lies
    text = "\n".join(f"{name}\n{source}" for name, source in sorted(sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _local_sources(file: Path, known: dict[str, str], root: Path | None = None) -> dict[str, str]:
    """Add the plain source of a module, and of what it imports below ``root``, to ``known``."""
    root = root or file.parent
    name = file.relative_to(root).as_posix()
    if name in known:
        return known
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return known
    imported = _imported_names(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[:1] = [] if len(body) > 1 else [ast.Pass()]
    known[name] = ast.unparse(tree)
    for module in imported:
        for base in {root, file.parent}:
            place = base.joinpath(*module.split("."))
            for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                if candidate.is_file() and candidate.is_relative_to(root):
                    _local_sources(candidate, known, root)
    return known


def _imported_names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            names.update({prefix} if prefix else ())
            names.update(f"{prefix}.{alias.name}".lstrip(".") for alias in node.names)
    return {name for name in names if name != "*"}


def check_importable(code: UserCode) -> None:
    """Check everything that can be checked before the dataset is prepared.

    Raises
    ------
    UserError
        If a target is missing, or the model does not take its size parameter.
    """
    folder, source = code.folder, code.source
    model = import_target(code.model.path, folder, f"{source}: model.target")
    _check_size_parameter(model, code)
    import_target(code.dataset.path, folder, f"{source}: dataset.target")
    import_target(code.loss, folder, f"{source}: loss")
    if code.optimizer != "adamw":
        import_target(code.optimizer, folder, f"{source}: train.optimizer")


def _check_size_parameter(model: Callable[..., Any], code: UserCode) -> None:
    name, path = code.size_param, code.model.path
    try:
        parameters = inspect.signature(model).parameters
    except (TypeError, ValueError):  # some builtins have no signature; building the model will tell
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


def model_factory(code: UserCode) -> Callable[[float], torch.nn.Module]:
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


def prepare_dataset(code: UserCode, folder: Path) -> None:
    """Let the dataset do its one-off work in ``folder``, where it has any to do."""
    target = import_target(code.dataset.path, code.folder, f"{code.source}: dataset.target")
    prepare = getattr(target, "prepare", None)
    if prepare is None:
        return
    try:
        prepare(folder, **code.dataset.kwargs)
    except UserError as error:
        raise UserError(f"{code.source}: dataset: {error}") from error
    except Exception as error:
        raise UserError(
            f"{code.source}: dataset: {code.dataset.path}.prepare failed with {named_error(error)}"
        ) from error


def open_dataset(code: UserCode, split: str, folder: Path) -> Dataset:
    """Return one split of the dataset, held to its contract.

    Raises
    ------
    UserError
        If it is iterable instead of map-style, has no length, is empty, or names its units wrongly.
    """
    from torch.utils.data import IterableDataset

    path = code.dataset.path
    target = import_target(path, code.folder, f"{code.source}: dataset.target")
    key = f"{code.source}: dataset.target: {path}(split={split!r})"
    try:
        dataset = target(split=split, folder=folder, **code.dataset.kwargs)
    except UserError as error:
        raise UserError(f"{code.source}: dataset: {error}") from error
    except Exception as error:
        raise UserError(f"{key} failed with {named_error(error)}") from error
    if isinstance(dataset, IterableDataset):
        raise UserError(
            f"{key} is an IterableDataset, expected a map-style dataset (with __getitem__ and "
            "__len__): the order of the samples must follow from the seed alone; write the samples "
            "to files in the classmethod prepare(folder, ...) and index those"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        missing = "__len__" if hasattr(dataset, "__getitem__") else "__getitem__"
        raise UserError(
            f"{key} returned {type(dataset).__name__} without {missing}, expected a map-style "
            "torch.utils.data.Dataset"
        )
    try:
        length = len(dataset)
    except Exception as error:  # a __len__ that a base class declares and nobody wrote
        raise UserError(f"{key} has no usable length: {named_error(error)}") from error
    if length == 0:
        raise UserError(f"{key} is empty, expected at least one sample in each split")
    units = units_per_sample(dataset)
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise UserError(
            f"{key}.units_per_sample is {units!r}, expected a whole number of at least 1"
        )
    try:
        sample = dataset[0]
    except Exception as error:
        raise UserError(f"{key}[0] failed with {named_error(error)}") from error
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        found = type(sample).__name__
        if isinstance(sample, tuple | list):
            found += f" of {len(sample)}"
        raise UserError(f"{key}[0] is {found}, expected a pair (input, target)")
    return dataset


def units_per_sample(dataset: Any) -> int:
    """Units (tokens, images) that one sample counts for."""
    return getattr(dataset, "units_per_sample", 1)


def unit_name(dataset: Any) -> str:
    """What one unit is called in the singular: ``token``, ``image``, ``sample``."""
    return str(getattr(dataset, "unit", "sample"))


def loss_function(code: UserCode) -> Callable[[Any, Any], Any]:
    """Return the study's loss."""
    return import_target(code.loss, code.folder, f"{code.source}: loss")


def loss_sum_and_count(
    value: Any, units: int, key: str = "loss"
) -> tuple[torch.Tensor, torch.Tensor | int]:
    """Turn what a loss returned into ``(sum over units, number of predicted units)``.

    The number is an int where the loss returned a mean, a tensor where it returned a pair.

    Parameters
    ----------
    value
        A scalar mean over ``units``, or a pair ``(sum, count)``.
    units
        Units in the batch, which a scalar is the mean of.

    Raises
    ------
    UserError
        If the value is neither.
    """
    import torch

    expected = "expected a scalar (the mean over the batch's units) or a pair (sum, count)"
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise UserError(f"{key}: returned {len(value)} values, {expected}")
        total, count = value
        if not isinstance(total, torch.Tensor) or total.numel() != 1:
            raise UserError(f"{key}: the first of the pair is no scalar tensor, {expected}")
        is_number = isinstance(count, numbers.Real | torch.Tensor)
        if not is_number or torch.as_tensor(count).numel() != 1:
            raise UserError(f"{key}: the second of the pair is no number, {expected}")
        return total.reshape(()), torch.as_tensor(count, device=total.device).detach().reshape(())
    if not isinstance(value, torch.Tensor):
        raise UserError(f"{key}: returned {type(value).__name__}, {expected}")
    if value.numel() != 1:
        raise UserError(f"{key}: returned a tensor of shape {tuple(value.shape)}, {expected}")
    return value.reshape(()) * units, units


def content_fingerprint(splits: dict[str, Any]) -> str:
    """Return a hash of a dataset's content.

    A dataset that knows better has an attribute ``content_fingerprint``. Otherwise the lengths and
    256 evenly spaced samples of each split are hashed.
    """
    own = [getattr(dataset, "content_fingerprint", None) for dataset in splits.values()]
    if all(own):
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:12]
    digest = hashlib.sha256()
    for name, dataset in splits.items():
        length = len(dataset)
        digest.update(f"{name} {length} {units_per_sample(dataset)}\n".encode())
        count = min(length, _FINGERPRINT_SAMPLES)
        for i in range(count):
            _hash_value(digest, dataset[i * (length - 1) // max(count - 1, 1)])
    return digest.hexdigest()[:12]


def _hash_value(digest: Any, value: Any) -> None:
    import torch

    # Type, shape and length go first: without them [1, 23] and [12, 3] would be one content.
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        if value.numel():
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}\n".encode())
        for key in sorted(value):
            _hash_value(digest, key)
            _hash_value(digest, value[key])
    elif isinstance(value, tuple | list):
        digest.update(f"list {len(value)}\n".encode())
        for item in value:
            _hash_value(digest, item)
    else:
        content = value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()
        layout = [str(getattr(value, name, "")) for name in ("dtype", "shape", "mode")]
        digest.update(f"{type(value).__name__} {layout} {len(content)}\n".encode())
        digest.update(content)


def _public_names(module: Any) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")][:20]


def named_error(error: BaseException) -> str:
    """Return an error in one line: its type and the beginning of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
