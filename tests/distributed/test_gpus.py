"""What only GPUs can show. Without any, these tests alone are skipped."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from flops_fit.launch.gpus import states_of, visible_gpus


def environment_with_gpus() -> dict[str, str]:
    """The environment before the tests hid the GPUs."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    chosen = os.environ["FLOPS_FIT_TEST_GPUS"]
    return environment if chosen == "all" else environment | {"CUDA_VISIBLE_DEVICES": chosen}


GPUS = visible_gpus(environment_with_gpus())
needs_a_gpu = pytest.mark.skipif(not GPUS, reason="needs a GPU")
needs_gpus = pytest.mark.skipif(len(GPUS) < 2, reason="needs two GPUs")


def launch(launchpad, processes: int, **train) -> dict:
    launchpad.config["study"] = f"points{processes}{len(train)}"
    launchpad.config["train"] |= {"processes": processes, **train}
    run_id = launchpad.plan()[0]
    record = launchpad.launch(run_id, CUDA_VISIBLE_DEVICES=",".join(GPUS))
    assert record["world"]["num_processes"] == processes
    assert record["world"]["device"] != "cpu"
    return record


@needs_gpus
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-8), ("no", 2e-3)])
@pytest.mark.parametrize("loss", ["points:mean_loss", "points:masked_loss"])
def test_one_gpu_and_several_give_the_same_loss(launchpad, precision, tolerance, loss):
    """Joined by NCCL."""
    launchpad.config["loss"] = loss
    launchpad.config["train"]["precision"] = precision
    one = launch(launchpad, 1)
    several = launch(launchpad, min(4, len(GPUS)))
    assert several["id"] == one["id"]
    assert several["steps"] == one["steps"] >= 100
    assert several["loss"] == pytest.approx(one["loss"], rel=tolerance)


@needs_a_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_and_compilation_give_nearly_the_loss_of_single(launchpad, precision):
    single = launch(launchpad, 1, precision="no")
    half = launch(launchpad, 1, precision=precision, compile=True)
    assert half["world"]["precision"] == precision
    assert half["loss"] == pytest.approx(single["loss"], rel=2e-2)
    assert half["throughput"]["peak_memory_bytes"] > 0


@needs_a_gpu
def test_more_gpus_than_are_visible_are_refused(launchpad):
    launchpad.config["train"] |= {"processes": len(GPUS) + 1, "batch": 10 * (len(GPUS) + 1)}
    run_id = launchpad.plan()[0]
    process = launchpad.start(run_id, CUDA_VISIBLE_DEVICES=",".join(GPUS))
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert f"{len(GPUS) + 1} GPUs were asked for, but {len(GPUS)} are visible" in output


@needs_a_gpu
def test_the_driver_shows_a_gpu_as_in_use_while_a_process_computes_on_it():
    code = "import torch; kept = torch.ones(9, device='cuda'); print('has it', flush=True); input()"
    environment = environment_with_gpus() | {"CUDA_VISIBLE_DEVICES": GPUS[0]}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "has it\n"
    (state,) = states_of(GPUS[:1])
    process.communicate("\n", timeout=300)
    assert state.in_use
    assert state.index.isdigit()
    # In a container, the driver shows the memory alone.
    assert any("MiB" in shown for shown in state.processes) or "MiB of the GPU's memory" in str(
        state
    )
