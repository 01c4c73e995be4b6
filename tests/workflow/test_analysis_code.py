"""An analysis runs again when its code changed; no training does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import ROOT, jobs_of
from flops_fit.pipeline.sources import imported_sources

WORKFLOW = ROOT / "workflow"
SCRIPTS = {
    "collect.py": "collect", "import_runs.py": "collect", "fit.py": "fit_laws", "report.py": "draw",
}  # fmt: skip

# Executes the imports of a script, those inside its blocks, too, and prints what was loaded.
IMPORT = """
import ast, sys
tree = ast.parse(open(sys.argv[1]).read())
found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
exec(compile(ast.Module(found, []), sys.argv[1], "exec"))
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] == "flops_fit":
        print(module.__file__)
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_module_that_a_script_really_imports_is_a_source_of_it(script):
    path = WORKFLOW / "scripts" / script
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(path)], text=True, check=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(WORKFLOW)},
    )  # fmt: skip
    loaded = {Path(line) for line in done.stdout.splitlines()}
    sources = imported_sources(path, WORKFLOW)
    assert len(loaded) > 5
    assert loaded | {path} <= set(sources)
    # Beside these there are imports for type checking and inside of functions alone.
    assert all(source.is_relative_to(WORKFLOW) for source in sources)
    assert not any(source.is_relative_to(WORKFLOW / "flops_fit" / "train") for source in sources)


# Fits with every approach, and prints what was loaded by the end of it.
FIT = """
import sys
import numpy as np
from flops_fit.laws import fit_runs

C = np.repeat([1e12, 1e13, 1e14, 1e15], 5)
N = np.sqrt(C) * np.tile([0.25, 0.5, 1.0, 2.0, 4.0], 4)
loss = 2 + 30 / N**0.3 + 30 / (C / (6 * N)) ** 0.3
runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": loss}
fit = fit_runs(runs, study="all", params="total", bootstrap=5, workers=1)
assert all(entry["status"] == "ok" for entry in fit["approaches"].values()), fit["approaches"]
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] == "flops_fit":
        print(module.__file__)
"""


def test_every_module_that_a_fit_loads_on_its_way_is_a_source_of_it():
    done = subprocess.run(
        [sys.executable, "-c", FIT], text=True, check=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(WORKFLOW)},
    )  # fmt: skip
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert WORKFLOW / "flops_fit/laws/approaches/envelope.py" in loaded
    assert loaded <= set(imported_sources(WORKFLOW / "scripts" / "fit.py", WORKFLOW))


def test_imports_are_found_in_every_way_of_writing_them(tmp_path):
    package = tmp_path / "flops_fit"
    for name in ("a/b.py", "a/__init__.py", "c.py", "d.py", "e.py", "f.py", "__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    (package / "c.py").write_text(
        "def f():\n    from flops_fit import (\n        d,  # (so)\n    )\n"
    )
    (package / "f.py").write_text("import flops_fit.c\n")
    script = tmp_path / "script.py"
    script.write_text(
        '"""Text\nfrom flops_fit to you\n"""\nimport os\nfrom flops_fit.a.b import x\n'
    )
    found = ["__init__.py", "a/__init__.py", "a/b.py"]
    assert imported_sources(script, tmp_path) == sorted([script, *(package / n for n in found)])
    # By an import path in quotes
    registry = tmp_path / "registry.py"
    registry.write_text('PLACES = {"e": "flops_fit.e:thing", "no": "not flops_fit.d"}\n')
    assert imported_sources(registry, tmp_path) == sorted(
        [registry, package / "__init__.py", package / "e.py"]
    )
    # Through others, and in a function, over several lines
    other = tmp_path / "other.py"
    other.write_text("import flops_fit.f as g\n")
    found = ["__init__.py", "c.py", "d.py", "f.py"]
    assert imported_sources(other, tmp_path) == sorted([other, *(package / n for n in found)])


def reasons(output: str) -> dict[str, str]:
    """Why each rule of a dry run would run, by its name."""
    pattern = r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    reason: (.*)$"
    return dict(re.findall(pattern, output, re.MULTILINE))


def edit(checkout, source: str) -> None:
    with open(checkout.path / source, "a", encoding="utf-8") as file:
        file.write("\n# an edit\n")


def sources_in(checkout, script: str) -> set[str]:
    """The sources of a script, as paths from the checkout's folder."""
    found = imported_sources(
        checkout.path / "workflow/scripts" / script, checkout.path / "workflow"
    )
    return {str(path.relative_to(checkout.path)) for path in found}


def check_each_edit(checkout, scripts: list[str], config: str) -> None:
    """Edit every module of the scripts, the last one's first; a dry run has to name each of them.

    A rule whose input another job makes names no other reason: so modules that two scripts share
    are edited for the first of them alone.
    """
    assert "Nothing to be done" in checkout.succeed("-n", config=config)
    sources = {script: sources_in(checkout, script) for script in scripts}
    for i in reversed(range(len(scripts))):
        own = sources[scripts[i]].difference(*(sources[script] for script in scripts[:i]))
        assert f"workflow/scripts/{scripts[i]}" in own
        for source in own:
            edit(checkout, source)
        output = checkout.succeed("-n", config=config)
        reason = reasons(output)[SCRIPTS[scripts[i]]]
        (updated,) = re.findall(r"Updated input files: ([^;]*)", reason)
        assert set(updated.split(", ")) == own
        assert jobs_of(output, "train") == jobs_of(output, "prepare") == 0
        assert jobs_of(output, "plan_experiments") == 0


def test_an_edit_of_any_module_of_an_imported_study_is_seen(checkout):
    runs = pd.read_csv(ROOT / "tests/data/study_of_version_0.1.0/results/points/runs.csv")
    folder = checkout.config_file.parent
    runs[["id", "N", "D", "C", "loss"]].to_csv(folder / "theirs.csv", index=False)
    names = {name: name for name in ("id", "N", "D", "C", "loss")}
    study = {
        "study": "own", "runs_table": {"path": "theirs.csv", "columns": names},
        "fit": {"bootstrap": 20}, "predict": {"budgets": [1e8]},
    }  # fmt: skip
    config = "config/studies/own.yaml"
    (checkout.path / config).write_text(yaml.safe_dump(study))
    checkout.succeed("--cores", "2", config=config)
    check_each_edit(checkout, ["import_runs.py", "fit.py", "report.py"], config)


OLD = ROOT / "tests" / "data" / "study_of_version_0.1.0"
OLD_CONFIG = "config/studies/points.yaml"


@pytest.fixture
def old(checkout):
    """A checkout of today with a study that version 0.1.0 trained."""
    shutil.copytree(OLD, checkout.path, dirs_exist_ok=True)
    return checkout


def stamps(checkout) -> dict[Path, int]:
    runs = checkout.path / "results" / "points" / "runs"
    return {path: path.stat().st_mtime_ns for path in runs.glob("*.json")}


def test_a_study_of_an_older_version_trains_nothing_again(old):
    before = stamps(old)
    assert len(before) == 8
    output = old.succeed("--cores", "2", config=OLD_CONFIG)
    assert jobs_of(output) == jobs_of(output, "prepare") == 0
    assert jobs_of(output, "collect") == jobs_of(output, "fit_laws") == jobs_of(output, "draw") == 1
    assert stamps(old) == before
    results = old.path / "results" / "points"
    planned = set(json.loads((results / "specs.json").read_text()))
    assert planned == {path.stem for path in before}
    then, now = (pd.read_csv(f / "results/points/runs.csv") for f in (OLD, old.path))
    shared = [column for column in then if column in now]
    assert {"id", "status", "N", "D", "C", "loss"} <= set(shared)
    pd.testing.assert_frame_equal(now[shared], then[shared])
    # Every edit of what collect imports is seen, and still nothing is trained. (The fit and the
    # report are the same in every study.)
    check_each_edit(old, ["collect.py"], OLD_CONFIG)


def test_a_new_budget_of_an_older_study_trains_its_own_experiments_alone(old):
    before = stamps(old)
    path = old.path / OLD_CONFIG
    config = yaml.safe_load(path.read_text())
    config["plan"]["budgets"].append(4e5)
    path.write_text(yaml.safe_dump(config))
    old.succeed("plan", "--cores", "2", config=OLD_CONFIG)
    specs = json.loads((old.path / "results/points/specs.json").read_text())
    assert {stamp.stem for stamp in before} < set(specs)
    output = old.succeed("-n", "runs", config=OLD_CONFIG)
    new = re.findall(r"^    output: results/points/runs/(\w+)\.json$", output, re.MULTILINE)
    assert set(new) == set(specs) - {stamp.stem for stamp in before}
    assert stamps(old) == before
