"""What an experiment leaves behind, and one trainer per id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.errors import Interrupted
from flops_fit.records.experiment_files import (
    LAUNCH_LOCK,
    TRAINING_LOCK,
    clear_stored_records,
    held_experiment,
    is_held,
    state_folder,
)
from flops_fit.records.run_record import store_record
from hand_computed import planned, run_record

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent
ROW = planned().experiments[0]


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path):
    store_record(run_record(ROW), tmp_path)
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    other = tmp_path / "runs" / ".0123456789ab.json.7.tmp"
    (tmp_path / "logs").mkdir()
    for path in (
        state_folder(tmp_path, ROW.id) / ".record.json.7.tmp",
        state_folder(tmp_path, ROW.id) / ".checkpoint.safetensors.7.tmp",
        tmp_path / "runs" / f".{ROW.id}.json.7.tmp",
        tmp_path / "logs" / f".{ROW.id}.log.7.tmp",
        other,
    ):
        path.write_text("{")
    clear_stored_records(tmp_path, [ROW.id])
    kept -= {state_folder(tmp_path, ROW.id) / "record.json"}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept | {other}


HOLDER = """
import sys
from flops_fit.records.experiment_files import held_experiment

with held_experiment(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(*arguments: object) -> subprocess.Popen:
    """A process that takes a lock, says so, and keeps it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("lock", [TRAINING_LOCK, LAUNCH_LOCK])
def test_one_experiment_is_held_once_at_a_time(tmp_path, lock):
    assert not is_held(tmp_path, ROW.id)
    with held_experiment(tmp_path, ROW.id, lock):
        assert is_held(tmp_path, ROW.id)
        assert not is_held(tmp_path, "0123456789ab")
        other = {TRAINING_LOCK: LAUNCH_LOCK, LAUNCH_LOCK: TRAINING_LOCK}[lock]
        with held_experiment(tmp_path, ROW.id, other):
            pass
    assert not is_held(tmp_path, ROW.id)


def test_the_lock_ends_with_a_killed_process(tmp_path):
    killed = holder(tmp_path, ROW.id)
    assert killed.stdout.readline() == "held\n"
    assert is_held(tmp_path, ROW.id)
    killed.kill()
    killed.communicate()
    assert not is_held(tmp_path, ROW.id)


@pytest.mark.parametrize("lock", [TRAINING_LOCK, LAUNCH_LOCK])
def test_who_waits_gets_the_lock_when_it_is_free(tmp_path, lock):
    with held_experiment(tmp_path, ROW.id, lock):
        waiter = holder(tmp_path, ROW.id, lock)
        said = waiter.stderr.readline()
        assert said == f"waiting for the process that is already training {ROW.id}\n"
        assert waiter.poll() is None
    out, _ = waiter.communicate()
    assert (out, waiter.returncode) == ("held\n", 0)


def test_the_lock_of_a_launch_lasts_as_long_as_a_child_that_inherits_its_files(tmp_path):
    for lock, inherited in ((LAUNCH_LOCK, True), (TRAINING_LOCK, False)):
        with held_experiment(tmp_path, ROW.id, lock):
            child = subprocess.Popen(
                ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
            )
        child.stdin.write(b"started\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"started\n"  # what it is not to inherit is closed
        assert is_held(tmp_path, ROW.id) is inherited
        child.communicate()
        assert not is_held(tmp_path, ROW.id)


def test_who_is_asked_to_leave_waits_no_longer(tmp_path):
    with (
        held_experiment(tmp_path, ROW.id),
        pytest.raises(Interrupted, match="stopped while it waited for another process"),
        held_experiment(tmp_path, ROW.id, asked_to_leave=lambda: True),
    ):
        pass
