"""Names that a shell would interpret stay names: nothing is executed, nothing written elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from checkout import PARTS, ROOT, bring_records, copy_checkout, jobs_of

HOSTILE = "a b'c\"d $(touch pwned) `touch pwned` ; touch pwned & ünï"


def test_a_study_runs_in_a_folder_and_from_a_file_with_a_hostile_name(trained, tmp_path):
    checkout = copy_checkout(ROOT, tmp_path / HOSTILE, PARTS)
    bring_records(trained[0], checkout.study)
    name = f"{HOSTILE}.yaml"
    checkout.configure(name=name)
    config = f"config/studies/{name}"
    before = set(tmp_path.rglob("*"))
    output = checkout.succeed("--cores", "2", config=config)
    assert jobs_of(output) == 1
    assert "6 done" in output
    assert (checkout.study / "table.md").exists()
    assert not list(tmp_path.rglob("pwned"))
    # All that the run wrote lies in the results folder, or is Snakemake's own.
    known = {*PARTS, "results", ".snakemake"}
    assert {path.name for path in checkout.path.iterdir()} == known
    written = {path.relative_to(checkout.path / "results").parts[0] for path in files(checkout)}
    assert written <= {"tiny", "data", "README.md"}
    allowed = (checkout.path / "results", checkout.path / ".snakemake")
    beside = {
        path for path in set(tmp_path.rglob("*")) - before
        if "__pycache__" not in path.parts  # Python's own, beside modules
        and not any(path == folder or folder in path.parents for folder in allowed)
    }  # fmt: skip
    assert beside == set()


def files(checkout) -> list[Path]:
    """All files in the results folder."""
    found = []
    for folder, _, names in os.walk(checkout.path / "results"):
        found += [Path(folder) / name for name in names]
    return found


def test_values_of_a_configuration_are_never_interpreted(checkout):
    """The kwargs reach the user's code as they are."""
    module = checkout.config_file.with_name("literal.py")
    module.write_text(
        "from teacher import TeacherLabels\n\n\n"
        "class Literal(TeacherLabels):\n"
        "    @classmethod\n"
        "    def prepare(cls, folder, note, **kwargs):\n"
        "        super().prepare(folder, **kwargs)\n"
        "        (folder / 'note').write_text(note)\n\n"
        "    def __init__(self, split, folder, note, **kwargs):\n"
        "        super().__init__(split, folder, **kwargs)\n"
        "        assert note == (folder / 'note').read_text()\n"
    )
    note = HOSTILE + "\n{wildcards.id} {{x}} ${HOME} ../../ %s"

    def change(config):
        config["dataset"] |= {"target": "literal:Literal"}
        config["dataset"]["kwargs"]["note"] = note

    checkout.configure(change)
    checkout.succeed("plan")
    (found,) = (checkout.path / "results" / "data").glob("*/note")
    assert found.read_text() == note
    assert not list(checkout.path.rglob("pwned"))


def test_a_yaml_tag_executes_nothing_and_is_refused(checkout):
    path = checkout.config_file
    path.write_text(path.read_text() + "\nextra: !!python/object/apply:os.system ['touch pwned']\n")
    output = checkout.refuse("plan")
    assert "Config file is not valid JSON or YAML" in output
    assert not list(checkout.path.rglob("pwned"))


def test_yaml_anchors_are_what_they_stand_for(checkout):
    text = checkout.config_file.read_text()
    assert "budgets:" in text
    path = checkout.config_file.with_name("anchors.yaml")
    path.write_text(
        "study: tiny\n"
        "model: {target: 'teacher:Classifier', size_param: width, sizes: [2, 5, 16],\n"
        "        kwargs: &same {n_features: 8, n_classes: 4}}\n"
        "dataset: {target: 'teacher:TeacherLabels', kwargs: *same}\n"
        "loss: teacher:cross_entropy\n"
        "plan: {budgets: [2e6, 4e6], tokens_per_param: [1, 5000], min_steps: 10}\n"
        "train: {batch: 32, lr: 0.01, eval_units: 2048}\n"
    )
    assert "6 experiments at 2 budgets" in checkout.succeed(
        "plan", config="config/studies/anchors.yaml"
    )
