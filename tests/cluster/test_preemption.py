"""An experiment that SLURM ends goes on where it was, and ends where an undisturbed one does."""

from __future__ import annotations

import contextlib
import re

import psutil
import pytest
from cluster_site import Site, change, wait_until


def test_the_warning_before_the_time_limit_is_enough_for_long_steps(finished):
    """Of an experiment on one node, and of one on two, whose launchers SLURM starts elsewhere."""
    records = finished.checkout.records()
    one_node, two_nodes = (
        next(i for i, record in records.items() if record["world"]["num_processes"] == processes)
        for processes in (2, 4)
    )
    finished.forget(one_node, two_nodes)
    # Two minutes before the end, half a minute to one after the start: SLURM looks twice a minute.
    # A second attempt has the time it needs.
    change(
        finished.profile,
        ("gpus_per_node: 4", "gpus_per_node: 2\n    runtime: 3 + 30 * (attempt - 1)"),
    )
    # A step takes longer than a training may go on after a SIGTERM.
    finished.checkout.variables["FLOPS_FIT_PATIENCE"] = "1"
    slow = finished.checkout.path / "slow"
    slow.write_text("4")
    run = finished.start("runs")
    wait_until(
        lambda: all(finished.checkpoint(i).exists() for i in (one_node, two_nodes)), seconds=600
    )
    slow.unlink()
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    assert len(set(re.findall(r"(width=\S+ C=\S+): stopped by SIGUSR1 after step", output))) == 2
    # They left long before the limit itself.
    assert "is killed" not in output
    assert "TIMEOUT" not in output
    again = finished.checkout.records()
    for run_id in (one_node, two_nodes):
        assert len({use["job"] for use in finished.uses() if use["id"] == run_id}) == 2
        assert again[run_id]["world"]["resumed"] is True
        assert again[run_id]["loss"] == pytest.approx(records[run_id]["loss"], rel=1e-8)
    assert again[one_node]["curve"] == records[one_node]["curve"]


def test_the_time_limit_costs_nothing_but_time(finished):
    """An experiment that had no warning saves at the SIGTERM of the limit itself."""
    run_id, undisturbed = two_processes(finished)
    finished.forget(run_id)
    # One minute is the shortest limit; SLURM looks at limits twice a minute.
    limit = "cpus_per_process: 1\n    runtime: 1 + 4 * (attempt - 1)\n    slurm_extra: --nice=1"
    change(finished.profile, ("cpus_per_process: 1", limit))
    slow = finished.checkout.path / "slow"
    slow.write_text("0.2")
    run = finished.start(f"results/tiny/runs/{run_id}.json")
    wait_until(finished.checkpoint(run_id).exists, seconds=600)
    slow.unlink()
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    # It saved because it was told to: half a minute is far from train.checkpoint_minutes.
    assert "stopped by SIGTERM after step" in output
    assert len({use["job"] for use in finished.uses()}) >= 2
    check_resumed(finished, run_id, undisturbed)


def test_a_killed_job_costs_the_work_since_the_last_checkpoint(finished):
    """Without a warning, as where a node is lost."""
    run_id, undisturbed = two_processes(finished)
    finished.forget(run_id)
    finished.configure_training(checkpoint_minutes=0.001)
    slow = finished.checkout.path / "slow"
    slow.write_text("0.2")
    run = finished.start(f"results/tiny/runs/{run_id}.json", "--retries", "1")
    wait_until(finished.checkpoint(run_id).exists, seconds=600)
    (job,) = finished.cluster.jobs()
    kill_processes(finished, job)
    wait_until(lambda: len(finished.uses()) == 4, seconds=600)
    slow.unlink()
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    assert "stopped by" not in output
    assert len({use["job"] for use in finished.uses()}) == 2
    check_resumed(finished, run_id, undisturbed)


def kill_processes(site: Site, job: str) -> None:
    """Kill all processes that a job of this site's has started."""
    ours = {"SLURM_JOB_ID": job, "TMPDIR": site.checkout.variables["TMPDIR"]}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if ours.items() <= process.environ().items():
                process.kill()


def two_processes(site: Site) -> tuple[str, dict]:
    """An experiment on one node, and its record."""
    records = site.checkout.records().items()
    return next((i, record) for i, record in records if record["world"]["num_processes"] == 2)


def check_resumed(site: Site, run_id: str, undisturbed: dict) -> None:
    """The experiment went on from where it was, to the numbers of the undisturbed one."""
    record = site.checkout.records()[run_id]
    assert record["world"]["resumed"] is True
    assert record["loss"] == undisturbed["loss"]
    assert record["curve"] == undisturbed["curve"]
