"""Prepares the dataset and writes what was measured on it: meta.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from flops_fit.files.writing import write_json
from flops_fit.study.study import Study
from flops_fit.user_code.content_fingerprint import measure_content, repeatable_splits
from flops_fit.user_code.dataset_contract import (
    open_splits,
    prepare_dataset,
    unit_name,
    units_per_sample,
)
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.importable import check_importable
from flops_fit.user_code.references import UserCode


def prepare(study: Study, meta_file: Path) -> DatasetMeta:
    """Prepare the dataset beside ``meta_file`` and write that file last.

    Whatever can be checked in the user's code without data is checked first.

    Raises
    ------
    UserError
        If the user's code breaks its contract, or preparing the dataset fails.
    """
    code = UserCode.of_study(study)
    check_importable(code)
    folder = meta_file.parent
    folder.mkdir(parents=True, exist_ok=True)
    prepare_dataset(code, folder)
    splits = open_splits(code, folder)
    units = {split: units_per_sample(dataset) for split, dataset in splits.items()}
    content, unit = measure_content(splits), unit_name(splits["train"])
    samples = {split: len(dataset) for split, dataset in splits.items()}
    splits.clear()  # opened anew, as each trainer does: opening may draw at random as well
    again = measure_content(open_splits(code, folder))
    meta = DatasetMeta(
        **study.dataset.identity(),
        unit=unit,
        units_per_sample=units["train"],
        units_train=samples["train"] * units["train"],
        units_validation=samples["validation"] * units["validation"],
        content_fingerprint=content.fingerprint,
        splits=repeatable_splits(content, again),
    )
    write_json(meta_file, asdict(meta))
    return meta
