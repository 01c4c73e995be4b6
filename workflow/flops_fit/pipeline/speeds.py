"""How fast a study trains, by the best that is known: given, its own runs, a calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flops_fit.errors import UserError
from flops_fit.launch.device import Device
from flops_fit.pipeline.calibrating import FILE, FOLDER, Calibration
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.hours import GivenSpeed, MeasuredSpeed, Speed, Timed, median_of
from flops_fit.records.experiment_files import run_file
from flops_fit.records.run_record import read_record
from flops_fit.records.timings import Timing, job_seconds
from flops_fit.study.study import Study

# Undisturbed, trainings and their start use their cores nearly all of the time.
_QUIET = 0.6
_MOST_ALIKE = 3  # runs of one size, batch and number of processes that are read


def speed_of_study(
    study: Study,
    planned: Sequence[PlannedExperiment],
    study_folder: str | Path,
    device: Device | None = None,
) -> Speed | None:
    """Return how fast the study's experiments train, by the best that is known.

    ``speed.duration(Work(N=, flops_per_unit=, batch=, steps=, processes=, eval_units=))`` then
    gives the seconds of an experiment (`flops_fit.plan.hours`), of planned sizes or others;
    ``speed.reaches(N)`` says whether N lies within what was timed.

    What the study gives (``plan.hardware``) counts first. Otherwise its own finished runs and its
    calibration count together, the runs where both have the same size, batch and processes.

    Parameters
    ----------
    planned
        The experiments of ``plan.csv``.
    study_folder
        ``results/<study>``.
    device
        What was measured on it counts alone; None takes the device of most runs, else that of the
        calibration.

    Returns
    -------
    Speed or None
        None if nothing is known.
    """
    if (hardware := study.plan.hardware) is not None:
        flops = hardware.speed_of_process(study.train.precision)
        return GivenSpeed(
            flops_per_second=flops,
            source=f"{hardware} (plan.hardware)",
            on_gpus=hardware.gpu is not None,
        )
    own = list(_own_runs(planned, Path(study_folder)))
    calibration = Calibration.read(study_folder)
    if device is None and own:
        device = Counter(run.device for run in own).most_common(1)[0][0]
    if device is None and calibration is not None:
        device = calibration.device
    alike: dict[tuple[int, int, int], list[Timed]] = {}
    for run in own:
        if run.device == device:
            alike.setdefault(run.point.cell, []).append(run.point)
    points = [median_of(several) for several in alike.values()]
    source = "by the study's own runs" if points else ""
    if calibration is not None and calibration.device == device:
        more = [point for point in calibration.points if point.cell not in alike]
        source = " and ".join(filter(None, [source, _named(calibration, study_folder, more)]))
        points += more
    if not points:
        return None
    return MeasuredSpeed(
        points=tuple(points), source=f"measured on {device}, {source}", on_gpus=device.is_gpu
    )


def _named(calibration: Calibration, study_folder: str | Path, points: Sequence[Timed]) -> str:
    """Return where points of a calibration are from; nothing if there are none."""
    if not points:
        return ""
    text = f"by {Path(study_folder) / FOLDER / FILE}"
    if not calibration.device.is_gpu and calibration.cpu_share < _QUIET:
        text += (
            f" (other programs used the cores while it was timed, which left it "
            f"{calibration.cpu_share:.0%} of their time; delete it to time it again)"
        )
    return text


@dataclass(frozen=True, slots=True)
class _Run:
    device: Device
    point: Timed


def _own_runs(planned: Sequence[PlannedExperiment], folder: Path) -> Iterator[_Run]:
    """Yield what finished runs tell, a few of each kind."""
    read: Counter[tuple[int, int, int]] = Counter()
    for row in planned:
        kind = (row.n_params_non_embedding, row.batch, row.processes)
        if read[kind] < _MOST_ALIKE and (run := _own_run(row, folder)) is not None:
            read[kind] += 1
            yield run


def _own_run(row: PlannedExperiment, folder: Path) -> _Run | None:
    try:
        record = read_record(run_file(folder, row.id))
    except (OSError, UserError):  # it is said where runs are collected
        return None
    timing = Timing.of(record)
    if timing is None or record.world.num_processes != row.processes:
        return None
    evaluated = record.spec.eval_units if record.completed else 0
    point = Timed(
        N=row.n_params_non_embedding,
        flops_per_unit=row.flops_per_unit,
        batch=row.batch,
        processes=row.processes,
        step_seconds=timing.training / timing.steps,
        startup_seconds=timing.startup,
        launch_seconds=timing.launch(job_seconds(folder, row.id)),
        eval_unit_seconds=timing.evaluation / evaluated if evaluated else None,
    )
    return _Run(device=Device.of_record(timing.device, timing.hosts), point=point)
