"""Prepares a dataset once for all studies that use it."""

from __future__ import annotations

import sys
from pathlib import Path

from flops_fit.files.locks import lock, lock_if_free
from flops_fit.pipeline.prepared import is_measured
from flops_fit.study.study import Study
from flops_fit.user_code.prepare import prepare


def prepare_once(study: Study, meta: Path) -> None:
    """Prepare a dataset unless that is done, and never at the same time as another study.

    Parameters
    ----------
    meta
        ``results/data/<fingerprint>/meta.json``. The lock lies beside that folder and not in it: it
        is the dataset's own, whose code may empty it.

    Raises
    ------
    UserError
        If the user's code breaks its contract, or preparing the dataset fails.
    """
    folder = meta.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_file = folder.with_name(f"{folder.name}.lock")
    held = lock_if_free(lock_file)
    if held is None:
        print(
            f"{study.name}: waits for another snakemake, which prepares the same dataset in "
            f"{folder}",
            file=sys.stderr,
        )
        held = lock(lock_file)
    with held:
        if not is_measured(meta):
            prepare(study, meta)
