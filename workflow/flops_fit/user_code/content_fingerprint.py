"""Hashes of a dataset's content: what was planned, and what a trainer really reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flops_fit.errors import UserError
from flops_fit.user_code.content_reading import SplitReading
from flops_fit.user_code.dataset_meta import DatasetMeta, SplitMeta

_REMEDIES = (
    "put the data back as they were, or raise dataset.version, which prepares the new ones and "
    "trains every experiment on them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was read from the splits of a dataset."""

    fingerprint: str
    """Of all splits: the dataset's own (its attribute ``content_fingerprint``), or else of the
    length and 256 evenly spaced samples of each."""
    is_own: bool
    readings: dict[str, SplitReading]

    @property
    def splits(self) -> dict[str, SplitMeta]:
        """What is kept of the readings."""
        return {name: reading.meta for name, reading in self.readings.items()}


def content_fingerprint(splits: Mapping[str, Any]) -> str:
    """Return the fingerprint of a dataset's content (`Content`)."""
    return measure_content(splits).fingerprint


def measure_content(splits: Mapping[str, Any]) -> Content:
    """Read the length and 256 evenly spaced samples of each split."""
    together = hashlib.sha256()
    readings = {name: SplitReading(name, one, together) for name, one in splits.items()}
    own = [getattr(dataset, "content_fingerprint", None) for dataset in splits.values()]
    if all(own):
        together = hashlib.sha256(json.dumps(own).encode())
    fingerprint = together.hexdigest()[:12]
    return Content(fingerprint=fingerprint, is_own=all(own), readings=readings)


def repeatable_splits(first: Content, second: Content) -> dict[str, SplitMeta]:
    """Return the splits, without the fingerprint of those that two readings found different.

    Random augmentation gives other samples each time: nothing can tell whether they changed.
    """
    return {
        name: one if one == second.splits[name] else SplitMeta(samples=one.samples)
        for name, one in first.splits.items()
    }


def check_content(opened: Callable[[], Mapping[str, Any]], meta: DatasetMeta, source: str) -> str:
    """Compare what a dataset holds now with what was measured when they were prepared.

    Floating-point numbers may differ as far as other processors round them in another way. A split
    that differs is opened and read a second time: random augmentation may have been alike by chance
    when it was prepared.

    Parameters
    ----------
    opened
        Opens the datasets and returns them by name. They are not to be used otherwise: reading may
        have changed them, such as a random generator of their own.
    meta
        Of the prepared dataset. One of version 0.1 has no fingerprints of single splits: without
        the dataset's own, floating-point samples are then compared in their number alone.
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
    found = measure_content(opened())
    planned = meta.splits or _lengths(found, meta)
    differing = [name for name, then in planned.items() if not found.readings[name].agrees(then)]
    same = found.fingerprint == meta.content_fingerprint
    must_be_same = found.is_own or not (
        meta.splits or any(one.floats for one in found.splits.values())
    )
    again = measure_content(opened()) if differing or (must_be_same and not same) else found
    for name in differing:
        now, then = found.splits[name], planned[name]
        if now.samples != then.samples or now == again.splits[name]:
            raise UserError(
                f"{source}: the {name} split is not the one that was planned: {_both(now, then)}; "
                f"{_REMEDIES}"
            )
    if must_be_same and not same and again.fingerprint == found.fingerprint:
        raise UserError(
            f"{source}: its content is not the one that was planned: found the fingerprint "
            f"{found.fingerprint}, expected {meta.content_fingerprint}; {_REMEDIES}"
        )
    return meta.content_fingerprint


def _lengths(found: Content, meta: DatasetMeta) -> dict[str, SplitMeta]:
    units = {"train": meta.units_train, "validation": meta.units_validation}
    return {
        name: SplitMeta(samples=units[name] // reading.units_per_sample)
        for name, reading in found.readings.items()
    }


def _both(now: SplitMeta, then: SplitMeta) -> str:
    if then.fingerprint is None:
        return f"found {now.samples} samples, expected {then.samples}"
    return (
        f"found {now.samples} samples with the fingerprint {now.fingerprint}, expected "
        f"{then.samples} with {then.fingerprint}"
    )
