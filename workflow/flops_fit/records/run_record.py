"""The run record: one JSON file per experiment, written whole or not at all, read with checks.

Life of a record: the trainer stores it as ``state/<id>/record.json`` and then as ``runs/<id>.json``
(Snakemake deletes a declared output before it reruns a job; the stored record survives that and
is put back instead of training again). ``collect`` merges the records and clears the stored
ones: from then on a deleted JSON means "train this one again".
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.files.fields import FieldError, check_fields, from_plain, later, to_plain
from flops_fit.files.patience import write_patiently
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.reading import DamagedFileError, fields_of, parse_json
from flops_fit.files.writing import write_json, write_whole
from flops_fit.records.experiment_files import run_file, state_folder
from flops_fit.study.identity import fingerprint
from flops_fit.study.spec import Spec

CODE_PARTS = ("model", "dataset", "loss", "optimizer")
STATUSES = ("completed", "diverged")
_LARGEST_COUNT = 10**18  # of parameters, units or steps
_CHECKSUM_PREFIX = "2-"
_ADVICE = "delete it, and a rerun trains this experiment again"
_NOT_MEASURED = ("study", "throughput", "world", "provenance", "checksum")


class DamagedRecordError(UserError):
    """A file that should hold a record but is not JSON at all, so nothing in it can be used.

    ``reason`` is the part of the message that says what is wrong with the file.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class CurveRow(NamedTuple):
    """One row of the training curve."""

    step: int
    D: int
    train_loss: float | None  # mean since the previous row; None if nothing was predicted
    lr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Speed. For information only: nothing is computed from it, and all of it may be missing."""

    units_per_second: float | None = None
    flops_per_second: float | None = None
    mfu: float | None = None  # of the peak; None if that is unknown
    train_seconds: float | None = None
    checkpoint_seconds: float | None = None
    startup_seconds: float | None = None
    eval_seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where it was trained. For information only, like the throughput."""

    num_processes: int | None = None
    device: str | None = None
    precision: str | None = None
    gradient_accumulation: int | None = None
    micro_batch: int | None = None
    hosts: list[str] | None = None
    resumed: bool | None = None
    # Where it branched off a trunk; absent where it trained all of D itself
    trunk: str | None = later()
    own_D: int | None = later()  # units of the D that it trained itself
    own_C: float | None = later()  # FLOPs of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The code and data it was trained with; all of it may be missing."""

    python: str | None = None
    torch: str | None = None
    accelerate: str | None = None
    flops_fit: str | None = None
    git: dict[str, Any] | None = None
    source: dict[str, str | None] = field(default_factory=dict)  # fingerprints, by CODE_PARTS
    content_fingerprint: str | None = None  # of the samples that were read
    start: str | None = None  # UTC
    end: str | None = None
    trainer: str | None = None  # fingerprint of flops-fit's own trainer
    packages: dict[str, str] = field(default_factory=dict)  # installed ones that the code uses
    imported: list[str] = field(default_factory=list)  # modules that count as they were imported
    file_source: dict[str, str | None] = field(default_factory=dict)  # as version 0.1 made `source`
    alone: dict[str, str | None] = field(default_factory=dict)  # `source` without `imported`, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one experiment measured: ``runs/<id>.json``."""

    id: str
    study: str
    spec: Spec
    status: str  # one of STATUSES
    loss: float | None  # nats per predicted unit; None if diverged
    loss_std_err: float | None
    n_params: int
    n_params_non_embedding: int
    D: int  # units trained on
    steps: int
    C: float  # FLOPs spent
    C_6nd: float | None  # None if the unit is not a token
    curve: tuple[CurveRow, ...]
    throughput: Throughput
    world: World
    provenance: Provenance
    # As found in the file. Missing from records of early versions or of other programs.
    checksum: str | None = field(default=None, compare=False)

    @property
    def completed(self) -> bool:
        """Whether it was trained to its end; otherwise it diverged."""
        return self.status == "completed"

    @classmethod
    def from_json(cls, plain: Any, run_id: str) -> RunRecord:
        """Return the record that a JSON object holds.

        Parameters
        ----------
        run_id
            The experiment that it must belong to.

        Raises
        ------
        FieldError
            If a field is missing, of the wrong type or out of range, if the id does not follow from
            the spec, or the content is not what was written.
        """
        check_fields(cls, plain)
        if unfit := next(_unfit_content(plain), None):
            raise FieldError(": ".join(filter(None, unfit)))
        if plain["id"] != run_id or fingerprint(plain["spec"]) != run_id:
            raise FieldError(
                f"id: found {plain['id']!r} with a spec that gives {fingerprint(plain['spec'])!r}, "
                f"expected {run_id!r} for both"
            )
        checksum = plain.get("checksum")
        if checksum is not None and checksum != (expected := _expected_checksum(plain)):
            raise FieldError(
                f"checksum: found {checksum!r:.80} with a content that gives {expected!r}: the "
                "file was edited or damaged"
            )
        values = {one.name: plain[one.name] for one in fields(cls) if one.name in plain}
        values["spec"] = _spec(plain["spec"])
        for name, kind in _INFORMATION.items():
            values[name] = _taken_as_it_is(kind, plain[name])
        values["curve"] = tuple(CurveRow(*row) for row in plain["curve"])
        record = cls(**values)
        _check_outcome(record)
        return record

    def to_json(self) -> dict[str, Any]:
        """Return it as plain objects with its checksum, in the order of the file."""
        plain = to_plain(self)
        plain["curve"] = [list(row) for row in self.curve]
        plain["checksum"] = record_checksum(plain)
        return plain


_INFORMATION = {"throughput": Throughput, "world": World, "provenance": Provenance}


def _spec(plain: Mapping[str, Any]) -> Spec:
    try:
        return from_plain(Spec, plain, closed=True)  # exactly what its id is derived from
    except FieldError as error:
        raise FieldError(f"spec.{error}") from None


def _taken_as_it_is(kind: type, plain: Mapping[str, Any]) -> Any:
    """Return information of a record, unchecked: no number rests on it, and a training would.

    What other code reads of it is of the right type, or missing.
    """
    values = {one.name: plain[one.name] for one in fields(kind) if one.name in plain}
    for name, fits in _FITS.items():
        if name in values and not fits(values[name]):
            del values[name]
    return kind(**values)


def _is_fingerprints(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(v, str | None) for v in value.values())


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_FITS = {
    "source": _is_fingerprints,
    "file_source": _is_fingerprints,
    "packages": _is_fingerprints,
    "alone": _is_fingerprints,
    "imported": _is_names,
}


def store_record(
    record: RunRecord,
    study_folder: str | Path,
    *,
    patience: float = 0.0,
    complain: Callable[[str], None] = print,
) -> None:
    """Store a finished record with its checksum first, and as ``runs/<id>.json`` last.

    Parameters
    ----------
    patience
        For how many seconds writing is retried.
    complain
        Called once with the reason for the retries.

    Raises
    ------
    UserError
        If it is not a valid record.
    OSError
        If it could not be written in that time.
    """
    plain = record.to_json()
    _checked(plain, record.id, "the trainer's record")
    stored = state_folder(study_folder, record.id) / "record.json"

    def write() -> None:
        write_json(stored, plain)
        use_stored_record(study_folder, record.id)

    write_patiently(write, "the record", patience, complain)


def use_stored_record(study_folder: str | Path, run_id: str) -> bool:
    """Write ``runs/<id>.json`` from a valid stored record; return whether there was one.

    It is a copy, not a link, so that damage to one file leaves the other intact.
    """
    stored = state_folder(study_folder, run_id) / "record.json"
    try:
        read_record(stored, run_id)
    except (FileNotFoundError, UserError):
        return False
    write_whole(run_file(study_folder, run_id), stored.read_bytes())
    return True


def read_record(path: str | Path, run_id: str | None = None) -> RunRecord:
    """Return a checked record.

    Parameters
    ----------
    run_id
        The experiment that it must belong to; by default, the one the file is named after.

    Raises
    ------
    DamagedRecordError
        If the file holds no JSON.
    UserError
        If the file is not a record, its id does not follow from its content or its name, or its
        content is not what was written.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        plain = parse_json(path, finite=True)
    except DamagedFileError as error:
        raise DamagedRecordError(f"{path}: {error}; {_ADVICE}", str(error)) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_trouble_of_the_machine(error):
            raise
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_ADVICE}") from None
    return _checked(plain, run_id or path.stem, str(path))


def read_provenance(path: str | Path) -> Provenance | None:
    """Return the provenance of a completed run, unchecked, without the cost of `read_record`.

    None where there is no such file, or one that cannot be read (which is said when it is merged),
    or the run diverged.
    """
    try:
        status, provenance = fields_of(path, "status", "provenance")
        source = provenance.get("source", {})
        if status != "completed" or not _is_fingerprints(source):
            return None
        return _taken_as_it_is(Provenance, provenance)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _checked(plain: Any, run_id: str, source: str) -> RunRecord:
    try:
        return RunRecord.from_json(plain, run_id)
    except FieldError as error:
        raise UserError(f"{source}: {error}; {_ADVICE}") from None


def record_checksum(plain: Mapping[str, Any]) -> str:
    """Return ``2-`` and 16 hexadecimal digits of the SHA-256 of what was trained and measured, and
    with what code and data.

    Timings and the rest of the provenance do not count, since nothing depends on them.

    Parameters
    ----------
    plain
        A record as a plain JSON object.
    """
    provenance = plain["provenance"]
    content = {"study": plain["study"], **_measured(plain)}
    content["code"] = [provenance.get(name) for name in ("source", "content_fingerprint")]
    return _CHECKSUM_PREFIX + _digest(content)


def _expected_checksum(plain: Mapping[str, Any]) -> str:
    """The checksum in the same version as the one found: early ones left out code and study."""
    if plain["checksum"].startswith(_CHECKSUM_PREFIX):
        return record_checksum(plain)
    return _digest(_measured(plain))


def _measured(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: plain[one.name] for one in fields(RunRecord) if one.name not in _NOT_MEASURED}


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_outcome(record: RunRecord) -> None:
    """Raise a FieldError unless status, loss and D belong together."""
    if record.status not in STATUSES:
        raise FieldError(f"status: found {record.status!r}, expected one of {STATUSES}")
    if record.completed and record.D != record.spec.D:
        raise FieldError(
            f"D: found {record.D}, expected the {record.spec.D} of the spec of a completed run"
        )
    if record.completed != (record.loss is not None):
        raise FieldError(
            f"loss: found {record.loss!r} with the status {record.status!r}, expected a finite "
            "number exactly if completed"
        )


def _unfit_content(plain: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for values of the right type that cannot be computed with."""
    if unfit := unfit_value(plain, finite=True):
        yield unfit
    for name, least in (("n_params", 1), ("n_params_non_embedding", 1), ("D", 0), ("steps", 0)):
        if not least <= plain[name] <= _LARGEST_COUNT:
            yield name, f"found {plain[name]}, expected {least} to {_LARGEST_COUNT:.0e}"
    for name in ("C", "C_6nd"):
        if plain[name] is not None and not 0 <= plain[name] <= sys.float_info.max:
            yield name, f"found {plain[name]!r:.80}, expected a number of FLOPs"
    for i, row in enumerate(plain["curve"]):
        whole = isinstance(row, list) and len(row) == len(CurveRow._fields)
        if not whole or not all(_is_number(v) or (k == 2 and v is None) for k, v in enumerate(row)):
            yield f"curve[{i}]", f"found {row!r:.80}, expected [{', '.join(CurveRow._fields)}]"
    provenance = plain["provenance"]
    source = provenance.get("source", {})
    if not isinstance(source, Mapping):
        yield "provenance.source", f"found {source!r:.80}, expected an object"
        return
    texts = {f"provenance.source.{name}": source.get(name) for name in CODE_PARTS}
    texts["provenance.content_fingerprint"] = provenance.get("content_fingerprint")
    for name, value in texts.items():
        if not isinstance(value, str | None):
            yield name, f"found {value!r:.80}, expected text or null"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
