"""Hashes of a dataset's content: what was planned, and what a trainer really reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flops_fit.errors import UserError
from flops_fit.user_code.dataset_contract import units_per_sample
from flops_fit.user_code.dataset_meta import DatasetMeta, SplitMeta

_FINGERPRINT_SAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was read from the splits of a dataset."""

    fingerprint: str
    """Of all splits: the dataset's own (its attribute ``content_fingerprint``), or else of the
    length and 256 evenly spaced samples of each."""
    splits: dict[str, SplitMeta]


def content_fingerprint(splits: Mapping[str, Any]) -> str:
    """Return the fingerprint of a dataset's content (`Content`)."""
    return measure_content(splits).fingerprint


def measure_content(splits: Mapping[str, Any]) -> Content:
    """Read the length and 256 evenly spaced samples of each split."""
    together = hashlib.sha256()
    measured = {}
    for name, dataset in splits.items():
        alone = hashlib.sha256()
        _hash_split(_Both(together, alone), name, dataset)
        fingerprint = alone.hexdigest()[:12]
        measured[name] = SplitMeta(samples=len(dataset), fingerprint=fingerprint)
    own = [getattr(dataset, "content_fingerprint", None) for dataset in splits.values()]
    if all(own):
        together = hashlib.sha256(json.dumps(own).encode())
    return Content(fingerprint=together.hexdigest()[:12], splits=measured)


def repeatable_splits(first: Content, second: Content) -> dict[str, SplitMeta]:
    """Return the splits, without the fingerprint of those that two readings found different.

    Random augmentation gives other samples each time: nothing can tell whether they changed.
    """
    return {
        name: one if one == second.splits[name] else SplitMeta(samples=one.samples)
        for name, one in first.splits.items()
    }


def check_content(splits: Mapping[str, Any], meta: DatasetMeta, source: str) -> str:
    """Compare what the splits hold now with what was measured when they were prepared.

    Parameters
    ----------
    splits
        The datasets by name.
    meta
        Of the prepared dataset. One of version 0.1 has no fingerprints of single splits.
    source
        What the error names first.

    Returns
    -------
    str
        The fingerprint of the content.

    Raises
    ------
    UserError
        If they differ; names both.
    """
    found, splits_then = measure_content(splits), meta.splits
    own = all(getattr(dataset, "content_fingerprint", None) for dataset in splits.values())
    if not splits_then and found.fingerprint != meta.content_fingerprint and not own:
        splits_then = repeatable_splits(found, measure_content(splits))
    for name, then in splits_then.items():
        now = found.splits[name]
        if now.samples != then.samples or then.fingerprint not in (None, now.fingerprint):
            raise UserError(
                f"{source}: the {name} split is not the one that was planned: found "
                f"{now.samples} samples with the fingerprint {now.fingerprint}, expected "
                f"{then.samples} with {then.fingerprint or 'any'}; {_REMEDIES}"
            )
    whole = own or all(then.fingerprint for then in splits_then.values())
    if whole and found.fingerprint != meta.content_fingerprint:
        raise UserError(
            f"{source}: its content is not the one that was planned: found the fingerprint "
            f"{found.fingerprint}, expected {meta.content_fingerprint}; {_REMEDIES}"
        )
    return meta.content_fingerprint


_REMEDIES = (
    "put the data back as they were, or raise dataset.version, which prepares the new ones and "
    "trains every experiment on them"
)


@dataclass(frozen=True, slots=True)
class _Both:
    """Two hashes that are fed the same."""

    one: Any
    other: Any

    def update(self, content: Any) -> None:
        self.one.update(content)
        self.other.update(content)


def _hash_split(digest: _Both, name: str, dataset: Any) -> None:
    length = len(dataset)
    digest.update(f"{name} {length} {units_per_sample(dataset)}\n".encode())
    count = min(length, _FINGERPRINT_SAMPLES)
    for i in range(count):
        _hash_value(digest, dataset[i * (length - 1) // max(count - 1, 1)])


def _hash_value(digest: _Both, value: Any) -> None:
    import torch

    # Type, shape and length come first: without them [1, 23] and [12, 3] would hash alike.
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
