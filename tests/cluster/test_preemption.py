"""An experiment that SLURM ends goes on where it was, and ends where an undisturbed one does."""

from __future__ import annotations

from cluster_site import change, wait_until


def test_the_time_limit_costs_nothing_but_time(finished):
    run_id, undisturbed = next(
        (i, r) for i, r in finished.checkout.records().items() if r["world"]["num_processes"] == 2
    )
    finished.forget(run_id)
    # One minute is the shortest limit; SLURM looks at limits twice a minute.
    limit = "cpus_per_process: 1\n    runtime: 1\n    slurm_extra: --signal=TERM@5"
    change(finished.profile, ("cpus_per_process: 1", limit))
    slow = finished.checkout.path / "slow"
    slow.write_text("0.2")
    run = finished.start(f"results/tiny/runs/{run_id}.json")
    saved = finished.checkout.study / "state" / run_id / "checkpoint.safetensors"
    wait_until(saved.exists, seconds=300)
    slow.unlink()
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    # It saved because it was told to: half a minute is far from train.checkpoint_minutes.
    assert "stopped by SIGTERM after step" in output
    assert len({use["job"] for use in finished.uses()}) >= 2
    resumed = finished.checkout.records()[run_id]
    assert resumed["world"]["resumed"] is True
    assert resumed["loss"] == undisturbed["loss"]
    assert resumed["curve"] == undisturbed["curve"]
