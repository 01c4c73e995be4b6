"""A job is what specs.json says, to the last digit, and no other experiment than its id's."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from flops_fit.files.fields import FieldError
from flops_fit.plan.files import plan_jobs
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan
from flops_fit.study.identity import fingerprint
from flops_fit.study.spec import Spec
from hand_computed import FULL, changed, dataset_meta, measures, small_study

WIDE = {"plan.tokens_per_param": [1, 1e9]}


def jobs(changes: dict | None = None) -> dict[str, Job]:
    study = small_study(changes)
    plan = make_plan(study, measures(study), dataset_meta())
    return plan_jobs(plan, study, data_folder="data", search_folder="studies")


@pytest.mark.parametrize("changes", [{}, {"train": changed(FULL, WIDE)["train"]}])
def test_a_job_survives_its_file(changes):
    """Numbers stay whole or not, and an id that is derived once is derived again."""
    if changes:
        budgets = {"batch": {6e6: 20}, "lr": {6e6: [0.1, 0.2]}}
        changes = {"train": changes["train"] | budgets, **WIDE}
    for run_id, job in jobs(changes).items():
        plain = json.loads(json.dumps(job.to_json()))
        read = Job.from_json(run_id, plain)
        assert (read, read.id) == (job, run_id)
        assert json.dumps(read.to_json()) == json.dumps(plain)
        assert fingerprint(read.spec.to_json()) == run_id


def test_a_spec_with_a_field_more_or_less_is_refused():
    """It would be trained, and its record refused: the id covers what the trainer does not know."""
    job = next(iter(jobs().values()))
    spec = job.spec.to_json()
    for other in (spec | {"more": 1}, {k: v for k, v in spec.items() if k != "lr"}):
        with pytest.raises(FieldError, match=r"^spec\.(more: is unknown|lr: is missing)$"):
            Job.from_json(fingerprint(other), job.to_json() | {"spec": other})
    assert Spec.from_json(spec) == job.spec
    needless = spec | {"decay_fraction": None}  # would be another id for the same training
    with pytest.raises(FieldError, match=r"^spec\.decay_fraction: found None, expected no such"):
        Job.from_json(fingerprint(needless), job.to_json() | {"spec": needless})


def test_steps_agree_with_the_units():
    run_id, job = next(iter(jobs().items()))
    with pytest.raises(FieldError, match=f"^steps: found {job.steps + 1}, expected {job.steps}$"):
        Job.from_json(run_id, replace(job, steps=job.steps + 1).to_json())
