"""The study through profiles/slurm on a cluster without accounting."""

from __future__ import annotations

import time

from checkout import jobs_of
from cluster_site import change, wait_until
from private_slurm import GPU_TYPE

NOTHING = "Nothing to be done"


def test_a_study_from_nothing_to_its_table(studied):
    site, output = studied
    records = site.checkout.records()
    assert len(records) == 6
    assert (site.checkout.study / "table.md").exists()
    # Where sacct is installed but nothing is accounted, it never reports that a job has finished.
    assert "accounting_storage/none" in site.cluster.ask("scontrol", "show", "config")
    assert not site.cluster.jobs()
    # The analysis ran where Snakemake runs.
    assert jobs_of(output) == 6 == output.count("has been submitted with SLURM jobid")
    assert "localrule fit_laws:" in output


def test_every_experiment_is_one_job_that_starts_once_with_its_own_gpus(studied):
    site, _ = studied
    uses = site.uses()
    for run_id, record in site.checkout.records().items():
        processes = 4 if record["n_params"] > 100 else 2
        assert record["world"]["num_processes"] == processes
        mine = sorted((use for use in uses if use["id"] == run_id), key=lambda use: use["rank"])
        assert [use["rank"] for use in mine] == list(range(processes))
        assert len({use["job"] for use in mine}) == 1
        # By the names of one node's GPUs, as many as there are processes.
        gpus = {gpu for use in mine for gpu in use["gpus"]}
        assert len(gpus) == processes
        assert len({gpu.rpartition("-")[0] for gpu in gpus}) == 1
    assert len({use["job"] for use in uses}) == 6
    assert overlaps(uses) == []


def test_switching_profiles_on_a_finished_study_trains_nothing(finished):
    assert NOTHING in finished.checkout.succeed("-n")
    assert NOTHING in finished.submit("-n")
    # Also where a rule's text has changed, which is a reason for a rerun without the profiles' keys
    rules = finished.checkout.path / "workflow" / "rules" / "train.smk"
    rules.write_text(rules.read_text().replace("python -m flops_fit", "python -u -m flops_fit"))
    assert NOTHING in finished.submit("-n")


def test_every_line_that_a_user_may_change_is_understood(finished):
    run_id = next(iter(finished.checkout.records()))
    finished.forget(run_id)
    text = finished.profile.read_text()
    lines = ("gpu_type", "slurm_account", "slurm_partition", "max_minutes", "sbatch_options")
    for line in lines:
        assert f"    # {line}: " in text
        text = text.replace(f"    # {line}: ", f"    {line}: ")
    finished.profile.write_text(text.replace("max_minutes: 1440", "max_minutes: 7"))
    output = finished.submit("-n")
    assert jobs_of(output) == 1
    (resources,) = [line for line in output.splitlines() if "slurm_extra=" in line]
    for expected in (
        "gpu=2", "gpu_model=a100", "runtime=7,", "slurm_account=my_project", "slurm_partition=gpu",
        "slurm_extra=--signal=USR1@120 --nice=100 --exclude=node7,",
    ):  # fmt: skip
        assert expected in resources


def test_gpus_are_asked_for_by_a_type_with_hyphens(finished):
    run_id = next(i for i, r in finished.checkout.records().items() if r["n_params"] < 100)
    finished.forget(run_id)
    typed = f"gpus_per_node: 4\n    gpu_type: {GPU_TYPE}"
    change(finished.profile, ("gpus_per_node: 4", typed))
    assert jobs_of(finished.submit("runs")) == 1
    # The job was given as many as there are processes, and its step has them all.
    assert [len(use["gpus"]) for use in finished.uses()] == [2, 2]


def test_nodes_without_gpus_for_us_train_on_their_cpus(finished):
    """The nodes have four, which SLURM did not give to the job."""
    run_id, record = next(
        (i, r) for i, r in finished.checkout.records().items() if r["n_params"] < 100
    )
    finished.forget(run_id)
    change(finished.profile, ("gpus_per_node: 4", "gpus_per_node: 0"))
    assert jobs_of(finished.submit("runs")) == 1
    assert [use["gpus"] for use in finished.uses()] == [[""], [""]]
    assert finished.checkout.records()[run_id]["loss"] == record["loss"]


def test_what_the_profile_spells_wrong_is_refused_before_anything_is_submitted(finished):
    finished.forget(next(iter(finished.checkout.records())))
    change(finished.profile, ("    gpus_per_node: 4", "    gpus_per_nodes: 4"))
    for dry in (["-n"], []):
        output = finished.checkout.refuse("--workflow-profile", "profiles/slurm", *dry)
        assert "gpus_per_nodes (set-resources of the rule train): is unknown" in output
        assert "has been submitted" not in output
    change(finished.profile, ("    gpus_per_nodes: 4", "    # gpus_per_node: 4"))
    output = finished.checkout.refuse("--workflow-profile", "profiles/slurm")
    assert "gpus_per_node (set-resources of the rule train): found nothing" in output
    assert "has been submitted" not in output


def test_a_cancelled_job_is_repeated_alone_and_one_that_slurm_queues_again_is_waited_for(finished):
    # One run for both, because Snakemake asks SLURM ever more seldom while nothing finishes.
    records = finished.checkout.records()
    pairs = [i for i, record in records.items() if record["world"]["num_processes"] == 2]
    cancelled, requeued, other = pairs[:3]
    finished.forget(cancelled, requeued, other)
    before = {p: p.stat().st_mtime_ns for p in (finished.checkout.study / "runs").glob("*.json")}
    # All are in the middle of their training when something happens to them.
    finished.configure_training(checkpoint_minutes=0.001)
    slow = finished.checkout.path / "slow"
    slow.write_text("0.2")
    run = finished.start("runs", "--retries", "0")
    wait_until(lambda: all(finished.checkpoint(i).exists() for i in pairs[:3]), seconds=600)
    jobs = {use["id"]: use["job"] for use in finished.uses()}
    finished.cluster.ask("scancel", jobs[cancelled])
    finished.cluster.ask("scontrol", "requeue", jobs[requeued])
    wait_until(lambda: len(finished.uses()) == 8, seconds=600)
    slow.unlink()
    output, _ = run.communicate(timeout=600)
    assert run.returncode != 0, output
    assert f"SLURM-job '{jobs[cancelled]}' failed, SLURM status is: 'CANCELLED'" in output
    assert output.count("has been submitted with SLURM jobid") == 3
    assert [use["job"] for use in finished.uses() if use["id"] == requeued] == [jobs[requeued]] * 4
    again = finished.checkout.records()
    assert set(again) == set(records) - {cancelled}
    assert jobs_of(finished.submit("runs")) == 1
    again = finished.checkout.records()
    for run_id in (cancelled, requeued, other):
        for field in ("loss", "curve"):
            assert again[run_id][field] == records[run_id][field]
        assert again[run_id]["world"]["resumed"] is (run_id != other)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def overlaps(uses: list[dict]) -> list[tuple[str, str]]:
    """Pairs of experiments that had one GPU at one time."""
    now = time.time()
    return [
        (a["id"], b["id"])
        for a in uses
        for b in uses
        if a["id"] < b["id"]
        and set(a["gpus"]) & set(b["gpus"])
        and a["begin"] < b.get("end", now)
        and b["begin"] < a.get("end", now)
    ]
