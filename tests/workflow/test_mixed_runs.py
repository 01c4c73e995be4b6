"""Runs of different code or data are not mixed in silence, and are refused before they cost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkout import Checkout, jobs_of

TANH = ("torch.relu(self.hidden(x))", "torch.tanh(self.hidden(x))")


def edit(checkout: Checkout, old: str, new: str, name: str = "config/studies/teacher.py") -> None:
    path = checkout.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def forget(checkout: Checkout, i: int = 0) -> str:
    """Delete the record of an experiment and return its id."""
    run_id = list(checkout.records())[i]
    (checkout.study / "runs" / f"{run_id}.json").unlink()
    return run_id


def judgements(checkout: Checkout) -> dict[str, dict]:
    fit = json.loads((checkout.study / "fit.json").read_text())
    return {one["code"]: one["values"] for one in fit["judgements"]}


def test_an_edited_model_is_refused_with_what_each_way_out_costs(finished):
    missing = forget(finished)
    edit(finished, *TANH)
    kept = sorted(finished.records())
    specs = json.loads((finished.study / "specs.json").read_text())
    costs = {key: job["flops_per_unit"] * job["spec"]["D"] for key, job in specs.items()}
    for arguments in (("--dry-run",), ("--cores", "2")):
        said = finished.refuse(*arguments)
        assert jobs_of(said) == 0
        assert "the code of model (teacher:Classifier) is not that of 5 of the 5 trained" in said
        assert all(run_id in said for run_id in kept)
        assert "undo the edit, or raise model.version, which trains all 6 experiments anew" in said
        total, spent = sum(costs.values()), sum(costs[key] for key in kept)
        assert f"anew for {total:.3g} FLOPs (5 of them and {spent:.3g} FLOPs a second time)" in said
        assert "set fit.allow_mixed_code: true" in said
        assert "next:" not in said
    assert sorted(finished.records()) == kept
    finished.configure(lambda config: config["plan"].update(seeds=[0, 1]))
    said = finished.succeed("plan", "--cores", "1")
    assert "Nothing of it will be trained: config/studies/tiny.yaml: the code of model" in said
    assert "\n  failed: error: config/studies/tiny.yaml: the code of model" in said
    assert "\n  next: do what that sentence asks for, then `snakemake" in said
    finished.configure()
    edit(finished, *reversed(TANH))
    assert "will be trained" not in finished.succeed("plan", "--cores", "1")
    assert jobs_of(finished.succeed("--dry-run")) == 1
    finished.configure(lambda config: config["model"].update(version=2))
    edit(finished, *TANH)
    finished.succeed("plan", "--cores", "1")
    assert jobs_of(finished.succeed("--dry-run")) == 6
    assert missing not in finished.records()


def test_an_allowed_mixture_is_said_and_taken_apart_again(finished):
    edited = forget(finished)
    edit(finished, *TANH)
    finished.configure(lambda config: config.update(fit={"allow_mixed_code": True}))
    assert jobs_of(finished.succeed("--cores", "2")) == 1
    groups = judgements(finished)["mixed_code"]["fingerprints"]
    assert list(groups) == ["model_source"]
    assert [edited] in groups["model_source"].values()

    # Undone: the record that was trained meanwhile can be deleted alone.
    edit(finished, *reversed(TANH))
    finished.configure()
    missing = forget(finished, -1)
    said = finished.refuse("--cores", "2")
    assert f"1 of the 5 trained experiments ({edited})" in said
    assert "delete the 1 with the other code, results/tiny/runs/<id>.json and" in said
    (finished.study / "runs" / f"{edited}.json").unlink()
    shutil.rmtree(finished.study / "state" / edited)
    assert jobs_of(finished.succeed("--cores", "2")) == 2
    assert {edited, missing} <= set(finished.records())
    assert "mixed_code" not in judgements(finished)


def test_what_the_targets_do_not_use_may_change(finished):
    forget(finished)
    path = finished.path / "config" / "studies" / "teacher.py"
    path.write_text(path.read_text() + "\n\ndef unrelated(x):\n    return x + 1\n")
    output = finished.succeed("--cores", "2")
    assert jobs_of(output) == 1
    assert jobs_of(output, "plan_experiments") == 0
    assert "mixed_code" not in judgements(finished)


def test_a_plan_of_version_0_1_which_did_not_note_its_code_goes_on(finished):
    missing = forget(finished)
    (finished.study / "planned_code.json").unlink()
    output = finished.succeed("--cores", "2")
    assert (jobs_of(output), jobs_of(output, "collect")) == (1, 1)
    assert jobs_of(output, "plan_experiments") == 0
    assert missing in finished.records()


def test_a_finished_study_does_not_mind_that_its_code_moves_on(finished):
    edit(finished, *TANH)
    assert "Nothing to be done" in finished.succeed("--cores", "2")


def test_code_that_is_mended_before_anything_was_trained_is_planned_again(checkout):
    """The FLOPs of the plan were measured with the former code."""
    for change in (TANH, TANH[::-1]):
        checkout.succeed("plan", "--cores", "1")
        former = json.loads((checkout.study / "planned_code.json").read_text())
        edit(checkout, *change)
    output = checkout.succeed("plan", "--cores", "1")
    assert jobs_of(output, "plan_experiments") == 1
    planned = json.loads((checkout.study / "planned_code.json").read_text())
    changed = {part for part, one in planned["fingerprints"].items()
               if one != former["fingerprints"][part]}  # fmt: skip
    assert changed == {"model"}
    assert jobs_of(checkout.succeed("plan", "--cores", "1"), "plan_experiments") == 0


@pytest.mark.parametrize("change", ["permuted targets", "doubled validation"])
def test_data_that_changed_are_refused_before_anything_is_trained(finished, change):
    forget(finished)
    forget(finished)
    (folder,) = (one for one in (finished.path / "results" / "data").iterdir() if one.is_dir())
    if change == "permuted targets":
        targets = np.load(folder / "train_y.npy")
        np.save(folder / "train_y.npy", np.roll(targets, 1))
    else:
        for name in ("validation_x.npy", "validation_y.npy"):
            values = np.load(folder / name)
            np.save(folder / name, np.concatenate([values, values]))
    planned = json.loads((folder / "meta.json").read_text())["splits"]
    said = finished.refuse("--cores", "2", "-k")
    split = "train" if change == "permuted targets" else "validation"
    found = re.search(
        rf"the {split} split is not the one that was planned: found (\d+) samples with the "
        rf"fingerprint (\w+), expected (\d+) with (\w+);",
        said,
    )
    assert found
    expected = planned[split]
    assert (int(found[3]), found[4]) == (expected["samples"], expected["fingerprint"])
    assert found[2] != found[4]
    assert (int(found[1]) == 2 * int(found[3])) == (split == "validation")
    assert "dataset.version" in said
    assert len(finished.records()) == 4


def test_an_edit_of_the_trainer_is_named_where_its_runs_are_fitted_with_others(finished):
    edited = forget(finished)
    schedule = "workflow/flops_fit/train/schedule.py"
    edit(
        finished,
        "warmup = round(warmup_fraction * steps)",
        "warmup = round(warmup_fraction * steps * 2)",
        schedule,
    )
    assert jobs_of(finished.succeed("--cores", "2")) == 1
    assert edited in finished.records()
    trainers = judgements(finished)["mixed_trainer"]["trainers"]
    assert sorted(map(len, trainers.values())) == [1, 5]
    assert [edited] in trainers.values()
    (text,) = [
        one for one in json.loads((finished.study / "fit.json").read_text())["warnings"]
        if "different trainers" in one
    ]  # fmt: skip
    assert edited in text


def test_versions_of_torch_and_devices_are_compared(finished):
    """The records are rewritten as another environment would have written them."""
    for i, (run_id, record) in enumerate(finished.records().items()):
        record["provenance"]["torch"] = "2.12.1" if i == 0 else record["provenance"]["torch"]
        record["world"]["device"] = "NVIDIA H100" if i > 3 else "cpu"
        record["provenance"].pop("trainer")
        Path(finished.study / "runs" / f"{run_id}.json").write_text(json.dumps(record))
    finished.succeed("--cores", "2")
    ids = list(finished.records())
    found = judgements(finished)
    assert found["mixed_environment"]["circumstances"]["torch"]["2.12.1"] == ids[:1]
    assert sorted(found["mixed_environment"]["circumstances"]["device"]["NVIDIA H100"]) == ids[4:]
    assert sorted(found["unknown_trainer"]["ids"]) == ids
    assert "mixed_trainer" not in found
