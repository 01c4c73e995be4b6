"""The commands in the closing lines, pasted into a shell in the folder where they were printed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

from checkout import TINY, bring_records, environment, jobs_of

PLACE = "it's a $(touch pwned) `plâce`"


def pasted(command: str, folder, *more: str) -> str:
    """Run a command as a shell does that somebody pastes it into, and return what it prints."""
    done = subprocess.run(
        ["bash", "-c", f"{command} {shlex.join(more)}"], cwd=folder, env=environment(), text=True,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def advised(output: str) -> tuple[str, str]:
    """Return the commands of the third closing line."""
    (line,) = [line for line in output.splitlines() if line.startswith("  next: ")]
    found = re.fullmatch(
        r"  next: `(.*)` trains only what is missing; `(.*)` fits what is there", line
    )
    assert found, line
    return found[1], found[2]


def test_they_work_where_the_workflow_its_folder_and_the_study_lie_apart(
    checkout, trained, tmp_path
):
    here = tmp_path / PLACE
    (here / "my work").mkdir(parents=True)
    checkout.config_file.rename(here / "my study.yaml")
    checkout.config_file.with_name("teacher.py").rename(here / "teacher.py")
    bring_records(trained[0], here / "my work" / "results" / "tiny", but=1)
    options = ["-s", str(checkout.path / "Snakefile"), "-d", "my work", "-c1"]
    options += ["--configfile", "my study.yaml", "--workflow-profile", "none"]
    options += ["--rerun-triggers", "mtime"]
    train, partial = advised(pasted("snakemake", here, "plan", *options))
    again = pasted(train, here, "-n")
    assert jobs_of(again) == 1
    assert jobs_of(again, "report") == 1
    assert jobs_of(again, "plan_experiments") == 0
    fitted = pasted(partial, here)
    assert "Provided cores: 1 " in fitted
    assert (here / "my work" / "results" / "tiny" / "partial" / "table.md").exists()
    assert advised(fitted) == (train, partial)
    assert not list(tmp_path.rglob("pwned"))


IMPORTER = """
module flops_fit:
    snakefile: "{snakefile}"
    config: config["scaling"]

use rule * from flops_fit as law_*

rule everything:
    default_target: True
    output:
        "paper.md"
    shell:
        "touch {{output}}"
"""


def test_they_name_the_rules_of_a_module(checkout, trained, tmp_path):
    """They print at the end of a run with nothing to do: Snakemake calls no hooks of a module."""
    here = tmp_path / "paper"
    here.mkdir()
    (here / "Snakefile").write_text(IMPORTER.format(snakefile=checkout.path / "Snakefile"))
    (here / "config.json").write_text(json.dumps({"scaling": TINY}))
    checkout.config_file.with_name("teacher.py").rename(here / "teacher.py")
    bring_records(trained[0], here / "results" / "tiny", but=1)
    planned = ["results/tiny/plan.csv", "--cores", "2", "--configfile", "config.json"]
    pasted("snakemake", here, *planned)
    train, partial = advised(pasted("snakemake", here, *planned))
    assert jobs_of(pasted(train, here, "-n"), "law_train") == 1
    assert jobs_of(pasted(partial, here, "-n"), "law_partial") == 1
