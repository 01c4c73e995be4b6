"""The trainer's arithmetic does not change unless RECIPE_VERSION does."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from checkout import ROOT
from flops_fit.plan.plan import RECIPE_VERSION
from reference_training import REFERENCE, STUDIES, run_apart

LIBRARY = ROOT / "workflow"
EDITS = {
    "schedule.py": ("math.cos", "math.sin"),
    "optimizer.py": ("0.95", "0.96"),
    "data_order.py": ("seed", "sead"),
    "evaluate.py": ("loss_std_err", "loss_standard_error"),
    "loop.py": ("/ self.spec.batch", "/ (self.spec.batch + 1)"),
}


def edited(folder: Path, name: str) -> Path:
    """Copy the library, with an edit of one module of the trainer."""
    library = folder / "workflow"
    shutil.copytree(LIBRARY / "flops_fit", library / "flops_fit")
    module = library / "flops_fit" / "train" / name
    old, new = EDITS[name]
    assert old in module.read_text()
    module.write_text(module.read_text().replace(old, new))
    return library


def test_the_trainer_computes_what_its_recipe_says():
    expected, found = json.loads(REFERENCE.read_text()), run_apart(LIBRARY)
    assert expected["recipe"] == RECIPE_VERSION, (
        "RECIPE_VERSION was raised: python tests/reference_training.py "
        "tests/data/reference_training.json writes what the new recipe computes"
    )
    for name in STUDIES:
        if (found["machine"], found["torch"]) == (expected["machine"], expected["torch"]):
            assert found[name] == expected[name], (
                "the trainer computes other numbers under the same RECIPE_VERSION: raise it "
                "(workflow/flops_fit/plan/plan.py), or undo the change"
            )
        for key in ("curve", "lr"):  # another processor or torch rounds in another way
            pairs = zip(found[name][key], expected[name][key], strict=True)
            assert all(
                math.isclose(float.fromhex(one), float.fromhex(other), rel_tol=1e-9)
                for one, other in pairs
            )


def test_a_changed_schedule_is_seen(tmp_path):
    expected, found = json.loads(REFERENCE.read_text()), run_apart(edited(tmp_path, "schedule.py"))
    assert found["cosine"]["id"] == expected["cosine"]["id"]
    assert found["cosine"]["weights"] != expected["cosine"]["weights"]


def test_the_reference_is_of_the_installed_torch():
    """Else nothing would be compared bit for bit."""
    assert json.loads(REFERENCE.read_text())["torch"] == version("torch").partition("+")[0]


def fingerprint(library: Path) -> str:
    script = "from flops_fit.train.trainer_fingerprint import trainer_fingerprint as f; print(f())"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(library)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_every_edit_of_the_trainer_has_a_fingerprint_of_its_own(tmp_path):
    found = {fingerprint(edited(tmp_path / name, name)) for name in EDITS}
    found.add(fingerprint(LIBRARY))
    assert len(found) == len(EDITS) + 1


@pytest.mark.parametrize("name", ["progress.py", "saving.py", "loop.py"])
def test_display_files_and_comments_have_none(tmp_path, name):
    library = tmp_path / "workflow"
    shutil.copytree(LIBRARY / "flops_fit", library / "flops_fit")
    module = library / "flops_fit" / "train" / name
    more = "# a comment\n" if name == "loop.py" else "LOG.info('more')\n"
    module.write_text(module.read_text() + more)
    assert fingerprint(library) == fingerprint(LIBRARY)
