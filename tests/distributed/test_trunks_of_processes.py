"""A trunk of several processes, killed in the middle."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import psutil
import pytest
from flops_fit.plan.files import read_trunk, trunks_of


@pytest.fixture
def grid(launchpad):
    launchpad.config["plan"] |= {"budgets": [4e5, 1e6], "trunks": True}
    launchpad.config["train"] |= {
        "precision": "no", "processes": 2, "schedule": "wsd", "warmup_steps": 20,
        "checkpoint_minutes": 1e-4,
    }  # fmt: skip
    launchpad.plan()
    (trunk, *_) = trunks_of(launchpad.study / "specs.json").values()
    return launchpad, trunk, read_trunk(launchpad.study / "specs.json", trunk)


def outcome(record: dict) -> tuple:
    return record["loss"], record["loss_std_err"], record["curve"], record["D"]


def grow(launchpad, trunk: str) -> dict:
    process = launchpad.start(trunk, "--trunk")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return json.loads((launchpad.study / "trunks" / f"{trunk}.json").read_text())


def test_two_processes_branch_off_with_the_bits_of_two_that_train_all_of_it(grid):
    """Wherever it was killed, and whether or not it had saved by then."""
    launchpad, trunk, (short, long) = grid
    process = launchpad.start(trunk, "--trunk")
    checkpoint = launchpad.study / "state" / trunk / "checkpoint.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    with suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.communicate(timeout=60)
    (training,) = grow(launchpad, trunk)["trainings"]
    assert training["num_processes"] == 2
    last = short.spec.decay_start
    assert training["branches"] == {short.id: last, long.id: last}
    for job in (short, long):
        branch = launchpad.launch(job.id)
        assert branch["world"]["trunk"] == trunk
        assert branch["world"]["own_D"] == (job.steps - last) * 10
        (launchpad.study / "runs" / f"{job.id}.json").unlink()
        (launchpad.study / "state" / job.id / "record.json").unlink()
        whole = launchpad.launch(job.id)
        assert "trunk" not in whole["world"]
        assert outcome(branch) == outcome(whole)
    # All have their records: the trunk's own is written again without a training
    (launchpad.study / "trunks" / f"{trunk}.json").unlink()
    assert grow(launchpad, trunk)["trainings"] == [training]
