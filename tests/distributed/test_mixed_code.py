"""A trainer compares its code with that of the study's runs, before it trains."""

from __future__ import annotations

import json

from launchpad import MODULE

NET = MODULE.replace("nn.Tanh()", "Act()").replace("import torch\n", "import torch\n", 1)
FAMILY = {
    "fam/__init__.py": "",
    "fam/models/__init__.py": "",
    "fam/models/net.py": "from fam.parts.act import Act\n" + NET,
    "fam/parts/__init__.py": "",
    "fam/parts/act.py": """
import importlib

from torch import nn


class Act(nn.Module):
    def forward(self, x):
        return importlib.import_module("fam.parts." + "curves").curve(x)
""",
    "fam/parts/curves.py": "import torch\n\n\ndef curve(x):\n    return torch.tanh(x)\n",
}


def family(launchpad, processes: int = 1) -> list[str]:
    """Plan a study whose model uses a package beside its own, and a module by a computed name."""
    for name, text in FAMILY.items():
        (launchpad.path / name).parent.mkdir(parents=True, exist_ok=True)
        (launchpad.path / name).write_text(text)
    launchpad.config["model"]["target"] = "fam.models.net:Perceptron"
    launchpad.config["train"]["processes"] = processes
    return launchpad.plan()


def refused(launchpad, run_id: str) -> str:
    process = launchpad.start(run_id)
    output, _ = process.communicate(timeout=600)
    assert process.returncode not in (0, 75), output
    assert "Traceback" not in output
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()
    assert "steps of" not in output  # what a trainer says when it begins
    return output


def test_code_outside_the_targets_folder_is_refused_when_it_changed(launchpad):
    first, second, *_ = family(launchpad)
    record = launchpad.launch(first)
    assert record["provenance"]["imported"] == ["fam.parts.curves"]
    costs = {
        run_id: job["flops_per_unit"] * job["spec"]["D"]
        for run_id, job in json.loads((launchpad.study / "specs.json").read_text()).items()
    }
    for name, old, new in (
        ("fam/parts/curves.py", "torch.tanh", "torch.sin"),
        ("fam/parts/act.py", ".curve(x)", ".curve(-x)"),
    ):
        path = launchpad.path / name
        path.write_text(FAMILY[name].replace(old, new))
        said = refused(launchpad, second)
        assert "the code of model (fam.models.net:Perceptron) is not that of 1 of the 1" in said
        assert first in said
        assert f"trains all {len(costs)} experiments anew for {sum(costs.values()):.3g}" in said
        path.write_text(FAMILY[name])
    source = launchpad.launch(second)["provenance"]["source"]
    assert source == record["provenance"]["source"]


def test_several_processes_refuse_together(launchpad):
    first, second, *_ = family(launchpad, processes=2)
    launchpad.launch(first)
    path = launchpad.path / "fam" / "parts" / "curves.py"
    path.write_text(path.read_text().replace("torch.tanh", "torch.sin"))
    assert "is not that of 1 of the 1 trained experiments" in refused(launchpad, second)


def test_a_study_that_allows_mixed_code_trains(launchpad):
    first, second, *_ = family(launchpad)
    one = launchpad.launch(first)
    launchpad.config["fit"] = {"allow_mixed_code": True}
    settings = {"config": {"fit": {"allow_mixed_code": True, "exclude": []}}}
    (launchpad.study / "planned_study.json").write_text(json.dumps(settings))
    path = launchpad.path / "fam" / "parts" / "curves.py"
    path.write_text(path.read_text().replace("torch.tanh", "torch.sin"))
    other = launchpad.launch(second)
    assert one["provenance"]["source"]["model"] != other["provenance"]["source"]["model"]
    assert one["provenance"]["source"]["loss"] == other["provenance"]["source"]["loss"]


def test_a_record_of_version_0_1_is_compared_by_its_own_fingerprints(launchpad):
    """As long as its file is the same, a study goes on after an update."""
    first, second, *_ = launchpad.plan()
    record = launchpad.launch(first)
    code = record["provenance"]
    code["source"] = code.pop("file_source")
    for name in ("trainer", "packages", "imported"):
        code.pop(name)
    record.pop("checksum")
    (launchpad.study / "runs" / f"{first}.json").write_text(json.dumps(record))
    path = launchpad.path / "points.py"
    path.write_text(MODULE + "\n\ndef unrelated():\n    pass\n")
    assert "is not that of 1 of the 1" in refused(launchpad, second)
    path.write_text(MODULE + "\n# a comment\n")
    assert launchpad.launch(second)["status"] == "completed"
