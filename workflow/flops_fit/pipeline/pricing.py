"""The price that `snakemake plan` shows: the speed is looked up, or timed where that is cheap."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from flops_fit.errors import UserError
from flops_fit.launch.device import Device
from flops_fit.pipeline.calibrating import FILE, Bench, Calibration, calibrate
from flops_fit.pipeline.outlook import Outlook, Part
from flops_fit.pipeline.speeds import speed_of_study
from flops_fit.plan.calibration import Guess, guessed_wall_seconds
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import DESIGN_FOLDER
from flops_fit.plan.hours import Room, Speed, Work
from flops_fit.plan.price import Price, Priced
from flops_fit.plan.price_text import duration_text, price_text
from flops_fit.plan.trunks import steps_with_trunks
from flops_fit.study.study import Study

_CALIBRATE = "`snakemake calibrate` times a few short trainings"
_OR_GIVEN = "or plan.hardware says how fast it is (config/README.md)"
# A calibration that nobody asked for takes no longer than this, and at most this share of what the
# trainings of the study take together, both by a guess.
_LONGEST_SECONDS = 120.0
_LARGEST_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a call of Snakemake gives its experiments, as plain values.

    Parameters
    ----------
    cores, gpus, jobs
        How many at a time; None: no limit.
    threads
        Of one process.
    on_cluster
        Whether experiments are jobs on other machines than the one that this process runs on.
    in_job
        Whether this process is such a job, which has the hardware of one experiment.
    """

    cores: int | None
    gpus: int | None = None
    jobs: int | None = None
    threads: int = 1
    on_cluster: bool = False
    in_job: bool = False

    def room(self, device: Device | None) -> Room:
        """Return what runs side by side; experiments wait for a GPU where there is none free."""
        if self.on_cluster:
            return Room(gpus=self.gpus, jobs=self.jobs)
        if self.in_job:
            return Room(jobs=1)
        here = device.count if device is not None and device.is_gpu else None
        limits = [limit for limit in (self.gpus, here) if limit is not None]
        return Room(cores=self.cores, gpus=min(limits, default=None))


def summary_of(study_folder: Path) -> str:
    """Return the text of a plan.

    Raises
    ------
    UserError
        If it is not there.
    """
    file = study_folder / "plan.log"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        table = study_folder / DESIGN_FOLDER / "0.csv"
        raise UserError(
            f"{file}: is missing, expected the text that is written with the plan; delete {table} "
            "and run snakemake again: it is written again, and what is trained stays"
        ) from None


def price_of_plan(study: Study, outlook: Outlook, call: Call) -> str:
    """Return the text of a plan's price; what is not known and cheap to time is timed.

    Raises
    ------
    UserError
        If a file of the plan cannot be read.
    """
    device = None if call.on_cluster else Device.here()
    speed, missing = _speed(study, outlook, call, device)
    eval_units = outlook.job(outlook.rows[0].id).spec.eval_units
    steps: dict[str, int] = {}
    if study.plan.trunks:
        steps = steps_with_trunks({row.id: outlook.job(row.id).spec for row in outlook.rows})
    price = Price(
        parts=tuple(_priced(part, outlook, eval_units, steps) for part in outlook.parts),
        speed=speed,
        room=call.room(device),
        threads=call.threads,
        per_hour=study.plan.price_per_gpu_hour,
        in_rounds=outlook.in_rounds,
    )
    return price_text(price, missing, outlook.unforeseen)


def calibrate_study(outlook: Outlook, call: Call) -> str:
    """Time the short trainings of a study, unless nothing has changed since; return a sentence.

    Raises
    ------
    UserError
        If one of them fails.
    """
    bench = _bench(outlook, call, Device.here())
    file = bench.folder / FILE
    if bench.earlier() is not None:
        return f"Nothing that matters has changed since this was timed: {file}"
    made = _timed(bench)
    return f"Timed {len(made.points)} kinds of trainings on {made.device}: {file}"


def work_of(row: PlannedExperiment, eval_units: float = 0.0) -> Work:
    """Return what a planned experiment asks of the hardware."""
    return Work(
        N=row.n_params_non_embedding,
        flops_per_unit=row.flops_per_unit,
        batch=row.batch,
        steps=row.steps,
        processes=row.processes,
        eval_units=eval_units,
    )


def _priced(part: Part, outlook: Outlook, eval_units: float, steps: Mapping[str, int]) -> Priced:
    """Return a part with what it costs; `steps` are those of each experiment that has a trunk."""
    paid = [replace(row, steps=steps.get(row.id, row.steps)) for row in part.rows]
    return Priced(
        name=part.name,
        works=tuple(work_of(row, eval_units) for row in paid),
        trained=tuple(not part.expected and outlook.trained(row) for row in part.rows),
        expected=part.expected,
    )


def _speed(
    study: Study, outlook: Outlook, call: Call, device: Device | None
) -> tuple[Speed | None, str]:
    """Return the speed, and why it is not known, or not for all sizes, where it is not."""
    rows, folder = outlook.rows, outlook.study_folder
    speed = speed_of_study(study, rows, folder, device)
    if speed is not None and all(speed.reaches(row.n_params_non_embedding) for row in rows):
        return speed, ""
    if device is None:
        return speed, f"{_CALIBRATE} on a node of the cluster, {_OR_GIVEN}"
    bench, guess = _bench(outlook, call, device), _guess(call, device)
    takes = guessed_wall_seconds(bench.trials, bench.side_by_side, guess)
    training = sum(row.steps * guess.step(row) for row in rows)
    if takes > min(_LONGEST_SECONDS, _LARGEST_SHARE * training):
        about = duration_text(takes / 3600)
        return speed, f"{_CALIBRATE} on this hardware (about {about}, by a guess), {_OR_GIVEN}"
    try:
        if bench.earlier() is None:
            _timed(bench)
    except UserError as error:
        return speed, str(error)
    return speed_of_study(study, rows, folder, device), ""


def _guess(call: Call, device: Device) -> Guess:
    return Guess(on_gpus=device.is_gpu, threads=call.threads)


def _bench(outlook: Outlook, call: Call, device: Device) -> Bench:
    rows = outlook.rows
    price = Price(parts=(), speed=None, room=call.room(device), threads=call.threads)
    side_by_side = min(price.side_by_side([work_of(row) for row in rows]), len(rows))
    return Bench.of(outlook, device, side_by_side, _guess(call, device))


def _timed(bench: Bench) -> Calibration:
    """Calibrate with a progress bar on a terminal."""
    print(
        f"Timing {len(bench.trials)} short trainings, {bench.side_by_side} side by side, as no "
        f"run of this study is timed yet ({bench.folder})",
        file=sys.stderr,
    )
    bar = tqdm(total=len(bench.trials), disable=None, unit="training", leave=False)

    def tell(done: int, of: int) -> None:
        bar.n = done
        bar.refresh()

    try:
        return calibrate(bench, tell)
    finally:
        bar.close()
