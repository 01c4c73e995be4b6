"""``runs.csv``: the records of a study's experiments, one row each. Imports no torch."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.reading import make_room, spells_a_number
from flops_fit.records.experiment_files import run_file
from flops_fit.records.run_record import (
    CODE_PARTS,
    STATUSES,
    DamagedRecordError,
    check_as_planned,
    read_stored_form,
    use_stored_record,
)

RUNS_COLUMNS = (
    "id", "status", "budget", "size", "seed", "lr", "N", "D", "C", "loss", "loss_std_err",
    "n_params", "n_params_non_embedding", "C_6nd", "flops_per_unit", "steps", "batch",
    "units_per_param", "epochs",
    "model_source", "dataset_source", "loss_source", "optimizer_source", "dataset_content",
)  # fmt: skip
FINGERPRINT_COLUMNS = RUNS_COLUMNS[-5:]
_MOST_NAMED = 12  # ids that one sentence lists


def collect_runs(
    plan_rows: Sequence[Mapping[str, str]],
    study_folder: str | Path,
    params: str,
    study: str | None = None,
) -> list[dict[str, Any]]:
    """Merge the records of the planned experiments into rows of ``runs.csv``, in the plan's order.

    Records without a checksum, in which an edit cannot be noticed, are named on standard error.

    Parameters
    ----------
    plan_rows
        Rows of ``plan.csv``.
    study_folder
        ``results/<study>``; files of ``runs/`` that the plan does not name are not read.
    params
        Which count is N: ``total`` or ``non_embedding``.
    study
        Name of the study that the records have to be of; None takes any.

    Raises
    ------
    UserError
        If a file is missing or no valid record of its id and its row, or two rows have one id.
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    unchecked: list[str] = []
    for planned in plan_rows:
        run_id = planned["id"]
        if run_id in seen:
            raise UserError(f"plan.csv: the id {run_id} stands twice, expected one row per id")
        seen.add(run_id)
        record = _read_or_restore(study_folder, run_id)
        check_as_planned(record, planned, study, str(run_file(study_folder, run_id)))
        if "checksum" not in record:
            unchecked.append(run_id)
        rows.append(_row(planned, record, params))
    if unchecked:
        print(
            f"{Path(study_folder) / 'runs'}: records without a checksum, so that nothing tells "
            f"whether they were edited: {listed(unchecked)}",
            file=sys.stderr,
        )
    return rows


def listed(ids: Sequence[str]) -> str:
    """Return ids for a sentence: all of a few, or how many more there are."""
    more = len(ids) - _MOST_NAMED
    return ", ".join(ids[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _read_or_restore(study_folder: str | Path, run_id: str) -> dict[str, Any]:
    """Return a record with its checksum, from its stored copy where its file is damaged.

    Without that, the damaged file is moved aside: a rerun finds it missing, and trains it again.
    """
    path = run_file(study_folder, run_id)
    try:
        return read_stored_form(path, run_id)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; run snakemake again to train it") from None
    except DamagedRecordError as error:
        reason = str(error).removeprefix(f"{path}: ").partition(";")[0]
        if use_stored_record(study_folder, run_id):
            print(f"{path}: {reason}; it was written anew from its stored copy", file=sys.stderr)
            return read_stored_form(path, run_id)
        raise make_room(path, reason, "trains this experiment again") from None


def _row(planned: Mapping[str, str], record: Mapping[str, Any], params: str) -> dict[str, Any]:
    key = "n_params" if params == "total" else "n_params_non_embedding"
    D = record["D"]
    values = {
        **{name: record.get(name) for name in RUNS_COLUMNS},
        "budget": float(planned["budget"]),
        "size": planned["size"],
        "seed": int(planned["seed"]),
        "lr": float(planned["lr"]),
        "N": record[key],
        "flops_per_unit": record["C"] / D if D else None,
        "batch": int(planned["batch"]),
        "units_per_param": D / record["n_params_non_embedding"],
        # The plan's share of an epoch per unit, times what was really trained.
        "epochs": float(planned["epochs"]) * D / int(planned["D"]),
        "dataset_content": record["provenance"].get("content_fingerprint"),
        **{
            f"{name}_source": record["provenance"].get("source", {}).get(name)
            for name in CODE_PARTS
        },
    }
    return {name: values[name] for name in RUNS_COLUMNS}


def runs_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of ``runs.csv``; an absent value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RUNS_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def check_merged_rows(path: str | Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Raise a UserError unless rows of ``runs.csv`` can be used; the file is then renamed."""
    text = ("id", "status", *FINGERPRINT_COLUMNS)
    for row in rows:
        if row["status"] not in STATUSES:
            raise make_room(path, f"{row['id']}: status: found {row['status']!r:.80}")
        needed = ("N", "D", "C", "loss") if row["status"] == "completed" else ("N", "D", "C")
        for name, value in row.items():
            if name not in text and (value or name in needed) and not spells_a_number(value):
                raise make_room(
                    path, f"{row['id']}: {name}: found {value!r:.80}, expected a number"
                )


def mixed_fingerprints(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return which fingerprints differ between rows of ``runs.csv``.

    Returns
    -------
    dict
        For each fingerprint column with more than one value: value -> ids.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name in FINGERPRINT_COLUMNS:
            found.setdefault(name, {}).setdefault(str(row[name] or ""), []).append(row["id"])
    return {name: values for name, values in found.items() if len(values) > 1}
