"""An impossible checkpoint costs a line in the log, in real processes as well."""

from __future__ import annotations

import pytest
from flops_fit.records.experiment_files import CHECKPOINT, PREVIOUS_CHECKPOINT, state_folder
from forged_checkpoints import content_of, write_content

# A model with dropout and a state of its own, which a process rejects where the test asks for it;
# and a loss whose first step is the last where the test asks for that.
REMEMBERING = """
import signal


class Remembering(Perceptron):
    steps = 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]
        if os.environ.get("REJECTING_RANK") == os.environ.get("RANK", "0"):
            raise ValueError("no\\nmore")

    def forward(self, x):
        self.steps += self.training
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


def ending_loss(outputs, targets):
    if torch.is_grad_enabled() and "ENDING" in os.environ and outputs.device.type != "meta":
        os.kill(os.getpid(), signal.SIGTERM)
    return mean_loss(outputs, targets)
"""

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


@pytest.mark.parametrize(
    ("processes", "sharded"),
    [(1, False), (2, False), pytest.param(2, True, marks=pytest.mark.long)],
    ids=["1", "2", "2, sharded"],
)
def test_instead_of_impossible_checkpoints_it_starts_anew(launchpad, processes, sharded):
    """The last of several processes alone rejects the previous one, halfway."""
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + REMEMBERING)
    launchpad.config["model"]["target"] = "points:Remembering"
    launchpad.config["loss"] = "points:ending_loss"
    launchpad.config["train"]["processes"] = processes
    if sharded:
        (launchpad.path / "fsdp.yaml").write_text(FSDP)
        launchpad.config["train"]["accelerate_config"] = "fsdp.yaml"
    run_id = launchpad.plan()[0]
    left = launchpad.start(run_id, ENDING="yes")
    output, _ = left.communicate(timeout=600)
    assert left.returncode == 75, output
    folder = state_folder(launchpad.study, run_id)
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT
    content = content_of(newest)
    newest.replace(previous)
    write_content(newest, content | {"step": -5})
    forged = launchpad.launch(run_id, REJECTING_RANK=str(processes - 1))
    log = (launchpad.study / "logs" / f"{run_id}.log").read_text()
    lines = [line.split(": ", 1)[1] for line in log.splitlines() if "is not used" in line]
    assert lines == [
        f"{newest}: is not used: step: found -5, expected a whole number from 1 to "
        f"{forged['steps']}",
        f"{previous}: is not used: model or optimizer rejects its saved state "
        "(ValueError: no more)",
    ]
    assert "Traceback" not in log
    assert (forged["status"], forged["world"]["resumed"]) == ("completed", False)
    if processes == 1:  # tests/unit/train compare that loss, many times
        return
    launchpad.config["study"] = "undisturbed"
    whole = launchpad.launch(launchpad.plan()[0])
    assert (forged["loss"], forged["curve"]) == (whole["loss"], whole["curve"])
