"""`snakemake calibrate` through profiles/slurm: one job with the hardware of the experiments."""

from __future__ import annotations

import json

from checkout import jobs_of


def test_a_calibration_is_one_job_with_gpus_of_its_own(site):
    site.checkout.configure(lambda c: c["train"].update(processes=2))
    output = site.submit("calibrate")
    assert jobs_of(output, "calibrate") == 1
    assert output.count("has been submitted with SLURM jobid") == 1
    assert not (site.checkout.study / "runs").exists()
    file = site.checkout.study / "calibration" / "calibration.json"
    made = json.loads(file.read_text())
    # A job has the hardware of one experiment: one trial at a time, each with both GPUs.
    assert made["side_by_side"] == 1
    assert {point["processes"] for point in made["points"]} == {2}
    uses = site.uses()
    assert len({use["job"] for use in uses}) == 1
    assert {use["id"] for use in uses} == set(json.loads(
        (file.parent / "specs.json").read_text()
    ))  # fmt: skip
    assert all(len(use["gpus"]) == 2 for use in uses)
    # The plan of the same cluster uses it, whatever it is planned on.
    output = site.submit("plan")
    assert "by results/tiny/calibration/calibration.json" in output
    assert "waiting in the queue not counted" in output
