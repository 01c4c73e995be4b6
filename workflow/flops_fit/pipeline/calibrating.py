"""The short timed trainings of ``results/<study>/calibration/``, through the launcher and trainer.

Nothing of it is ever an experiment of the study: it has its own folder with its own ``specs.json``
and records, which nothing but `calibration.json` there is made of.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.fields import from_plain, to_plain
from flops_fit.files.reading import parse_json
from flops_fit.files.writing import write_json
from flops_fit.launch.device import Device
from flops_fit.pipeline.outlook import Outlook
from flops_fit.pipeline.status import last_lines, log_file
from flops_fit.plan.calibration import Guess, Trial, trials_for
from flops_fit.plan.hours import Timed, median_of
from flops_fit.plan.job import Job
from flops_fit.plan.planned_code import FILE as CODE_FILE
from flops_fit.records.experiment_files import run_file
from flops_fit.records.run_record import RunRecord, read_record
from flops_fit.records.timings import Timing
from flops_fit.study.identity import fingerprint

FOLDER, FILE = "calibration", "calibration.json"

Tell = Callable[[int, int], None]
"""Called with how many trials are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was timed: ``calibration.json``."""

    key: str  # of everything that it depends on
    device: Device
    side_by_side: int
    seconds: float  # that it took
    cpu_share: float  # CPU seconds that it got, for each second and process
    points: list[Any]  # Timed, in the file as plain objects

    @classmethod
    def read(cls, study_folder: str | Path) -> Calibration | None:
        """Return the calibration of a study; None if there is none, or it cannot be read."""
        try:
            found = from_plain(cls, parse_json(Path(study_folder) / FOLDER / FILE))
            points = [from_plain(Timed, point) for point in found.points]
        except (OSError, ValueError):
            return None
        return replace(found, points=points) if points else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The trials of a study on this hardware, and what their times depend on."""

    study_folder: Path
    device: Device
    side_by_side: int
    threads: int  # of a process
    trials: tuple[Trial, ...]
    jobs: Mapping[str, Job]  # of the trials, by id, in their order

    @classmethod
    def of(
        cls,
        outlook: Outlook,
        device: Device,
        side_by_side: int,
        guess: Guess,
    ) -> Bench:
        """Return the trials that calibrate what a study will train.

        Raises
        ------
        UserError
            If the plan's ``specs.json`` cannot be read.
        """
        trials = trials_for(outlook.rows, side_by_side, guess)
        of_row = {
            run_id: outlook.job(run_id) for run_id in {trial.experiment.id for trial in trials}
        }
        jobs = [trial.job(of_row[trial.experiment.id]) for trial in trials]
        return cls(
            study_folder=outlook.study_folder,
            device=device,
            side_by_side=side_by_side,
            threads=guess.threads,
            trials=tuple(trials),
            jobs={job.id: job for job in jobs},
        )

    @property
    def folder(self) -> Path:
        """Where everything of the calibration lies."""
        return self.study_folder / FOLDER

    @property
    def key(self) -> str:
        """Fingerprint of what the times depend on: trainings, code, processes, hardware."""
        accelerate = {job.accelerate_config for job in self.jobs.values()} - {None}
        texts = [_text(self.study_folder / CODE_FILE), *(_text(Path(p)) for p in accelerate)]
        return fingerprint(
            {
                "jobs": {run_id: [job.processes, job.compile] for run_id, job in self.jobs.items()},
                "code": texts,
                "device": [self.device.name, self.device.host],
                "side_by_side": self.side_by_side,
                "threads": self.threads,
            }
        )

    def earlier(self) -> Calibration | None:
        """Return the calibration that is there, if nothing has changed since."""
        found = Calibration.read(self.study_folder)
        return found if found is not None and found.key == self.key else None


def calibrate(bench: Bench, tell: Tell = lambda done, of: None) -> Calibration:
    """Run the trials, as many side by side as experiments will, and write what was timed.

    Raises
    ------
    UserError
        If a trial fails: no experiment like it would succeed either.
    """
    shutil.rmtree(bench.folder, ignore_errors=True)
    plain = {run_id: job.to_json() for run_id, job in bench.jobs.items()}
    write_json(bench.folder / "specs.json", plain)
    whole: dict[str, float] = {}
    begun, used = time.monotonic(), _cpu_seconds()
    tell(0, len(bench.jobs))
    with ThreadPoolExecutor(bench.side_by_side) as pool:
        for run_id, seconds in pool.map(lambda job: _launch(bench, job), bench.jobs.values()):
            whole[run_id] = seconds
            tell(len(whole), len(bench.jobs))
    asked = sum(whole[run_id] * job.processes for run_id, job in bench.jobs.items())
    made = Calibration(
        key=bench.key,
        device=bench.device,
        side_by_side=bench.side_by_side,
        seconds=time.monotonic() - begun,
        cpu_share=(_cpu_seconds() - used) / asked,
        points=_points(bench, whole),
    )
    write_json(bench.folder / FILE, to_plain(made))
    return made


def _launch(bench: Bench, job: Job) -> tuple[str, float]:
    """Train one trial as the train rule would; return its id and seconds."""
    log = log_file(bench.folder, job.id)
    command = [
        sys.executable, "-m", "flops_fit.launch", f"--plan={bench.folder / 'plan.csv'}",
        f"--id={job.id}", f"--log={log}", f"--threads={bench.threads * job.processes}",
    ]  # fmt: skip
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    seconds = time.monotonic() - begun
    if done.returncode:
        said = last_lines(log) or done.stderr.strip()[-300:] or f"status {done.returncode}"
        said = said.removeprefix("error: ").splitlines()[-1]
        raise UserError(f"{log}: the calibration failed for {job.title}: {said}")
    return job.id, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    trial: Trial
    record: RunRecord
    timing: Timing
    whole: float

    @property
    def cell(self) -> tuple[int, int, int]:
        row = self.trial.experiment
        return row.n_params_non_embedding, row.batch, row.processes


def _points(bench: Bench, whole: Mapping[str, float]) -> list[Timed]:
    trained = [
        _trained(bench, trial, run_id, whole[run_id])
        for trial, run_id in zip(bench.trials, bench.jobs, strict=True)
    ]
    full = [one for one in trained if not one.trial.shorter]
    first = _first_steps(full, [one for one in trained if one.trial.shorter])
    by_cell: dict[tuple[int, int, int], list[Timed]] = {}
    for one in full:
        by_cell.setdefault(one.cell, []).append(_timed(one, first))
    return [median_of(alike) for _, alike in sorted(by_cell.items())]


def _trained(bench: Bench, trial: Trial, run_id: str, whole: float) -> _Trained:
    record = read_record(run_file(bench.folder, run_id))
    timing = Timing.of(record)
    if timing is None:
        raise UserError(
            f"{run_file(bench.folder, run_id)}: throughput: found none that could be measured, "
            "expected the seconds of the training; run `snakemake calibrate` again"
        )
    return _Trained(trial=trial, record=record, timing=timing, whole=whole)


def _first_steps(full: Sequence[_Trained], shorter: Sequence[_Trained]) -> float:
    """Return the seconds that the first steps take beyond those of as many later ones.

    Kernels are loaded, chosen and compiled in them. Two trainings that differ in their number of
    steps alone tell: seconds = first + steps * step.
    """
    cell, steps = shorter[0].cell, shorter[0].timing.steps
    long = [one.timing for one in full if one.cell == cell]
    short_seconds = median(one.timing.training for one in shorter)
    long_seconds, long_steps = median(t.training for t in long), long[0].steps
    if long_steps == steps:
        return 0.0
    first = (long_steps * short_seconds - steps * long_seconds) / (long_steps - steps)
    return min(max(first, 0.0), short_seconds)


def _timed(one: _Trained, first: float) -> Timed:
    row, timing = one.trial.experiment, one.timing
    first = min(first, timing.training / 2)
    evaluated = one.record.spec.eval_units if one.record.completed else 0
    return Timed(
        N=row.n_params_non_embedding,
        flops_per_unit=row.flops_per_unit,
        batch=row.batch,
        processes=row.processes,
        step_seconds=(timing.training - first) / timing.steps,
        startup_seconds=timing.startup + first,
        launch_seconds=timing.launch(one.whole),
        eval_unit_seconds=timing.evaluation / evaluated if evaluated else None,
    )


def _cpu_seconds() -> float:
    """Return the CPU time of all finished children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
