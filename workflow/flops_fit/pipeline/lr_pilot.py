"""Plans the waves of a learning-rate pilot, and gives a study the rates that it decided."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError, from_plain, to_plain
from flops_fit.files.reading import DamagedFileError, make_room, parse_json, read_json_object
from flops_fit.files.rows import csv_text, read_rows
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.pipeline.measuring import sizes_once
from flops_fit.pipeline.pilot_places import pilot_cells
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.lr_pilot import (
    PilotExperiment,
    decide,
    decision_text,
    pilot_key,
    plan_of_pilot,
    stored_decision,
    wave,
)
from flops_fit.plan.plan import check_growth, make_plan
from flops_fit.plan.summary import plan_headline, plan_summary
from flops_fit.records.experiment_files import run_file
from flops_fit.study.recipe_rules import LrFactor
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

FOLDER = "lr_pilot"
"""Below a study's folder; it holds the pilot's own plan, runs and logs."""

_DECISION, _TEXT = "decision.json", "decision.md"


@dataclass(slots=True)
class Stored:
    """``decision.json``: the waves that were planned, and the decision once there is one."""

    key: str
    waves: list[list[PilotExperiment]]
    decision: dict[str, Any] | None = None

    @property
    def rows(self) -> list[PilotExperiment]:
        """All experiments."""
        return [row for rows in self.waves for row in rows]


def with_tuned_rates(study: Study, data: DatasetMeta, study_folder: str | Path) -> Study:
    """Return the study with the learning rates of its pilot; itself if it has none.

    Raises
    ------
    UserError
        If the pilot has not decided yet, or what it decided belongs to another recipe.
    """
    if not study.plan.lr_pilot:
        return study
    file = Path(study_folder) / FOLDER / _DECISION
    stored = _read(file)
    if stored is None or stored.decision is None or stored.key != pilot_key(study, data):
        raise UserError(
            f"{file}: holds no decision for the present recipe of {study.config_file}, expected "
            "that of a finished learning-rate pilot (plan.lr_pilot); run snakemake again"
        )
    try:
        rule = from_plain(LrFactor, stored.decision["rule"], closed=True)
    except (FieldError, KeyError) as error:
        raise make_room(file, str(error)) from None
    return dataclasses.replace(study, lr_factor=rule)


def plan_wave(
    study: Study, data: DatasetMeta, data_folder: Path, number: int, table: Path, summary: Path
) -> str:
    """Plan a wave of a pilot, write its files, and return it in one line.

    What was planned before stays, as long as the recipe is the same and something of it was
    trained; the last wave is empty, and decides.

    Parameters
    ----------
    table, summary
        ``results/<study>/lr_pilot/waves/<number>.csv``, and ``.log`` for people.

    Raises
    ------
    UserError
        If the user's code breaks its contract, or the pilot cannot be planned or decided.
    """
    folder = table.parents[1]
    sizes = sizes_once(study, data, data_folder, folder)
    check_growth(study, sizes)
    stored = _standing(folder, pilot_key(study, data))
    if number > len(stored.waves):
        raise UserError(
            f"{study.config_file}: was edited while the learning-rate pilot ran; run snakemake "
            "again: it begins anew with the new recipe"
        )
    if number == len(stored.waves):
        losses = _losses(study, stored.rows, folder)
        rows = wave(study, data, sizes, pilot_cells(study, data, sizes, folder.parent), losses)
        stored.waves.append(rows)
        if not rows:
            decision = decide(study, stored.rows, losses)
            counts = [one.n_params_non_embedding for one in sizes.values()]
            text = decision_text(study, decision, stored.rows, losses, (min(counts), max(counts)))
            write_whole(folder / _TEXT, text)
            stored.decision = stored_decision(decision)
    _write(folder, stored, study, data, data_folder)
    write_whole(summary, _summary(study, data, sizes, stored))
    write_whole(table, csv_text(PilotExperiment, stored.waves[number]))
    if not stored.waves[number]:
        return f"learning-rate pilot decided: {folder / _TEXT}"
    return f"learning-rate pilot, wave {number}: {len(stored.waves[number])} experiments"


def runs_of_wave(table: str | Path) -> list[str]:
    """Return the records that a wave of a pilot needs; without any it was the last.

    Raises
    ------
    UserError
        If its table is damaged; it was renamed.
    """
    folder = Path(table).parents[1]
    rows = read_rows(table, PilotExperiment, exact=True)
    return [str(run_file(folder, row.id)) for row in rows]


def plan_pilot_again_if_lost(study_folder: str | Path) -> None:
    """Have Snakemake plan the waves of a pilot again if one of its files is gone.

    No rule declares them. Trained waves come out as they were: they follow from their runs.
    """
    folder = Path(study_folder) / FOLDER
    if not all((folder / name).exists() for name in (_DECISION, "plan.csv", "specs.json")):
        for table in folder.glob("waves/*.csv"):
            table.unlink()


def is_decided(study: Study, study_folder: str | Path, meta_file: str | Path) -> bool:
    """Say whether a pilot of the study's present recipe was decided."""
    try:
        stored = parse_json(Path(study_folder) / FOLDER / _DECISION)
        decided = stored["decision"] is not None
        return decided and stored["key"] == pilot_key(study, DatasetMeta.load(meta_file))
    except (OSError, DamagedFileError, KeyError, TypeError, UserError):
        return False


def in_pilot(study_folder: str | Path) -> bool:
    """Say whether a study has got as far as its pilot, which has not decided."""
    folder = Path(study_folder)
    pilot = folder / FOLDER
    planned = (pilot / "plan.csv").exists() and not (folder / "plan.csv").exists()
    return planned and not (pilot / _TEXT).exists()


def _losses(
    study: Study, rows: Sequence[PilotExperiment], folder: Path
) -> dict[tuple[float, float], dict[float, float | None]]:
    """Return the losses by (budget, size) and factor; None where a run diverged."""
    runs = collect_runs([row.planned for row in rows], folder, "non_embedding", study.name)
    found: dict[tuple[float, float], dict[float, float | None]] = defaultdict(dict)
    for row, run in zip(rows, runs, strict=True):
        found[row.budget, row.size][row.factor] = run.loss if run.completed else None
    return found


def _standing(folder: Path, key: str) -> Stored:
    """Return what was planned for this recipe and begun, or nothing."""
    stored = _read(folder / _DECISION)
    same = stored is not None and stored.key == key
    if same and any(run_file(folder, row.id).exists() for row in stored.rows):
        return stored
    (folder / _TEXT).unlink(missing_ok=True)
    return Stored(key=key, waves=[])


def _read(file: Path) -> Stored | None:
    if not file.exists():
        return None
    plain = read_json_object(file, ("key", "waves", "decision"))
    try:
        waves = [[from_plain(PilotExperiment, row) for row in rows] for rows in plain["waves"]]
    except (FieldError, TypeError) as error:
        raise make_room(file, str(error)) from None
    return Stored(key=plain["key"], waves=waves, decision=plain["decision"])


def _write(
    folder: Path, stored: Stored, study: Study, data: DatasetMeta, data_folder: Path
) -> None:
    plan = plan_of_pilot(study, data, stored.rows)
    waves = [[to_plain(row) for row in rows] for rows in stored.waves]
    content = {"key": stored.key, "waves": waves, "decision": stored.decision}
    write_json(folder / _DECISION, content)
    specs = plan_specs(plan, study, data_folder=str(data_folder), search_folder=str(study.folder))
    write_json(folder / "specs.json", specs)
    write_whole(folder / "plan.csv", plan_csv(plan))


def _summary(
    study: Study, data: DatasetMeta, sizes: Mapping[float, SizeMeasure], stored: Stored
) -> str:
    """Return what the pilot trains, and the sweep as it would be with the rates of train.lr."""
    pilot = plan_of_pilot(study, data, stored.rows)
    lines = [f"Learning-rate pilot, before the sweep: {plan_headline(pilot)}"]
    for row in stored.rows:
        lines.append(f"  budget {row.budget:.4g}, size {row.size:g}: lr {row.lr:g}")
    if study.plan.designed:
        lines += ["", "The design, which gets its learning rates from it, is planned afterwards; "
                  "its spend does not hold the pilot."]  # fmt: skip
        return "\n".join(lines) + "\n"
    lines += ["", "The sweep, which gets its learning rates from it:", ""]
    return "\n".join(lines) + "\n" + plan_summary(make_plan(study, sizes, data))
