"""`snakemake plan` shows hours, and `snakemake calibrate` times what they follow from."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from checkout import PARTS, ROOT, Checkout, copy_checkout, jobs_of
from made_once import made_once

FOLDER, FILE = "calibration", "calibration.json"


@pytest.fixture(scope="module")
def timed(tmp_path_factory) -> tuple[Checkout, str]:
    """A planned study that was calibrated, and what Snakemake printed. Leave it as it is."""

    def calibrate(folder):
        made = copy_checkout(ROOT, folder / "checkout", PARTS)
        return made.succeed("calibrate", "--cores", "2")

    folder, output = made_once(tmp_path_factory, "timed", calibrate)
    return Checkout(folder / "checkout"), output


def hours(output: str) -> float:
    """The process-hours of the whole plan, as they are printed."""
    assert "process-hours" in output, output
    return float(re.search(r"^in total .* (\S+)$", output, re.MULTILINE).group(1))


def test_a_small_study_is_not_timed_unless_that_is_asked_for(checkout):
    output = checkout.succeed("plan", "--cores", "1")
    assert "6 experiments at 2 budgets" in output
    assert "Hours are not known: `snakemake calibrate` times a few short trainings" in output
    assert not (checkout.study / FOLDER).exists()


def test_a_calibration_is_its_own_and_trains_nothing_of_the_study(timed):
    checkout, output = timed
    assert jobs_of(output, "calibrate") == 1
    assert jobs_of(output) == 0
    assert not (checkout.study / "runs").exists()
    specs = json.loads((checkout.study / FOLDER / "specs.json").read_text())
    records = {path.stem for path in (checkout.study / FOLDER / "runs").glob("*.json")}
    # Three sizes of one batch, and one of them with fewer steps.
    assert set(specs) == records
    assert len(records) == 4
    planned = json.loads((checkout.study / "specs.json").read_text())
    assert not records & set(planned)
    points = json.loads((checkout.study / FOLDER / FILE).read_text())["points"]
    assert [point["N"] for point in points] == sorted(
        {entry["n_params_non_embedding"] for entry in planned.values()}
    )
    for point in points:
        assert point["step_seconds"] > 0
        assert point["launch_seconds"] > 0
        assert point["eval_unit_seconds"] > 0


def test_what_was_timed_once_is_not_timed_again(timed, tmp_path):
    shutil.copytree(timed[0].path, tmp_path / "checkout")
    checkout = Checkout(tmp_path / "checkout")
    before = (checkout.study / FOLDER / FILE).read_bytes()
    output = checkout.succeed("calibrate", "--cores", "2")
    assert "Nothing that matters has changed since this was timed" in output
    assert (checkout.study / FOLDER / FILE).read_bytes() == before
    # The plan uses it.
    output = checkout.succeed("plan", "--cores", "2")
    assert f"by results/tiny/{FOLDER}/{FILE}" in output
    assert hours(output) > 0
    # A price is an edit of the plan alone.
    checkout.configure(lambda c: c["plan"].update(price_per_gpu_hour=100))
    paid = checkout.succeed("plan", "--cores", "2")
    total = re.search(r"^in total +6 +\S+ +(\S+) +(\S+)$", paid, re.MULTILINE)
    assert float(total.group(2)) == pytest.approx(100 * float(total.group(1)), abs=0.01, rel=0.01)
    assert (checkout.study / FOLDER / FILE).read_bytes() == before
    # Another batch takes other trainings.
    checkout.configure(lambda c: c["train"].update(batch=64))
    output = checkout.succeed("calibrate", "--cores", "2")
    assert "Timed 3 kinds of trainings" in output
    assert (checkout.study / FOLDER / FILE).read_bytes() != before
    assert not (checkout.study / "runs").exists()


def test_runs_of_the_study_itself_tell_the_hours(finished):
    merged = (finished.study / "runs.csv").read_bytes()
    seconds = 0.0
    for run_id, record in finished.records().items():
        spent = record["throughput"]
        whole = 5.0 + sum(
            spent[f"{name}_seconds"] for name in ("train", "startup", "eval", "checkpoint")
        )
        seconds += whole
        (finished.study / "benchmarks" / f"{run_id}.tsv").write_text(f"s\th:m:s\n{whole}\t-\n")
    output = finished.succeed("plan", "--cores", "2")
    assert "by the study's own runs" in output
    assert "nothing is left to train" in output
    # All seconds that the records hold, and 5 for the launch of each.
    assert hours(output) == pytest.approx(seconds / 3600, rel=0.05)
    assert not (finished.study / FOLDER).exists()
    assert (finished.study / "runs.csv").read_bytes() == merged


def test_given_hardware_is_not_timed(checkout):
    given = {"hardware": {"flops_per_second": 1e6}, "price_per_gpu_hour": 3600}
    checkout.configure(lambda c: c["plan"].update(given))
    output = checkout.succeed("plan", "--cores", "1")
    assert "Speed: 1e+06 FLOP/s for each process (plan.hardware)." in output
    total = re.search(r"^in total +6 +(\S+) +(\S+) +(\S+)$", output, re.MULTILINE)
    flops, in_hours, money = map(float, total.groups())
    assert money == pytest.approx(3600 * in_hours, rel=0.01)
    # Evaluations come on top of the training, a third of its FLOPs for each of their units.
    assert flops / 1e6 < money < 2 * flops / 1e6


def test_a_calibration_that_fails_says_why_and_the_plan_is_shown_all_the_same(checkout):
    (checkout.config_file.parent / "refusing.py").write_text(
        "import torch\n\n\ndef loss(outputs, targets):\n"
        "    value = torch.nn.functional.cross_entropy(outputs, targets)\n"
        "    if not outputs.is_meta and outputs.shape[0] > 9:\n"
        "        raise ValueError('no luck today')\n"
        "    return value\n"
    )
    checkout.configure(lambda c: c.update(loss="refusing:loss"))
    checkout.succeed("plan", "--cores", "1")
    output = checkout.refuse("calibrate", "--cores", "1")
    assert "the calibration failed for width=" in output
    assert "no luck today" in output
