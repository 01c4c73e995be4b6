"""Which studies know an experiment, by its id. It only reads: nothing is renamed or locked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.fields import FieldError
from flops_fit.files.reading import DamagedFileError, other_kind, parse_csv, parse_json
from flops_fit.files.rows import columns_of, row_of_texts
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.job import Job

_ID = re.compile(r"[0-9a-f]{12}")
_BEGINNING = re.compile(r"[0-9a-f]+")
_FEWEST_DIGITS = 4
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFiles:
    """What lies in a study's folder, as far as it tells which experiments there are."""

    folder: Path
    entries: Mapping[str, Any]  # of specs.json, unchecked
    rows: Mapping[str, Mapping[str, str]]  # of plan.csv, unchecked
    problems: tuple[str, ...]  # why a file of the plan cannot be read
    left: frozenset[str]  # ids of records, logs and folders under state/

    @property
    def planned(self) -> set[str]:
        """Ids that the plan names."""
        return set(self.entries) | set(self.rows)

    @property
    def known(self) -> set[str]:
        """Ids that the plan names, or that left something in the folder."""
        return self.planned | self.left

    def job(self, run_id: str) -> Job:
        """Return the checked entry of ``specs.json``.

        Raises
        ------
        KeyError
            If there is none.
        FieldError
            If it is damaged.
        """
        return Job.from_json(run_id, self.entries[run_id])

    def row(self, run_id: str) -> PlannedExperiment:
        """Return the row of ``plan.csv``.

        Raises
        ------
        KeyError
            If there is none.
        FieldError
            If it is damaged.
        """
        return row_of_texts(PlannedExperiment, self.rows[run_id], exact=True)

    def title(self, run_id: str) -> str:
        """Return the experiment's name for people, empty where the plan does not tell."""
        for read in (self.row, self.job):
            try:
                return read(run_id).title
            except (KeyError, FieldError):
                continue
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An id, and the studies that know it; or a record that lies outside of a results folder."""

    id: str
    studies: tuple[StudyFiles, ...] = ()
    record_file: Path | None = None


def find_experiments(texts: Sequence[str], results: str | Path) -> list[Found]:
    """Return the experiments that a user named.

    Parameters
    ----------
    texts
        Each an id, the beginning of one, or the path of a run record. The study that such a path
        belongs to comes first, whichever other ones know the same id.
    results
        The folder of the studies; paths bring their own.

    Raises
    ------
    UserError
        If an experiment is not there, or several begin alike.
    """
    studies_in = cache(_read_studies)  # once for all of them
    found = []
    for text in texts:
        path = Path(text)
        if path.suffix != ".json" and os.sep not in text:
            found.append(_find_id(text, Path(results), studies_in(Path(results))))
        elif path.parent.name == "runs":
            # Where the path is too short to show it, as in runs/<id>.json
            path = path if len(path.parts) > 3 else path.absolute()
            found.append(_find_beside(path, studies_in(path.parents[2])))
        else:
            found.append(_record_alone(path))
    return found


def _find_beside(path: Path, studies: Sequence[StudyFiles]) -> Found:
    """Return the experiment of a record in its place, whether it has been written or not."""
    run_id, folder = path.stem, path.parents[1]
    knowing = [study for study in studies if run_id in study.known]
    if not any(study.folder == folder for study in knowing):
        raise UserError(
            f"{path}: there is no such record, and no plan of {folder} names {run_id!r}; expected "
            "an id, or the path of a run record such as results/<study>/runs/<id>.json"
        )
    knowing.sort(key=lambda study: study.folder != folder)
    return Found(id=run_id, studies=tuple(knowing))


def _record_alone(path: Path) -> Found:
    if kind := other_kind(path):
        raise UserError(f"{path}: found {kind}, expected a run record")
    try:
        plain = parse_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file, expected a run record") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except DamagedFileError as error:
        raise UserError(f"{path}: {error}, expected a run record") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("id"), str):
        raise UserError(f"{path}: is no run record: it has no id")
    return Found(id=plain["id"], record_file=path)


def _find_id(text: str, results: Path, studies: Sequence[StudyFiles]) -> Found:
    known = sorted(set().union(*(study.known for study in studies)))
    digits = text.lower()
    matches = [run_id for run_id in known if run_id.startswith(digits)]
    if digits not in known:
        _check_beginning(text, digits, matches, results, studies)
        digits = matches[0]
    return Found(id=digits, studies=tuple(study for study in studies if digits in study.known))


def _check_beginning(
    text: str, digits: str, matches: Sequence[str], results: Path, studies: Sequence[StudyFiles]
) -> None:
    """Raise a UserError unless exactly one id begins with these digits."""
    if table := next((study.folder for study in studies if _is_imported(study, text)), None):
        raise UserError(
            f"{text}: is a row of {table / 'runs.csv'}, which was imported: a run that somebody "
            "else trained has no spec"
        )
    if not _BEGINNING.fullmatch(digits) or len(digits) > 12:
        raise UserError(
            f"{text!r:.80} is no id: expected 12 hexadecimal digits, the first {_FEWEST_DIGITS} or "
            "more of them, or the path of a run record"
        )
    if len(digits) < _FEWEST_DIGITS:
        raise UserError(f"{text}: expected at least {_FEWEST_DIGITS} of the 12 digits of an id")
    if len(matches) > 1:
        raise UserError(f"{text}: {len(matches)} ids begin so: {_named(matches, studies)}")
    if not matches:
        names = ", ".join(study.folder.name for study in studies)
        raise UserError(
            f"{text}: no experiment of {results} has this id (studies: {names}); "
            f"{_nearest(digits, studies)}"
        )


def _nearest(digits: str, studies: Sequence[StudyFiles]) -> str:
    """Return, for a sentence, the ids that share the most first digits."""
    shared = {run_id: _shared_digits(run_id, digits) for study in studies for run_id in study.known}
    most = max(shared.values(), default=0)
    if most == 0:
        return f"none of their {len(shared)} ids begins with {digits[0]}"
    nearest = sorted(run_id for run_id, n in shared.items() if n == most)
    return f"the nearest: {_named(nearest, studies)}"


def _shared_digits(one: str, other: str) -> int:
    """Return how many first digits two ids share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _named(ids: Sequence[str], studies: Sequence[StudyFiles]) -> str:
    """Return ids with study and title for a sentence, some of them if they are many."""
    texts = []
    for run_id in ids[:_MOST_NAMED]:
        knowing = [study for study in studies if run_id in study.known]
        names = ", ".join(study.folder.name for study in knowing)
        title = next(filter(None, (study.title(run_id) for study in knowing)), "")
        texts.append(f"{run_id} ({names}{': ' + title if title else ''})")
    more = len(ids) - _MOST_NAMED
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def _is_imported(study: StudyFiles, text: str) -> bool:
    """Return whether a study brought its own runs, and one of them has this name."""
    try:
        config = parse_json(study.folder / "study.json")["config"]
        rows = parse_csv(study.folder / "runs.csv", ("id",)) if "runs_table" in config else []
    except (OSError, DamagedFileError, KeyError, TypeError):
        return False
    return any(row["id"] == text for row in rows)


def _read_studies(results: Path) -> tuple[StudyFiles, ...]:
    """Return the studies of a results folder, by name."""
    try:
        folders = sorted(path for path in results.iterdir() if os.path.isdir(path))
    except FileNotFoundError:
        raise UserError(
            f"{results}: there is no such folder, expected the one with the studies' results; go "
            "where snakemake ran, or name it with --results"
        ) from None
    except OSError as error:
        raise UserError(f"{results}: cannot be read ({error.strerror})") from None
    studies = tuple(_read_study(path) for path in folders if _is_study(path))
    if not studies:
        hint = f"; --results {results.parent} would be" if _is_study(results) else ""
        raise UserError(f"{results}: holds no study, expected the folder of all studies{hint}")
    return studies


def _is_study(folder: Path) -> bool:
    names = ("study.json", "specs.json", "plan.csv", "runs", "state")
    # results/data holds the prepared datasets, and no study has that name.
    return folder.name != "data" and any(os.path.exists(folder / name) for name in names)


def _read_study(folder: Path) -> StudyFiles:
    problems = []
    entries: Mapping[str, Any] = {}
    rows: Mapping[str, Mapping[str, str]] = {}
    try:
        entries = parse_json(folder / "specs.json")
        if not isinstance(entries, dict):
            raise DamagedFileError(f"found {type(entries).__name__}, expected an object")
    except (OSError, DamagedFileError) as error:
        entries = {}
        problems += _problem(folder / "specs.json", error)
    try:
        columns = columns_of(PlannedExperiment)
        rows = {row["id"]: row for row in parse_csv(folder / "plan.csv", columns)}
    except (OSError, DamagedFileError) as error:
        problems += _problem(folder / "plan.csv", error)
    left = {path.stem for name in ("runs", "logs") for path in _listed(folder / name)}
    left |= {path.name for path in _listed(folder / "state")}
    return StudyFiles(
        folder=folder,
        entries=entries,
        rows=rows,
        problems=tuple(problems),
        left=frozenset(filter(_ID.fullmatch, left)),
    )


def _problem(path: Path, error: Exception) -> list[str]:
    """Return why a file cannot be read; that it is missing is no problem."""
    if isinstance(error, FileNotFoundError):
        return []
    reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
    return [f"{path}: {reason}"]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
