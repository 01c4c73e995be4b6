"""What is known about a prepared dataset."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flops_fit.files.reading import read_json_object


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

    @classmethod
    def load(cls, path: str | Path) -> DatasetMeta:
        """Read ``meta.json``.

        Raises
        ------
        UserError
            If it is damaged; it was renamed, and a rerun prepares the dataset again.
        """
        names = [field.name for field in fields(cls)]
        stored = read_json_object(path, names)
        return cls(**{name: stored[name] for name in names})
