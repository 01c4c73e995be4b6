"""A finished training is not lost if something goes wrong at its end."""

from __future__ import annotations

import re
import subprocess

import pytest
from flops_fit.records.experiment_files import weights_file
from flops_fit.records.run_record import read_record
from flops_fit.study.study import Study
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import code_in_use
from safetensors.torch import load_file

# The module deletes itself once it trains: trial passes are fewer.
VANISHING = """

calls = []


def vanishing(outputs, targets):
    calls.append(torch.is_grad_enabled() and outputs.device.type != "meta")
    if sum(calls) > 10 and "VANISH" in os.environ:
        with open(__file__, "w") as file:
            file.write("nothing that Python could (")
    return mean_loss(outputs, targets)
"""


def lines_until(process: subprocess.Popen, words: str) -> list[str]:
    """What a launcher says up to a line with certain words, which has to come."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def test_a_disk_that_is_cleared_in_time_costs_nothing(launchpad):
    launchpad.config["train"]["keep_checkpoint"] = True
    run_id = launchpad.plan()[0]
    weights = weights_file(launchpad.study, run_id)
    record = launchpad.study / "runs" / f"{run_id}.json"
    record.mkdir(parents=True)
    weights.parent.write_text("in the way")
    process = launchpad.start(run_id, FLOPS_FIT_RECORD_PATIENCE="300")
    said = lines_until(process, "its weights cannot be written (")
    assert said[-1].rstrip().endswith("; retrying for 300 s")
    weights.parent.unlink()
    said += lines_until(process, "the record cannot be written (")
    record.rmdir()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert read_record(record).completed
    assert load_file(weights)
    text = "".join(said) + output
    assert len(re.findall(r"\d+ steps of \d+ ", text)) == 1
    assert text.count("cannot be written (") == 2


def test_weights_that_cannot_be_written_cost_no_record(launchpad):
    launchpad.config["train"]["keep_checkpoint"] = True
    run_id = launchpad.plan()[0]
    weights = weights_file(launchpad.study, run_id)
    weights.parent.write_text("in the way")
    process = launchpad.start(run_id, FLOPS_FIT_RECORD_PATIENCE="0")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert launchpad.record(run_id)["status"] == "completed"
    assert f"{weights}: the weights cannot be written (" in output
    assert "delete the record, and a rerun trains the experiment again" in output


@pytest.mark.parametrize(
    ("name", "value"), [("FLOPS_FIT_RECORD_PATIENCE", "nan"), ("FLOPS_FIT_PATIENCE", "-1")]
)
def test_seconds_that_are_none_are_refused_before_anything_is_trained(launchpad, name, value):
    process = launchpad.start(launchpad.plan()[0], **{name: value})
    output, _ = process.communicate(timeout=600)
    assert process.returncode not in (0, 75)
    assert f"error: {name}: found '{value}', expected a number of seconds" in output
    assert "steps of" not in output
    assert "Traceback" not in output


def test_the_code_of_a_record_is_that_which_was_trained(launchpad):
    module = launchpad.path / "points.py"
    module.write_text(module.read_text() + VANISHING)
    launchpad.config["loss"] = "points:vanishing"
    run_id = launchpad.plan()[0]
    code = UserCode.of_study(Study.from_config(launchpad.config, launchpad.path / "study.yaml"))
    source = code_in_use(code, imported=()).fingerprints["loss"]
    record = launchpad.launch(run_id, VANISH="1")
    assert "nothing that Python" in module.read_text()
    assert record["provenance"]["source"]["loss"] == source
