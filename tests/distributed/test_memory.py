"""Memory that runs out on one process only."""

from __future__ import annotations

import pytest

# Runs out of memory like torch, on one process, if a batch has more than a number of samples.
HUNGRY = """

class Hungry(Perceptron):
    def forward(self, x):
        if os.environ.get("RANK") == "1" and len(x) > LIMIT:
            raise torch.OutOfMemoryError("CUDA out of memory (in a test)")
        return super().forward(x)
"""


def hungry(launchpad, limit: int) -> str:
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + HUNGRY.replace("LIMIT", str(limit)))
    launchpad.config["model"]["target"] = "points:Hungry"
    launchpad.config["train"] |= {"processes": 2, "batch": 22}
    return launchpad.plan()[0]


def test_all_processes_take_the_micro_batch_of_the_one_with_the_least_memory(launchpad):
    run_id = hungry(launchpad, limit=4)
    record = launchpad.launch(run_id)
    # 11 samples each; 11, 6 and then 3 fit; four passes of 3, 3, 3 and 2.
    assert record["world"]["micro_batch"] == 3
    assert record["world"]["gradient_accumulation"] == 4
    launchpad.config["study"] = "roomy"
    launchpad.config["train"]["processes"] = 1
    assert launchpad.plan()[0] == run_id
    roomy = launchpad.launch(run_id)
    assert roomy["world"]["gradient_accumulation"] == 1
    assert record["loss"] == pytest.approx(roomy["loss"], rel=1e-8)
    assert record["D"] == roomy["D"]


def test_a_sample_that_does_not_fit_is_a_sentence_and_no_hang(launchpad):
    run_id = hungry(launchpad, limit=0)
    process = launchpad.start(run_id)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "out of memory with a single sample per process" in output
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()
