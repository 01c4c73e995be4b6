"""`flops-fit explain` as a process of its own, beside an experiment that really runs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

from paced_experiment import INTERRUPTED, Experiment

EXPLODING = """

def exploding(outputs, targets):
    pace(outputs)
    value = mean_loss(outputs, targets)
    return value * float("inf") if calls > 60 and torch.is_grad_enabled() else value
"""


def explained(experiment: Experiment) -> str:
    """What the command prints where Snakemake would run; it takes no lock and writes nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "flops_fit.cli", "explain", experiment.id[:6]],
        cwd=experiment.launchpad.path, env=experiment.launchpad.environment(), text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_experiment_is_explained_while_it_runs_and_after_each_end(paced):
    experiment = Experiment(paced, "explained", 1, checkpoint_minutes=1e-9)
    assert "state  not started" in explained(experiment)
    spec = json.loads((experiment.study / "specs.json").read_text())[experiment.id]["spec"]

    experiment.start()
    experiment.wait_for_step(20)
    said = explained(experiment)
    assert experiment.process.poll() is None
    assert re.search(r"state +running: it is training, or about to\n", said)
    assert re.search(r"remark +its newest checkpoint was saved [\d.e-]+ s ago\n", said)
    assert re.search(rf"  dataset.content +{spec['dataset']['content']}\n", said)
    assert "what it measured" not in said

    experiment.process.send_signal(signal.SIGTERM)
    status, output = experiment.end()
    assert status == INTERRUPTED, output
    said = explained(experiment)
    assert re.search(r"state +interrupted\n", said)
    assert re.search(r"stopped by SIGTERM after step \d+ of \d+; a rerun goes on from", said)
    assert " ago, and a rerun goes on from there\n" in said

    record = experiment.finish()
    said = explained(experiment)
    assert re.search(r"state +done\n", said)
    assert re.search(rf"loss +{record['loss']:.6g} \+- {record['loss_std_err']:.2g} nats", said)
    assert re.search(r"resumed +true ", said)
    assert re.search(rf"source.model +{record['provenance']['source']['model']}\n", said)


def test_a_divergence_is_explained_with_its_step_and_its_reason(paced):
    module = paced.path / "points.py"
    module.write_text(module.read_text() + EXPLODING)
    paced.config["loss"] = "points:exploding"
    experiment = Experiment(paced, "exploding", 1, checkpoint_minutes=None)
    record = experiment.finish()
    assert record["status"] == "diverged"
    step = record["steps"]
    found = re.search(r"state +diverged: after step (\d+) of (\d+): the loss is (inf|nan)\n",
                      explained(experiment))  # fmt: skip
    assert found is not None
    assert int(found[1]) == step < int(found[2]) == record["spec"]["D"] // record["spec"]["batch"]
