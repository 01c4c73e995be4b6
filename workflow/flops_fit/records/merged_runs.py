"""``runs.csv``: the measurements of a study's experiments, one row each. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from flops_fit.files.reading import make_room
from flops_fit.files.rows import columns_of, read_rows
from flops_fit.records.run_record import STATUSES

_MOST_NAMED = 12  # ids listed in one sentence


def _fingerprint() -> str | None:
    """Return a field whose value is the same in all runs of the same code and data."""
    return field(default=None, metadata={"fingerprint": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRun:
    """One row of ``runs.csv``: its fields are the columns."""

    id: str
    status: str  # completed | diverged
    budget: float  # FLOPs
    size: int | float
    seed: int
    lr: float
    N: int | float  # one of the two counts, as fit.params says
    D: int | float  # units trained on
    C: float  # FLOPs spent
    loss: float | None = None  # nats per predicted unit; None if diverged
    loss_std_err: float | None = None
    n_params: int | float
    n_params_non_embedding: int | float
    C_6nd: int | float | None = None
    flops_per_unit: float | None = None  # None if nothing was trained
    steps: int
    batch: int  # units per step
    units_per_param: float | None = None  # D / n_params_non_embedding
    epochs: float  # D / units of the training split
    model_source: str | None = _fingerprint()
    dataset_source: str | None = _fingerprint()
    loss_source: str | None = _fingerprint()
    optimizer_source: str | None = _fingerprint()
    dataset_content: str | None = _fingerprint()
    trainer: str | None = None  # fingerprint of flops-fit's trainer; None in version 0.1
    torch: str | None = None  # version
    device: str | None = None  # name of the GPU, or cpu
    trunk: str | None = None  # what runs share that differ in D alone, if they share any

    @property
    def completed(self) -> bool:
        """Whether it has a loss; otherwise it diverged."""
        return self.status == "completed"


RUNS_COLUMNS = columns_of(MergedRun)
FINGERPRINT_COLUMNS = tuple(one.name for one in fields(MergedRun) if "fingerprint" in one.metadata)


def read_merged_runs(path: str | Path) -> list[MergedRun]:
    """Return the rows of ``runs.csv``.

    Raises
    ------
    UserError
        If it is damaged; it was renamed, and a rerun writes it again.
    """
    rows = read_rows(path, MergedRun)
    for row in rows:
        if row.status not in STATUSES:
            raise make_room(path, f"{row.id}: status: found {row.status!r:.80}")
        if row.completed and row.loss is None:
            raise make_room(path, f"{row.id}: loss: found '', expected a number")
    return rows


def listed(ids: Sequence[str]) -> str:
    """Return ids for a sentence: up to a dozen, and how many more there are."""
    more = len(ids) - _MOST_NAMED
    return ", ".join(ids[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def mixed_circumstances(rows: Iterable[MergedRun]) -> dict[str, dict[str, list[str]]]:
    """Return which of trainer, torch and device differ between rows of ``runs.csv``.

    Returns
    -------
    dict
        For each of these columns with more than one known value: value -> ids.
    """
    found: dict[str, dict[str, list[str]]] = {"trainer": {}, "torch": {}, "device": {}}
    for row in rows:
        for name, values in found.items():
            if (value := getattr(row, name)) is not None:
                values.setdefault(value, []).append(row.id)
    return {name: values for name, values in found.items() if len(values) > 1}


def mixed_fingerprints(rows: Iterable[MergedRun]) -> dict[str, dict[str, list[str]]]:
    """Return which fingerprints differ between rows of ``runs.csv``.

    Returns
    -------
    dict
        For each fingerprint column with more than one value: value -> ids.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name in FINGERPRINT_COLUMNS:
            found.setdefault(name, {}).setdefault(getattr(row, name) or "", []).append(row.id)
    return {name: values for name, values in found.items() if len(values) > 1}
