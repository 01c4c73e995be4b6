"""An experiment that branches off a trunk gives the very bits of one that trained all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cut_training import CASES, Asked, outcome, reset, train
from flops_fit.errors import Interrupted
from flops_fit.plan.job import Job
from flops_fit.plan.trunk_record import nothing_to_share
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    TRUNK_STATE,
    clear_checkpoints,
    state_folder,
    waits_for_trunk,
)
from flops_fit.train import curve, saving
from flops_fit.train.checkpoint import decode, encode, read_checkpoint, write_checkpoint
from flops_fit.train.trunk import train_trunk

pytestmark = pytest.mark.usefixtures("fresh_process")

WSD = {"train.schedule": "wsd", "train.warmup_steps": 3, "train.decay_fraction": 0.25}
LENGTHS = (12, 20, 20 + 12, 48)
LEAVES = (9, 15, 24, 24)  # the longest goes on by itself from where the last but one decays


@pytest.fixture
def branches(planned_cut, monkeypatch):
    """Return a function that plans experiments of several lengths: shortest first."""
    # Rows of the curves lie several steps apart, so that sums cross the branching
    monkeypatch.setattr(curve, "CURVE_ROWS", 5)

    def plan(case: str = "plain", lengths=LENGTHS, **more) -> list[Job]:
        changes, names = CASES[case]
        job, _ = planned_cut({**changes, **WSD, **more}, **names)
        jobs = []
        for steps in lengths:
            spec = replace(job.spec, D=steps * job.spec.batch)
            jobs.append(replace(job, spec=spec, steps=steps, trunk=spec.trunk))
        return jobs

    return plan


def grow(jobs, folder, looks=None) -> dict:
    reset()
    asked = None if looks is None else Asked(looks)
    return train_trunk(jobs, gpus=0, study_folder=folder, warned=asked)


def trunk_state(folder, job):
    return state_folder(folder, job.id) / TRUNK_STATE


def bits(record: dict) -> dict:
    """The outcome without what the record says of its trunk."""
    kept = outcome(record)
    shared = ("trunk", "own_D", "own_C")
    return {**kept, "world": {k: v for k, v in kept["world"].items() if k not in shared}}


def test_experiments_share_a_trunk_if_they_differ_in_length_alone(branches):
    jobs = branches()
    assert len({job.id for job in jobs}) == len(LENGTHS)
    (trunk,) = {job.spec.trunk for job in jobs}
    others = (
        {"seed": 1}, {"lr": 0.06}, {"batch": 20}, {"decay_shape": "1-sqrt"}, {"warmup_steps": 4},
    )  # fmt: skip
    for other in others:
        assert replace(jobs[0].spec, **other).trunk not in (trunk, None)
    assert replace(jobs[0].spec, warmup_steps=None).trunk is None
    assert replace(jobs[0].spec, decay_fraction=None, decay_shape=None).trunk is None


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_branch_has_the_bits_of_an_experiment_that_trained_all_of_it(branches, tmp_path, case):
    jobs = branches(case)
    training = grow(jobs, tmp_path)
    assert training["steps"] == 24
    assert training["C"] == 24 * jobs[0].spec.batch * jobs[0].flops_per_unit
    assert training["branches"] == dict(zip([job.id for job in jobs], LEAVES, strict=True))
    for job, step in zip(jobs, LEAVES, strict=True):
        branch, whole = train(job, tmp_path), train(job, tmp_path / "whole")
        assert bits(branch) == bits(whole)
        assert "trunk" not in whole["world"]
        own_D = (job.steps - step) * job.spec.batch
        found = {k: branch["world"][k] for k in ("trunk", "own_D", "own_C", "resumed")}
        own_C = own_D * job.flops_per_unit
        assert found == {"trunk": job.trunk, "own_D": own_D, "own_C": own_C, "resumed": False}


@pytest.mark.parametrize("case", ["plain", "everything"])
def test_a_trunk_that_is_stopped_after_every_step_leaves_the_same_states(branches, tmp_path, case):
    jobs = branches(case)
    for step in range(1, 24):
        with pytest.raises(Interrupted, match=f"after step {step} of"):
            grow(jobs, tmp_path, looks=0)
    training = grow(jobs, tmp_path)
    assert (training["steps"], training["resumed"]) == (24, True)
    for job in jobs:
        branch, whole = train(job, tmp_path), train(job, tmp_path / "whole")
        assert branch["world"]["trunk"] == job.trunk
        assert bits(branch) == bits(whole)


def test_a_branch_that_is_stopped_goes_on_from_its_own_checkpoint(branches, tmp_path):
    jobs = branches("everything")
    grow(jobs, tmp_path)
    with pytest.raises(Interrupted, match="after step 18 of 20"):
        train(jobs[1], tmp_path, looks=2)
    branch, whole = train(jobs[1], tmp_path), train(jobs[1], tmp_path / "whole")
    assert bits(branch) == bits(whole)
    assert branch["world"]["resumed"] is True
    assert (branch["world"]["trunk"], branch["world"]["own_D"]) == (jobs[1].trunk, 50)


def test_a_trunk_trains_only_for_those_that_wait(branches, tmp_path):
    jobs = branches()
    grow(jobs[1:3], tmp_path)
    assert [waits_for_trunk(tmp_path, job.id) for job in jobs] == [True, False, False, True]
    assert not nothing_to_share(jobs, tmp_path)
    clear_checkpoints(tmp_path, jobs[1].id)
    assert waits_for_trunk(tmp_path, jobs[1].id)
    training = grow(jobs, tmp_path)
    # Of the first, second and fourth, the second leaves after step 15, and the fourth with it
    assert training["branches"] == {jobs[0].id: 9, jobs[1].id: 15, jobs[3].id: 15}
    assert nothing_to_share(jobs, tmp_path)
    branch, whole = train(jobs[3], tmp_path), train(jobs[3], tmp_path / "whole")
    assert bits(branch) == bits(whole)


def test_one_that_waits_alone_trains_its_beginning_itself(branches, tmp_path):
    jobs = branches()
    assert nothing_to_share(jobs[:1], tmp_path)
    assert not nothing_to_share(jobs[:2], tmp_path)
    with pytest.raises(Interrupted):
        grow(jobs, tmp_path, looks=16)
    assert [trunk_state(tmp_path, job).exists() for job in jobs] == [True, True, False, False]
    # A trunk that was begun goes on, even for a single branch
    assert (state_folder(tmp_path, jobs[0].trunk) / CHECKPOINT).exists()
    assert not nothing_to_share(jobs[:3], tmp_path)


def damage(path, how: str, jobs) -> None:
    structure, tensors = read_checkpoint(path)
    content = decode(structure, lambda keys, name: tensors[name])
    if how == "flipped":
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(raw)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "deleted":
        path.unlink()
    elif how == "of another":
        path.write_bytes(trunk_state(path.parents[2], jobs[0]).read_bytes())
    else:
        content["trunk"] |= {"id": "f" * 12} if how == "of another trunk" else {"step": 16}
        write_checkpoint(path.parent, *encode(content), path.name)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("flipped", "it is damaged"),
        ("cut", "it is damaged"),
        ("deleted", None),
        ("of another", "id: found"),
        ("of another trunk", "trunk: found a dictionary of 2, expected an id"),
        ("too late", "trunk.step: found 16, expected 1 to 15"),
    ],
)
def test_a_state_that_is_not_the_right_one_is_never_begun_with(
    branches, tmp_path, caplog, how, said
):
    jobs = branches()
    grow(jobs, tmp_path)
    damage(trunk_state(tmp_path, jobs[1]), how, jobs)
    branch, whole = train(jobs[1], tmp_path), train(jobs[1], tmp_path / "whole")
    assert "trunk" not in branch["world"]
    assert bits(branch) == bits(whole)
    assert f"its trunk {jobs[1].trunk} left no state that it can go on from" in caplog.text
    assert said is None or f"{TRUNK_STATE}: is not used: {said}" in caplog.text


def test_what_diverges_in_the_trunk_diverges_in_every_experiment(branches, tmp_path):
    """A tenth of their steps, 100 at least, decides: the longest bears it longer."""
    exploding = {"train.lr": 100.0, "train.weight_decay": 0}
    jobs = branches(lengths=(400, 800, 4000), **exploding)
    training = grow(jobs, tmp_path)
    assert (training["diverged"], training["branches"]) == (True, {})
    ends = []
    for job in jobs:
        branch, whole = train(job, tmp_path), train(job, tmp_path / "whole")
        assert whole["status"] == "diverged"
        assert bits(branch) == bits(whole)
        ends.append(whole["steps"])
    assert max(ends[:2]) < 300 < ends[2] == training["steps"] < 600


def test_a_disk_that_is_full_costs_the_states_and_no_experiment(branches, tmp_path, monkeypatch):
    jobs = branches()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write_checkpoint", full)
    assert grow(jobs, tmp_path)["branches"] == {}
    monkeypatch.undo()
    monkeypatch.setattr(curve, "CURVE_ROWS", 5)
    branch, whole = train(jobs[0], tmp_path), train(jobs[0], tmp_path / "whole")
    assert bits(branch) == bits(whole)
