"""What is known about a prepared dataset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flops_fit.files.fields import FieldError, from_plain
from flops_fit.files.reading import make_room, read_json_object


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMeta:
    """What was read from one split."""

    samples: int
    fingerprint: str | None = None  # None if two readings differ, as under random augmentation
    exact: str | None = None  # fingerprint of everything but the floating-point numbers
    floats: list[float] = field(default_factory=list)  # a weighted sum for each array of them


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetMeta:
    """What ``prepare`` measured on the dataset: ``meta.json``."""

    target: str
    kwargs: dict[str, Any]
    version: int | str
    unit: str
    units_per_sample: int
    units_train: int
    units_validation: int
    content_fingerprint: str
    splits: dict[str, SplitMeta] = field(default_factory=dict)  # by name; version 0.1 has none

    @classmethod
    def load(cls, path: str | Path) -> DatasetMeta:
        """Read ``meta.json``.

        Raises
        ------
        UserError
            If it is damaged; it was renamed, and a rerun prepares the dataset again.
        """
        stored = read_json_object(path)
        try:
            meta = from_plain(cls, stored)
            splits = {name: from_plain(SplitMeta, one) for name, one in meta.splits.items()}
        except FieldError as error:
            raise make_room(path, str(error)) from None
        return replace(meta, splits=splits)
