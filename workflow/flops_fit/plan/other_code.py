"""Before an experiment is trained: would it be fitted together with runs of other code?

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.records.experiment_files import recorded, run_file
from flops_fit.records.merged_runs import listed
from flops_fit.records.run_record import Provenance, read_provenance
from flops_fit.study.identity import is_present_method

_VERSION_KEYS = {
    "model": "model.version",
    "dataset": "dataset.version",
    "loss": "loss.version",
    "optimizer": "train.optimizer.version",
}

Fingerprints = Mapping[str, str | None]  # by part


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCode:
    """Trained experiments of a plan whose code is not the present one."""

    parts: dict[str, list[str]]  # part -> ids
    same: list[str]  # ids of the trained ones with the present code

    @property
    def ids(self) -> list[str]:
        """The experiments with other code in any part."""
        return list(dict.fromkeys(run_id for ids in self.parts.values() for run_id in ids))


def trained_code(
    study_folder: str | Path, planned: Collection[str], excluded: Collection[str] = ()
) -> dict[str, Provenance]:
    """Return the provenance of the planned experiments that are completed and will be fitted.

    Parameters
    ----------
    planned
        Ids of the plan.
    excluded
        Ids that ``fit.exclude`` names.
    """
    there = recorded(study_folder)  # one listing, however many experiments are planned
    found = {
        run_id: read_provenance(run_file(study_folder, run_id))
        for run_id in planned
        if run_id in there and run_id not in excluded
    }
    return {run_id: provenance for run_id, provenance in found.items() if provenance is not None}


def other_code(
    trained: Mapping[str, Provenance],
    present: Callable[[Sequence[str]], Fingerprints],
    present_files: Fingerprints | None = None,
) -> OtherCode | None:
    """Return which trained experiments have other code than the present one; None if none has.

    Parameters
    ----------
    trained
        From `trained_code`.
    present
        Returns the present fingerprints, given the modules that a record names as ``imported``.
    present_files
        The present fingerprints in the manner of version 0.1; None leaves its records out.
    """
    parts: dict[str, list[str]] = {}
    same = []
    for run_id, provenance in trained.items():
        now = present(provenance.imported)
        if not is_present_method(provenance.source.values()):
            now = present_files
        differing = [
            part for part, source in (now or {}).items() if provenance.source.get(part) != source
        ]
        for part in differing:
            parts.setdefault(part, []).append(run_id)
        if now is not None and not differing:
            same.append(run_id)
    return OtherCode(parts=parts, same=same) if parts else None


def refuse_other_code(
    found: OtherCode,
    *,
    source: str,
    study_folder: str | Path,
    targets: Mapping[str, str],
    costs: Mapping[str, float],
    trained: Collection[str],
) -> UserError:
    """Return the error that names what is mixed, the ways out, and what they cost.

    Parameters
    ----------
    source
        What the sentence begins with, such as the configuration file.
    targets
        Part -> import path.
    costs
        Planned experiments: id -> C in FLOPs.
    trained
        Those of them that are trained.
    """
    ids = found.ids
    parts = " and ".join(f"{part} ({targets[part]})" for part in found.parts)
    versions = " and ".join(_VERSION_KEYS[part] for part in found.parts)
    spent = sum(costs[run_id] for run_id in trained)
    ways = [
        "undo the edit",
        f"raise {versions}, which trains all {len(costs)} experiments anew for "
        f"{sum(costs.values()):.3g} FLOPs ({len(trained)} of them and {spent:.3g} FLOPs a second "
        "time)",
        "set fit.allow_mixed_code: true, which fits them together with a warning",
    ]
    if found.same:
        again = sum(costs[run_id] for run_id in ids)
        ways.append(
            f"delete the {len(ids)} with the other code, {study_folder}/runs/<id>.json and "
            f"{study_folder}/state/<id>, which trains them alone again for {again:.3g} FLOPs"
        )
    return UserError(
        f"{source}: the code of {parts} is not that of {len(ids)} of the {len(trained)} trained "
        f"experiments ({listed(ids)}), so what is still to be trained would be of another kind; "
        f"{', or '.join(ways)}"
    )
