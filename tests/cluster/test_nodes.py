"""One experiment on several nodes."""

from __future__ import annotations

import pytest
import yaml
from checkout import jobs_of
from cluster_site import change


def test_two_nodes_give_the_loss_of_a_single_process(finished):
    """Four processes in float64; their number is no part of the id, so the records compare."""
    records = finished.checkout.records()
    (run_id, *_) = [i for i, record in records.items() if record["world"]["num_processes"] == 4]
    finished.forget(run_id)
    change(finished.profile, ("gpus_per_node: 4", "gpus_per_node: 2"))
    output = finished.submit()
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
    with_processes(finished, 1)
    assert jobs_of(finished.checkout.succeed("--cores", "1")) == 1
    single = finished.checkout.records()[run_id]
    assert single["world"]["num_processes"] == 1
    for other in (two_nodes, records[run_id]):
        assert other["loss"] == pytest.approx(single["loss"], rel=1e-8)
        assert other["steps"] == single["steps"]


def test_processes_that_do_not_fill_their_nodes_are_refused_before_anything_is_submitted(finished):
    run_id = next(iter(finished.checkout.records()))
    finished.forget(run_id)
    with_processes(finished, 5)
    output = finished.checkout.refuse("--workflow-profile", "profiles/slurm")
    assert "train.processes: found 5 with gpus_per_node 4" in output
    assert "has been submitted" not in output


def with_processes(site, processes: int) -> None:
    """Change the number of processes in the configuration, and nothing else."""
    path = site.checkout.config_file
    config = yaml.safe_load(path.read_text())
    config["train"]["processes"] = processes
    path.write_text(yaml.safe_dump(config))
