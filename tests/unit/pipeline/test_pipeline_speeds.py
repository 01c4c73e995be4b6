"""How fast a study trains: given, by its own runs on this device, by its calibration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flops_fit.files.fields import to_plain
from flops_fit.files.writing import write_json
from flops_fit.launch.device import Device
from flops_fit.pipeline.calibrating import FILE, FOLDER, Calibration
from flops_fit.pipeline.pricing import work_of
from flops_fit.pipeline.speeds import speed_of_study
from flops_fit.plan.hours import Timed
from flops_fit.records.timings import Timing, job_seconds
from hand_computed import planned, record_of, run_record, small_study

PLAN = planned({"plan.seeds": [0, 1]}).experiments
HERE = Device(name="cpu", host="here")


def trained(
    folder: Path, row, step_seconds: float, *, device: str = "cpu", host: str = "here", **world
) -> None:
    """A run that took so long, and its job 5 seconds more than the trainer saw."""
    seconds = {
        "train_seconds": step_seconds * row.steps,
        "startup_seconds": 2.0,
        "eval_seconds": 1.0,
        "checkpoint_seconds": 0.5,
    }
    world = {"num_processes": 1, "device": device, "hosts": [host], **world}
    record = record_of(row, throughput=seconds, world=world)
    write_json(folder / "runs" / f"{row.id}.json", record)
    benchmark = folder / "benchmarks" / f"{row.id}.tsv"
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    whole = sum(seconds.values()) + 5.0
    benchmark.write_text(f"s\th:m:s\tmax_rss\n{whole}\t0:00:10\t-\n")


def calibrated(folder: Path, rows, step_seconds: float, device: Device = HERE, **more) -> None:
    points = [
        Timed(
            N=row.n_params_non_embedding, flops_per_unit=row.flops_per_unit, batch=row.batch,
            processes=1, step_seconds=step_seconds, startup_seconds=3.0, launch_seconds=4.0,
            eval_unit_seconds=0.01,
        )
        for row in rows
    ]  # fmt: skip
    whole = {"key": "k", "device": device, "side_by_side": 1, "seconds": 9.0, "cpu_share": 1.0}
    made = Calibration(**(whole | more), points=points)
    write_json(folder / FOLDER / FILE, to_plain(made))


def training(speed, row) -> float:
    return speed.duration(work_of(row)).training / row.steps


def test_nothing_is_known_of_a_new_study(tmp_path):
    assert speed_of_study(small_study(), PLAN, tmp_path, HERE) is None


def test_own_runs_tell_all_of_their_seconds(tmp_path):
    trained(tmp_path, PLAN[0], 0.25)
    speed = speed_of_study(small_study(), PLAN, tmp_path, HERE)
    eval_units = run_record(PLAN[0]).spec.eval_units
    duration = speed.duration(work_of(PLAN[0], eval_units))
    assert duration.training == pytest.approx(0.25 * PLAN[0].steps)
    assert duration.evaluation == pytest.approx(1.0)
    assert duration.other == pytest.approx(2.0 + 5.0)
    assert speed.source == "measured on the CPU of here, by the study's own runs"
    assert not speed.on_gpus


def test_runs_on_other_devices_do_not_count(tmp_path):
    trained(tmp_path, PLAN[0], 0.25, device="NVIDIA A100")
    trained(tmp_path, PLAN[1], 0.5, host="elsewhere")
    assert speed_of_study(small_study(), PLAN, tmp_path, HERE) is None
    on_gpu = speed_of_study(small_study(), PLAN, tmp_path, Device(name="NVIDIA A100"))
    assert training(on_gpu, PLAN[0]) == pytest.approx(0.25)
    assert on_gpu.on_gpus


def test_without_a_device_that_of_most_runs_counts(tmp_path):
    trained(tmp_path, PLAN[0], 0.25, device="NVIDIA A100", host="n1")
    trained(tmp_path, PLAN[1], 0.25, device="NVIDIA A100", host="n2")
    trained(tmp_path, PLAN[2], 9.0)
    speed = speed_of_study(small_study(), PLAN, tmp_path)
    assert speed.source == "measured on NVIDIA A100, by the study's own runs"


def test_interrupted_runs_and_those_of_other_processes_do_not_count(tmp_path):
    trained(tmp_path, PLAN[0], 0.25, resumed=True)
    trained(tmp_path, PLAN[1], 0.25, num_processes=2)
    assert speed_of_study(small_study(), PLAN, tmp_path, HERE) is None


def test_own_runs_count_before_the_calibration_of_the_same_size(tmp_path):
    calibrated(tmp_path, PLAN, 1.0)
    trained(tmp_path, PLAN[0], 0.25)
    speed = speed_of_study(small_study(), PLAN, tmp_path, HERE)
    assert training(speed, PLAN[0]) == pytest.approx(0.25)
    assert training(speed, PLAN[-1]) == pytest.approx(1.0)
    both = f"by the study's own runs and by {tmp_path / FOLDER / FILE}"
    assert speed.source == f"measured on the CPU of here, {both}"


def test_a_calibration_on_other_hardware_does_not_count(tmp_path):
    calibrated(tmp_path, PLAN, 1.0, device=Device(name="NVIDIA A100"))
    assert speed_of_study(small_study(), PLAN, tmp_path, HERE) is None
    assert training(speed_of_study(small_study(), PLAN, tmp_path), PLAN[0]) == pytest.approx(1.0)


def test_busy_cores_are_named(tmp_path):
    calibrated(tmp_path, PLAN, 1.0, cpu_share=0.31)
    assert "which left it 31% of their time" in (
        speed_of_study(small_study(), PLAN, tmp_path, HERE).source
    )


def test_what_the_study_gives_counts_first(tmp_path):
    trained(tmp_path, PLAN[0], 0.25)
    study = small_study({"plan.hardware": {"flops_per_second": 1e6}})
    speed = speed_of_study(study, PLAN, tmp_path, HERE)
    assert speed.duration(work_of(PLAN[0])).total == pytest.approx(PLAN[0].C / 1e6)
    assert speed.source == "1e+06 FLOP/s for each process (plan.hardware)"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', '{"points": []}'])
def test_a_damaged_calibration_is_none(tmp_path, damage):
    calibrated(tmp_path, PLAN, 1.0)
    (tmp_path / FOLDER / FILE).write_text(damage)
    assert Calibration.read(tmp_path) is None
    assert speed_of_study(small_study(), PLAN, tmp_path, HERE) is None


@pytest.mark.parametrize(
    "throughput",
    [{}, {"train_seconds": 1.0}, {"train_seconds": "1", "startup_seconds": 1, "eval_seconds": 1},
     {"train_seconds": 0, "startup_seconds": 1, "eval_seconds": 1},
     {"train_seconds": -1.0, "startup_seconds": 1, "eval_seconds": 1},
     {"train_seconds": True, "startup_seconds": 1, "eval_seconds": 1}],
)  # fmt: skip
def test_records_that_say_too_little_have_no_timing(throughput):
    world = {"num_processes": 1, "device": "cpu", "hosts": ["here"]}
    assert Timing.of(run_record(PLAN[0], throughput=throughput, world=world)) is None


def test_a_job_that_found_a_stored_record_tells_nothing_of_its_launch():
    seconds = {"train_seconds": 10.0, "startup_seconds": 2.0, "eval_seconds": 1.0}
    world = {"num_processes": 1, "device": "cpu", "hosts": ["here"]}
    timing = Timing.of(run_record(PLAN[0], throughput=seconds, world=world))
    assert timing.launch(17.0) == 4.0
    assert timing.launch(3.0) is None
    assert timing.launch(None) is None


@pytest.mark.parametrize("text", ["", "s\n", "s\th:m:s\nx\ty\n", "h:m:s\n0:00:10\n"])
def test_a_damaged_benchmark_tells_nothing(tmp_path, text):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "a.tsv").write_text(text)
    assert job_seconds(tmp_path, "a") is None
    assert job_seconds(tmp_path, "b") is None


def test_the_file_of_a_calibration_reads_as_it_was_written(tmp_path):
    calibrated(tmp_path, PLAN[:1], 1.5)
    found = Calibration.read(tmp_path)
    assert found.device == HERE
    assert found.points[0].step_seconds == 1.5
    assert json.loads((tmp_path / FOLDER / FILE).read_text())["points"][0]["step_seconds"] == 1.5
