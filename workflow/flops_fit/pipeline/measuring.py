"""Measures the sizes of a study once: ``sizes.json``. A design looks at them in every round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flops_fit.files.fields import FieldError, from_plain, to_plain
from flops_fit.files.reading import DamagedFileError, parse_json
from flops_fit.files.writing import write_json
from flops_fit.plan.planned_code import FILE as CODE_FILE
from flops_fit.plan.planned_code import PlannedCode
from flops_fit.study.identity import fingerprint
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import code_in_use

FILE = "sizes.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSize:
    """One size of a model family, as `flops_fit.user_code.flops.SizeMeasure` has it."""

    size: int | float
    n_params: int
    n_params_non_embedding: int
    flops_per_unit: float


def sizes_once(
    study: Study, meta: DatasetMeta, data_folder: Path, study_folder: Path
) -> dict[float, MeasuredSize]:
    """Return the sizes of a study in ascending order, measured unless that was done before.

    They are measured again where the model, the data or the code is not what it was then;
    ``planned_code.json`` says what the code was.

    Raises
    ------
    UserError
        If the user's code breaks its contract.
    """
    code, key = UserCode.of_study(study), _key(study, meta)
    planned = PlannedCode.read(study_folder)
    if planned is not None and not planned.changed(code):
        earlier = _read(study_folder / FILE, key | {"code": planned.fingerprints})
        if earlier is not None:
            return earlier
    from flops_fit.user_code.measure import measure_sizes  # torch

    measured = {
        size: MeasuredSize(
            size=size,
            n_params=one.n_params,
            n_params_non_embedding=one.n_params_non_embedding,
            flops_per_unit=one.flops_per_unit,
        )
        for size, one in measure_sizes(study, data_folder, meta).items()
    }
    planned = PlannedCode.of(code_in_use(code))
    planned.write(study_folder / CODE_FILE)
    stored = key | {"code": planned.fingerprints}
    rows = [to_plain(one) for one in measured.values()]
    write_json(study_folder / FILE, {"of": stored, "sizes": rows})
    return measured


def _key(study: Study, meta: DatasetMeta) -> dict[str, Any]:
    model, loss = study.model, study.loss
    return {
        "model": fingerprint([model.target.identity(), model.size_param, list(model.sizes)]),
        "dataset": fingerprint([study.dataset.identity(), meta.content_fingerprint]),
        "loss": fingerprint([loss.path, loss.version]),
    }


def _read(path: Path, key: Mapping[str, Any]) -> dict[float, MeasuredSize] | None:
    """Return the stored sizes, None if there are none of this key."""
    try:
        stored = parse_json(path)
        if stored["of"] != key:
            return None
        rows = [from_plain(MeasuredSize, row) for row in stored["sizes"]]
    except (OSError, DamagedFileError, FieldError, KeyError, TypeError):
        return None
    return {row.size: row for row in rows}
