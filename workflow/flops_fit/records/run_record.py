"""The run record: one JSON file per experiment, written whole or not at all, read with checks.

Life of a record: the trainer stores it as ``state/<id>/record.json`` and then as ``runs/<id>.json``
(Snakemake deletes a declared output before it reruns a job; the stored record survives that, and
takes its place again instead of a training). ``collect`` merges the records and clears the stored
ones: from then on a deleted JSON means "train this one again".
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.files.patience import write_patiently
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.writing import write_json, write_whole
from flops_fit.records.experiment_files import run_file, state_folder
from flops_fit.study.study import fingerprint

_NUMBER = (int, float)
_RECORD_FIELDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "study": (str,),
    "spec": (dict,),
    "status": (str,),
    "loss": (*_NUMBER, type(None)),
    "loss_std_err": (*_NUMBER, type(None)),
    "n_params": (int,),
    "n_params_non_embedding": (int,),
    "D": (int,),
    "steps": (int,),
    "C": _NUMBER,
    "C_6nd": (*_NUMBER, type(None)),
    "curve": (list,),
    "throughput": (dict,),
    "world": (dict,),
    "provenance": (dict,),
}
_MEASURED_FIELDS = tuple(
    name for name in _RECORD_FIELDS if name not in ("study", "throughput", "world", "provenance")
)
CODE_PARTS = ("model", "dataset", "loss", "optimizer")
_LARGEST_COUNT = 10**18  # of parameters, units or steps
_CHECKSUM_PREFIX = "2-"
STATUSES = ("completed", "diverged")


class DamagedRecordError(UserError):
    """A file that should hold a record and holds no JSON at all: nothing in it can be used."""


def store_record(
    record: Mapping[str, Any],
    study_folder: str | Path,
    *,
    patience: float = 0.0,
    complain: Callable[[str], None] = print,
) -> None:
    """Store a finished record with its checksum first, and as ``runs/<id>.json`` last.

    Parameters
    ----------
    patience
        For so many seconds it is tried again where a file cannot be written.
    complain
        Told once why it is tried again.

    Raises
    ------
    OSError
        If it could not be written to the end.
    """
    check_record(record, str(record.get("id")), "the trainer's record")
    stored = state_folder(study_folder, record["id"]) / "record.json"

    def write() -> None:
        write_json(stored, {**record, "checksum": record_checksum(record)})
        use_stored_record(study_folder, record["id"])

    write_patiently(write, "the record", patience, complain)


def use_stored_record(study_folder: str | Path, run_id: str) -> bool:
    """Write ``runs/<id>.json`` from a stored record, if there is a valid one, and say whether.

    A copy, and no link: what damages one file leaves the other.
    """
    stored = state_folder(study_folder, run_id) / "record.json"
    try:
        read_record(stored, run_id)
    except (FileNotFoundError, UserError):
        return False
    write_whole(run_file(study_folder, run_id), stored.read_text(encoding="utf-8"))
    return True


def record_checksum(record: Mapping[str, Any]) -> str:
    """Return ``2-`` and 16 hexadecimal digits of the SHA-256 of what was trained, measured and with
    what code and data.

    Timings and the rest of the provenance, which decide nothing, do not count.
    """
    provenance = record["provenance"]
    content = {name: record.get(name) for name in ("study", *_MEASURED_FIELDS)}
    content["code"] = [provenance.get(name) for name in ("source", "content_fingerprint")]
    return _CHECKSUM_PREFIX + _digest(content)


def _expected_checksum(record: Mapping[str, Any], found: Any) -> str:
    """The checksum in the form of the found one: earlier versions left out code and study."""
    if str(found).startswith(_CHECKSUM_PREFIX):
        return record_checksum(record)
    return _digest({name: record.get(name) for name in _MEASURED_FIELDS})


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_record(path: str | Path, run_id: str | None = None) -> dict[str, Any]:
    """Return a checked record, without its checksum.

    Raises
    ------
    DamagedRecordError
        If the file holds no JSON.
    UserError
        If the file is no record, its id does not follow from its content or its name, or its
        content is not the one that was written.
    FileNotFoundError
        If there is no such file.
    """
    record = read_stored_form(Path(path), run_id)
    record.pop("checksum", None)
    return record


def read_stored_form(path: Path, run_id: str | None = None) -> dict[str, Any]:
    """Return a checked record as it lies in its file."""
    advice = "delete it, and a rerun trains it again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DamagedRecordError(f"{path}: is no JSON file ({reason}); {advice}") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_trouble_of_the_machine(error):
            raise
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    check_record(record, run_id or path.stem, str(path))
    return record


def read_planned_record(
    planned: Mapping[str, str], study_folder: str | Path, study: str | None = None
) -> dict[str, Any]:
    """Return the checked record of a row of ``plan.csv``, without its checksum.

    Parameters
    ----------
    study
        Its name; None where that of the record does not matter.

    Raises
    ------
    UserError
        As :func:`read_record`, and if it is not what was planned.
    """
    path = run_file(study_folder, planned["id"])
    record = read_record(path, planned["id"])
    check_as_planned(record, planned, study, str(path))
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def check_record(record: Any, run_id: str, source: str) -> None:
    """Raise a UserError unless ``record`` is a valid record of the experiment ``run_id``."""
    advice = "delete it, and a rerun trains this experiment again"
    if not isinstance(record, Mapping):
        raise UserError(f"{source}: found {type(record).__name__}, expected a run record; {advice}")
    for name, types in _RECORD_FIELDS.items():
        if name not in record:
            raise UserError(f"{source}: {name}: is missing, expected a run record; {advice}")
        value = record[name]
        if not isinstance(value, types) or isinstance(value, bool):
            wanted = " or ".join("null" if t is type(None) else t.__name__ for t in types)
            raise UserError(f"{source}: {name}: found {value!r:.80}, expected {wanted}; {advice}")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(
                f"{source}: {name}: found {value!r}, expected a finite number; {advice}"
            )
    for name, problem in _unfit_content(record):
        raise UserError(f"{source}: {name}: {problem}; {advice}")
    if record["id"] != run_id or fingerprint(record["spec"]) != run_id:
        raise UserError(
            f"{source}: id: found {record['id']!r} with a spec that gives "
            f"{fingerprint(record['spec'])!r}, expected {run_id!r} for both; {advice}"
        )
    # Absent from records of earlier versions, and from those that others wrote.
    checksum = record.get("checksum")
    if checksum is not None and checksum != (expected := _expected_checksum(record, checksum)):
        raise UserError(
            f"{source}: checksum: found {checksum!r:.80} with a content that gives {expected!r}: "
            f"the file was edited or damaged; {advice}"
        )
    if record["status"] not in STATUSES:
        raise UserError(
            f"{source}: status: found {record['status']!r}, expected one of {STATUSES}; {advice}"
        )
    completed = record["status"] == "completed"
    if completed and record["D"] != record["spec"].get("D"):
        raise UserError(
            f"{source}: D: found {record['D']}, expected the {record['spec'].get('D')} of the spec "
            f"of a completed run; {advice}"
        )
    if completed != (record["loss"] is not None):
        raise UserError(
            f"{source}: loss: found {record['loss']!r} with the status {record['status']!r}, "
            f"expected a finite number exactly if completed; {advice}"
        )


def _unfit_content(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what nothing can be computed with, although each field is of its type: key, problem."""
    if unfit := unfit_value(record, finite=True):
        yield unfit
    for name, least in (("n_params", 1), ("n_params_non_embedding", 1), ("D", 0), ("steps", 0)):
        if not least <= record[name] <= _LARGEST_COUNT:
            yield name, f"found {record[name]}, expected {least} to {_LARGEST_COUNT:.0e}"
    for name in ("C", "C_6nd"):
        if record[name] is not None and not 0 <= record[name] <= sys.float_info.max:
            yield name, f"found {record[name]!r:.80}, expected a number of FLOPs"
    for i, row in enumerate(record["curve"]):
        whole = isinstance(row, list) and len(row) == 4
        if not whole or not all(_is_number(v) or (k == 2 and v is None) for k, v in enumerate(row)):
            yield f"curve[{i}]", f"found {row!r:.80}, expected [step, D, train_loss, lr]"
    provenance = record["provenance"]
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
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


def check_as_planned(
    record: Mapping[str, Any], planned: Mapping[str, str], study: str | None, source: str
) -> None:
    """Raise a UserError unless a checked record is that of a row of ``plan.csv``.

    Parameters
    ----------
    study
        Its name; None where that of the record does not matter.
    """
    D, steps = record["D"], record["steps"]
    expected: dict[str, Any] = {
        "n_params": float(planned["n_params"]),
        "n_params_non_embedding": float(planned["n_params_non_embedding"]),
        "steps": D / int(planned["batch"]),
    }
    if study is not None:
        expected["study"] = study
    if record["status"] == "completed":
        expected["D"] = int(planned["D"])
    C = float(planned["flops_per_unit"]) * D
    if not math.isclose(record["C"], C, rel_tol=1e-9):
        expected["C"] = C
    for name, value in expected.items():
        if record[name] != value:
            raise UserError(
                f"{source}: {name}: found {record[name]!r:.80}, expected {value!r} as planned; "
                "delete it, and a rerun trains this experiment again"
            )
    if steps > int(planned["steps"]):
        raise UserError(
            f"{source}: steps: found {steps}, expected at most the {planned['steps']} that were "
            "planned; delete it, and a rerun trains this experiment again"
        )
