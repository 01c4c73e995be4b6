"""One experiment on several nodes."""

from __future__ import annotations

import pytest
from checkout import jobs_of
from cluster_site import change, wait_until
from private_slurm import GPU_TYPE, NODES


def test_two_nodes_give_the_loss_of_a_single_process(finished):
    """Four processes in float64; their number is no part of the id, so the records compare."""
    records = finished.checkout.records()
    (run_id, *_) = [i for i, record in records.items() if record["world"]["num_processes"] == 4]
    finished.forget(run_id)
    typed = f"gpus_per_node: 2\n    gpu_type: {GPU_TYPE}"
    change(finished.profile, ("gpus_per_node: 4", typed))
    output = finished.submit()  # all of it: what is merged is trained again once it is deleted
    assert jobs_of(output) == 1
    two_nodes = finished.checkout.records()[run_id]
    assert two_nodes["world"]["num_processes"] == 4
    uses = sorted(finished.uses(), key=lambda use: use["rank"])
    assert [use["rank"] for use in uses] == [0, 1, 2, 3]
    assert len({use["job"] for use in uses}) == 1
    gpus = [sorted(use["gpus"]) for use in uses]
    assert [{gpu.rpartition("-")[0] for gpu in had} for had in gpus] == (
        [{"GPU-n1"}] * 2 + [{"GPU-n2"}] * 2
    )
    assert {len(had) for had in gpus} == {2}

    finished.forget(run_id)
    finished.configure_training(processes=1)
    assert jobs_of(finished.checkout.succeed("runs", "--cores", "1")) == 1
    single = finished.checkout.records()[run_id]
    assert single["world"]["num_processes"] == 1
    for other in (two_nodes, records[run_id]):
        assert other["loss"] == pytest.approx(single["loss"], rel=1e-8)
        assert other["steps"] == single["steps"]


def test_an_experiment_waits_for_one_node_where_two_have_its_gpus_between_them(finished):
    records = finished.checkout.records()
    (run_id, *_) = [i for i, record in records.items() if record["world"]["num_processes"] == 4]
    finished.forget(run_id)
    others = [
        finished.cluster.ask(
            "sbatch", "--parsable", f"--nodelist={node}", "--gpus=2", "--mem=100",
            "--output=/dev/null", "--wrap", "exec sleep 3600",
        ).strip()
        for node in NODES
    ]  # fmt: skip
    wait_until(lambda: set(finished.cluster.jobs("RUNNING")) == set(others))
    run = finished.start("runs", "--retries", "0")
    wait_until(lambda: len(finished.cluster.jobs()) == 3)
    (job,) = set(finished.cluster.jobs()) - set(others)
    state = ("squeue", "--noheader", f"--jobs={job}", "--format=%T %r")
    wait_until(lambda: finished.cluster.ask(*state).split() != ["PENDING", "None"])
    assert finished.cluster.ask(*state).split() == ["PENDING", "Resources"]
    finished.cluster.ask("scancel", others[1])
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    uses = finished.uses()
    assert {use["job"] for use in uses} == {job}
    assert {gpu.rpartition("-")[0] for use in uses for gpu in use["gpus"]} == {f"GPU-{NODES[1]}"}
    assert finished.checkout.records()[run_id]["loss"] == records[run_id]["loss"]


def test_processes_that_do_not_fill_their_nodes_are_refused_before_anything_is_submitted(finished):
    run_id = next(iter(finished.checkout.records()))
    finished.forget(run_id)
    finished.configure_training(processes=5)
    output = finished.checkout.refuse("--workflow-profile", "profiles/slurm")
    assert "train.processes: found 5 with gpus_per_node 4" in output
    assert "has been submitted" not in output
