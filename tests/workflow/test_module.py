"""The workflow as a module of another one, whose folder it knows nothing of."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml
from checkout import ROOT, TINY, Checkout, bring_records, environment, jobs_of
from quick_design import forget_rounds, make_design, rounds_of

IMPORTER = """
module flops_fit:
    snakefile: "{snakefile}"
    config: config["scaling"]

use rule * from flops_fit {renamed}

rule everything:
    default_target: True
    input:
        "results/tiny/table.md"
    output:
        "paper/table.md"
    shell:
        "cp {{input}} {{output}}"
"""


@pytest.fixture
def importer(checkout, tmp_path):
    """A folder with a Snakefile that imports the workflow, and with the user's code beside it."""
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"title": "ours", "scaling": TINY}))
    teacher = checkout.config_file.with_name("teacher.py")
    teacher.rename(folder / "teacher.py")

    def run(*arguments: str, renamed: str = "", expected: int = 0) -> str:
        snakefile = checkout.path / "Snakefile"
        (folder / "Snakefile").write_text(IMPORTER.format(snakefile=snakefile, renamed=renamed))
        done = subprocess.run(
            ["snakemake", "--cores", "2", *arguments, "--configfile", "config.json"],
            cwd=folder, env=environment(), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        )  # fmt: skip
        assert done.returncode == expected, done.stdout
        return done.stdout

    run.folder = folder
    return run


def test_another_workflow_makes_its_table_from_ours(importer, checkout, trained):
    bring_records(trained[0], importer.folder / "results" / "tiny", but=2)
    output = importer()
    assert jobs_of(output) == 2
    assert "| C (FLOPs)" in (importer.folder / "paper" / "table.md").read_text()
    assert (importer.folder / "results" / "tiny" / "fit.json").exists()
    assert not (checkout.path / "results").exists()
    assert "Nothing to be done" in importer("-n")


def test_rules_that_are_renamed_find_each_other(importer):
    output = importer("law_plan", renamed="as law_*")
    assert "6 experiments at 2 budgets" in output
    # The resources of an experiment are found under the rule's new name.
    output = importer("-n", "--set-resources", "law_train:gpus_per_node=1", renamed="as law_*")
    assert jobs_of(output, "law_train") == 6
    assert output.count("slurm_extra=--signal=USR1@120") >= 6


def test_a_design_of_a_module_goes_on_where_it_was(importer, checkout, complete):
    """Its checkpoint has another name, and its first rounds were trained elsewhere."""
    make_design(checkout)
    config = yaml.safe_load(checkout.config_file.read_text())
    (importer.folder / "config.json").write_text(json.dumps({"scaling": config}))
    study = importer.folder / "results" / "tiny"
    shutil.copytree(complete[0].study, study)
    whole = rounds_of(Checkout(importer.folder))
    last = len(whole) - 2  # the one after it says that the design is complete
    forget_rounds(Checkout(importer.folder), last)
    for name in ("study.json", "planned_study.json"):
        (study / name).unlink()
    output = importer("law_runs", renamed="as law_*")
    assert jobs_of(output, "law_train") == len(whole[last])
    assert jobs_of(output, "law_plan_round") == len(whole)
    assert rounds_of(Checkout(importer.folder)) == whole
    assert jobs_of(importer("law_runs", "-n", renamed="as law_*"), "law_train") == 0


def test_a_mistake_in_the_importers_configuration_is_one_sentence(importer):
    path = importer.folder / "config.json"
    path.write_text(json.dumps({"scaling": TINY | {"los": "x:y"}}))
    output = importer(expected=1)
    assert "Snakefile: los:" in output
    assert "Traceback" not in output


def test_the_workflow_is_found_where_the_catalog_looks(checkout):
    """In workflow/Snakefile; it is the same one, and not a module of it."""
    plain = checkout.succeed("-n", "plan")
    assert f"Snakefile: {checkout.path}/Snakefile" in plain
    other = checkout.succeed("-n", "plan", "--snakefile", "workflow/Snakefile")
    assert f"Snakefile: {checkout.path}/workflow/Snakefile" in other
    for output in (plain, other):
        assert jobs_of(output, "plan_experiments") == jobs_of(output, "plan") == 1
    # Without --configfile both are the demo.
    for output in (
        checkout.succeed("-n", "plan", config=None),
        checkout.succeed("-n", "plan", "--snakefile", "workflow/Snakefile", config=None),
    ):
        assert "results/demo/rounds/0.csv" in output
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert (ROOT / "config" / "README.md").exists()
