"""What one round of a design decided: ``rounds/<round>.json``, which lasts, and its table and text.

Snakemake deletes the table and the text before it plans a round again; the decision is what the
round is made from again, so that it never changes once something of it was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from flops_fit.files.fields import FieldError, from_plain, to_plain
from flops_fit.files.reading import make_room, read_json_object
from flops_fit.files.rows import csv_text
from flops_fit.files.writing import write_json
from flops_fit.plan.experiment import PlannedExperiment

TRAINED_ALREADY = "trained already"
"""Why an experiment is in a round that did not choose it."""
BROUGHT_ALONG, DONE = "brought along", "done"
"""Kinds of rounds that train nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenExperiment(PlannedExperiment):
    """A row of ``rounds/<round>.csv``: a planned experiment, why, and what is expected of it."""

    why: str
    predicted_loss: float | None = None  # nats per unit; None without a prediction
    predicted_std: float | None = None  # its standard deviation, with the noise of a run

    @property
    def planned(self) -> PlannedExperiment:
        """The row of ``plan.csv``."""
        return PlannedExperiment(
            **{one.name: getattr(self, one.name) for one in fields(PlannedExperiment)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a round was decided for."""

    target: float  # FLOPs
    spend: float  # FLOPs
    precision: float | None  # what the spend follows from, if anything
    budgets: list[float]  # the ladder, FLOPs


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One round."""

    round: int
    kind: str  # of the round, or BROUGHT_ALONG
    why: str
    checks: Mapping[str, float | None]
    asked: Asked
    chosen: tuple[ChosenExperiment, ...]
    along: tuple[ChosenExperiment, ...] = ()  # trained already, and not for this round

    @property
    def rows(self) -> tuple[ChosenExperiment, ...]:
        """All experiments of the round."""
        return (*self.along, *self.chosen)

    @property
    def done(self) -> bool:
        """Whether it ends the design."""
        return self.kind == DONE

    def write(self, folder: str | Path) -> None:
        """Write ``<round>.json`` into the folder of the rounds."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        plain["asked"] = to_plain(self.asked)
        plain["checks"] = dict(self.checks)
        for name in ("chosen", "along"):
            plain[name] = [to_plain(row) for row in plain[name]]
        write_json(decision_file(folder, self.round), plain)


def decision_file(folder: str | Path, number: int) -> Path:
    """Path of the decision of a round in the folder of the rounds."""
    return Path(folder) / f"{number}.json"


def read_decision(folder: str | Path, number: int) -> Decision | None:
    """Return the decision of a round, None if there is none.

    Raises
    ------
    UserError
        If it is damaged; it was renamed.
    """
    path = decision_file(folder, number)
    try:
        plain = read_json_object(path, [one.name for one in fields(Decision)])
    except FileNotFoundError:
        return None
    try:
        rows = {
            name: tuple(from_plain(ChosenExperiment, row) for row in plain[name])
            for name in ("chosen", "along")
        }
        asked = from_plain(Asked, plain["asked"])
        if plain["round"] != number:
            raise FieldError(f"round: found {plain['round']!r:.80}, expected {number}")
        return Decision(**plain | rows | {"asked": asked})
    except (FieldError, TypeError) as error:
        consequence = "decides the round again, from the runs before it"
        raise make_room(path, str(error), consequence) from None


def decided_rounds(folder: str | Path) -> list[int]:
    """Return the numbers of the rounds that have a decision, ascending."""
    stems = (path.stem for path in Path(folder).glob("*.json"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def round_csv(decision: Decision) -> str:
    """Return the text of ``rounds/<round>.csv``."""
    return csv_text(ChosenExperiment, decision.rows)
