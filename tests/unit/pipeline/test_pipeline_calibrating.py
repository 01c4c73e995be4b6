"""When a calibration is of no use any more, and what its trials tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from flops_fit.files.fields import to_plain
from flops_fit.files.writing import write_json, write_whole
from flops_fit.launch.device import Device
from flops_fit.pipeline import calibrating
from flops_fit.pipeline.calibrating import FILE, FOLDER, Bench, Calibration, calibrate
from flops_fit.pipeline.outlook import outlook_of
from flops_fit.plan.calibration import Guess
from flops_fit.plan.files import plan_csv, plan_specs
from hand_computed import planned, record_of, small_study

HERE = Device(name="cpu", host="here")
# The pretended machine: seconds of the first steps, of each step, and of a unit evaluated
FIRST, STEP, UNIT = 0.5, 0.01, 0.001


def bench(folder: Path, changes: dict | None = None, device: Device = HERE, **more) -> Bench:
    study, plan = small_study(changes), planned(changes)
    specs = plan_specs(plan, study, data_folder="d", search_folder="s")
    write_json(folder / "specs.json", specs)
    write_whole(folder / "plan.csv", plan_csv(plan))
    outlook = outlook_of(study, folder, folder / "none.json", folder / "none")
    guess = Guess(on_gpus=False, threads=more.get("threads", 1))
    return Bench.of(outlook, device, more.get("side_by_side", 2), guess)


def test_the_same_study_is_timed_once(tmp_path):
    assert bench(tmp_path).key == bench(tmp_path).key
    made = Calibration(
        key=bench(tmp_path).key, device=HERE, side_by_side=2, seconds=1.0, cpu_share=1.0, points=[]
    )
    write_json(tmp_path / FOLDER / FILE, to_plain(made))
    assert bench(tmp_path).earlier() is None  # nothing was timed


@pytest.mark.parametrize(
    "changes",
    [{"train.batch": 20}, {"train.precision": "bf16"}, {"train.processes": 2},
     {"train.compile": True}, {"model.sizes": [50, 100, 300]}, {"model.kwargs": {"x": 1}}],
)  # fmt: skip
def test_what_changes_the_times_has_them_timed_again(tmp_path, changes):
    assert bench(tmp_path).key != bench(tmp_path, changes).key


def test_a_further_budget_alone_does_not(tmp_path):
    more = {"plan.budgets": [6e6, 6.06e6]}
    assert bench(tmp_path).key == bench(tmp_path, more).key


def test_hardware_and_code_count(tmp_path):
    before = bench(tmp_path).key
    assert bench(tmp_path, device=Device(name="cpu", host="elsewhere")).key != before
    assert bench(tmp_path, device=Device(name="NVIDIA A100")).key != before
    assert bench(tmp_path, side_by_side=3).key != before
    assert bench(tmp_path, threads=2).key != before
    (tmp_path / "planned_code.json").write_text("{}")
    assert bench(tmp_path).key != before


def test_two_lengths_tell_what_the_first_steps_cost(tmp_path, monkeypatch):
    """Each launch is played: the seconds of its record are known."""
    row_of = {row.size: row for row in planned().experiments}

    def launch(bench, job):
        row = row_of[job.spec.size]
        seconds = {
            "train_seconds": FIRST + STEP * job.steps,
            "startup_seconds": 2.0,
            "eval_seconds": UNIT * job.spec.eval_units,
            "checkpoint_seconds": 0.0,
        }
        world = {"num_processes": 1, "device": "cpu", "hosts": ["here"]}
        record = record_of(row, throughput=seconds, world=world) | {
            "id": job.id, "spec": job.spec.to_json(), "D": job.spec.D, "steps": job.steps,
        }  # fmt: skip
        write_json(bench.folder / "runs" / f"{job.id}.json", record)
        return job.id, sum(seconds.values()) + 4.0

    monkeypatch.setattr(calibrating, "_launch", launch)
    told = []
    made = calibrate(bench(tmp_path), lambda done, of: told.append((done, of)))
    assert told == [(i, 5) for i in range(6)]
    assert [point.N for point in made.points] == [
        row.n_params_non_embedding for row in planned().experiments
    ]
    for point in made.points:
        assert point.step_seconds == pytest.approx(STEP)
        assert point.startup_seconds == pytest.approx(2.0 + FIRST)
        assert point.launch_seconds == pytest.approx(4.0)
        assert point.eval_unit_seconds == pytest.approx(UNIT)
    assert bench(tmp_path).earlier().points == made.points
