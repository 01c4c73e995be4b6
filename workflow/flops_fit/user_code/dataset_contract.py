"""The user's dataset: what it prepares, and what each split must offer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.user_code.import_path import import_target, named_error
from flops_fit.user_code.references import UserCode

if TYPE_CHECKING:
    from torch.utils.data import Dataset


def prepare_dataset(code: UserCode, folder: Path) -> None:
    """Let the dataset do its one-off work in ``folder``, if it has any."""
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
    """Return one split of the dataset, checked against its contract.

    Raises
    ------
    UserError
        If it is iterable instead of map-style, has no length, is empty, counts its units wrongly,
        or holds anything but pairs (input, target).
    """
    path = code.dataset.path
    target = import_target(path, code.folder, f"{code.source}: dataset.target")
    key = f"{code.source}: dataset.target: {path}(split={split!r})"
    try:
        dataset = target(split=split, folder=folder, **code.dataset.kwargs)
    except UserError as error:
        raise UserError(f"{code.source}: dataset: {error}") from error
    except Exception as error:
        raise UserError(f"{key} failed with {named_error(error)}") from error
    _check_map_style(dataset, key)
    _check_length(dataset, key)
    _check_sample(dataset, key)
    return dataset


def open_splits(code: UserCode, folder: Path) -> dict[str, Dataset]:
    """Return both splits of the dataset, by name.

    Raises
    ------
    UserError
        As in `open_dataset`.
    """
    return {split: open_dataset(code, split, folder) for split in ("train", "validation")}


def units_per_sample(dataset: Any) -> int:
    """Units (tokens, images) in one sample."""
    return getattr(dataset, "units_per_sample", 1)


def unit_name(dataset: Any) -> str:
    """Name of a unit in the singular: ``token``, ``image``, ``sample``."""
    return str(getattr(dataset, "unit", "sample"))


def _check_map_style(dataset: Any, key: str) -> None:
    from torch.utils.data import IterableDataset

    if isinstance(dataset, IterableDataset):
        raise UserError(
            f"{key} is an IterableDataset, expected a map-style dataset (with __getitem__ and "
            "__len__): the order of the samples must depend on the seed alone; write the samples "
            "to files in the classmethod prepare(folder, ...) and index those"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        missing = "__len__" if hasattr(dataset, "__getitem__") else "__getitem__"
        raise UserError(
            f"{key} returned {type(dataset).__name__} without {missing}, expected a map-style "
            "torch.utils.data.Dataset"
        )


def _check_length(dataset: Any, key: str) -> None:
    try:
        length = len(dataset)
    except Exception as error:  # a __len__ that a base class declares but nobody implemented
        raise UserError(f"{key} has no usable length: {named_error(error)}") from error
    if length == 0:
        raise UserError(f"{key} is empty, expected at least one sample in each split")
    units = units_per_sample(dataset)
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise UserError(
            f"{key}.units_per_sample is {units!r}, expected a whole number of at least 1"
        )


def _check_sample(dataset: Any, key: str) -> None:
    try:
        sample = dataset[0]
    except Exception as error:
        raise UserError(f"{key}[0] failed with {named_error(error)}") from error
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        found = type(sample).__name__
        if isinstance(sample, tuple | list):
            found += f" of {len(sample)}"
        raise UserError(f"{key}[0] is {found}, expected a pair (input, target)")
