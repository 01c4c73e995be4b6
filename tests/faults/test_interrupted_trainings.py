"""Real processes that are killed or asked to leave, and reruns after that."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from paced_experiment import INTERRUPTED, Experiment

FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
num_processes: 2
num_machines: 1
mixed_precision: 'no'
use_cpu: false
debug: false
fsdp_config: {fsdp_version: 2, fsdp_auto_wrap_policy: SIZE_BASED_WRAP, fsdp_min_num_params: 20,
              fsdp_reshard_after_forward: true, fsdp_cpu_ram_efficient_loading: false}
"""

# Python calls this before anything else: the trainer dies at its n-th renaming of a checkpoint.
DEATH_AT_A_RENAMING = """
import os
import signal
import sys

left = [int(os.environ["DIE_AT_RENAMING"])]


def trace(event, arguments):
    if event == "os.rename" and "checkpoint" in str(arguments[0]):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(trace)
"""


def outcome(record: dict) -> dict:
    """Everything but timings, provenance, that it was resumed, and the study's name.

    The checksum is one of the study and the code as well.
    """
    left_out = ("throughput", "provenance", "study", "checksum")
    kept = {k: v for k, v in record.items() if k not in left_out}
    return {**kept, "world": {**record["world"], "resumed": None}}


def check_left(experiment: Experiment, why: str) -> None:
    status, output = experiment.end()
    assert status == INTERRUPTED, output
    said = [line for line in output.splitlines() if "stopped by" in line]
    assert len(said) == 1, output
    assert re.search(rf"stopped by {why} after step \d+ of \d+; a rerun goes on from", said[0])
    assert "Traceback" not in output
    assert experiment.running() == []
    assert experiment.checkpoints[0].exists()


def test_one_process_that_dies_or_leaves_in_every_way(paced, tmp_path):
    whole = Experiment(paced, "whole", 1, checkpoint_minutes=None).finish()
    assert whole["steps"] > 200
    cut = Experiment(paced, "cut", 1, checkpoint_minutes=1e-9)

    cut.start()
    os.kill(cut.wait_for_step(20), signal.SIGKILL)
    status, output = cut.end()
    assert status not in (0, INTERRUPTED), output

    cut.start()
    cut.wait_for_accelerate()
    cut.process.send_signal(signal.SIGTERM)  # the training does not listen yet
    check_left(cut, "SIGTERM")

    cut.start()
    cut.wait_for_step(20)
    cut.process.send_signal(signal.SIGUSR1)
    check_left(cut, "SIGUSR1")

    cut.start()
    os.kill(cut.wait_for_step(20), signal.SIGTERM)  # as SLURM does, among others
    check_left(cut, "SIGTERM")

    cut.start()
    cut.wait_for_step(20)
    os.killpg(cut.process.pid, signal.SIGINT)  # Ctrl-C
    check_left(cut, "SIGTERM")

    (tmp_path / "death").mkdir()
    (tmp_path / "death" / "sitecustomize.py").write_text(DEATH_AT_A_RENAMING)
    path = f"{tmp_path / 'death'}:{paced.environment()['PYTHONPATH']}"
    # Renamings come in pairs: away with the newest, and the new one in its place.
    for renaming in (21, 20):
        cut.start(PYTHONPATH=path, DIE_AT_RENAMING=str(renaming))
        assert cut.end()[0] not in (0, INTERRUPTED)
        assert [path.exists() for path in cut.checkpoints] == [renaming == 21, True]

    # The launcher dies, its training goes on; a rerun waits for it and takes its record.
    cut.start()
    cut.wait_for_step(20)
    cut.process.kill()
    cut.process.wait()
    again = paced.start(cut.id)
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    assert "waiting for the process that is already training" in output
    assert "its stored record is used" in output

    record = paced.record(cut.id)
    assert record["world"]["resumed"] is True
    assert outcome(record) == outcome(whole)
    assert {path.name for path in cut.checkpoints[0].parent.iterdir()} == {
        "launch.lock", "lock", "record.json",
    }  # fmt: skip


def test_two_processes_of_which_one_dies_or_is_asked_to_leave(paced):
    whole = Experiment(paced, "whole", 2, checkpoint_minutes=None).finish()
    cut = Experiment(paced, "cut", 2, checkpoint_minutes=1e-9)

    cut.start()
    os.kill(cut.wait_for_step(20, rank=1), signal.SIGKILL)
    status, output = cut.end()
    assert status not in (0, INTERRUPTED), output
    assert cut.running() == []

    cut.start()
    os.kill(cut.wait_for_step(20, rank=1), signal.SIGTERM)
    check_left(cut, "a signal to another process")

    cut.start()
    cut.wait_for_step(20)
    os.killpg(cut.process.pid, signal.SIGINT)
    check_left(cut, "SIGTERM")

    record = cut.finish()
    assert record["world"]["resumed"] is True
    assert outcome(record) == outcome(whole)


@pytest.mark.parametrize(
    ("precision", "chain", "tolerance"),
    [
        pytest.param("float64", ("sharded over 2", 3), 1e-8, id="float64"),
        pytest.param("no", (2,), 2e-3, id="float32", marks=pytest.mark.long),
    ],
)
def test_another_number_of_processes_goes_on(paced, precision, chain, tolerance):
    paced.config["model"]["target"] = "points:Perceptron"
    paced.config["loss"] = "points:paced_masked"
    paced.config["train"] |= {"precision": precision, "checkpoint_minutes": None}
    whole = Experiment(paced, "whole", 1).finish()
    (paced.path / "fsdp.yaml").write_text(FSDP)
    for link in chain:
        sharded = link == "sharded over 2"
        config = "fsdp.yaml" if sharded else None
        cut = Experiment(paced, "cut", 2 if sharded else link, accelerate_config=config)
        cut.start()
        cut.wait_for_step(30)
        cut.process.send_signal(signal.SIGTERM)
        check_left(cut, "SIGTERM")
    record = Experiment(paced, "cut", 1, accelerate_config=None).finish()
    assert record["world"]["resumed"] is True
    assert record["throughput"]["mfu"] is None
    assert record["loss"] == pytest.approx(whole["loss"], rel=tolerance)
    assert len(record["curve"]) == len(whole["curve"])
    for row, expected in zip(record["curve"], whole["curve"], strict=True):
        assert row[:2] == expected[:2]
        assert row[2:] == pytest.approx(expected[2:], rel=tolerance)


def test_a_process_that_does_not_listen_is_killed_after_a_while(paced):
    module = paced.path / "points.py"
    module.write_text(module.read_text().replace("time.sleep(0.01)", "time.sleep(3600)"))
    stuck = Experiment(paced, "stuck", 1)
    stuck.start(FLOPS_FIT_PATIENCE="1")
    stuck.wait_for_step(1)
    stuck.process.send_signal(signal.SIGTERM)
    status, output = stuck.end()
    assert status == 128 + signal.SIGTERM
    assert "the training has not left within 1 s and is killed" in output
    assert stuck.running() == []
    assert not Path(stuck.checkpoints[0]).exists()
