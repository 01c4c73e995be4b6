"""A working copy of the workflow with one small study, for the tests that run it for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "workflow", "profiles", "config", "envs")  # what a study needs of a checkout

TINY = {
    "study": "tiny",
    "model": {
        "target": "teacher:Classifier",
        "size_param": "width",
        "sizes": [2, 5, 16],
        "kwargs": {"n_features": 8, "n_classes": 4},
    },
    "dataset": {
        "target": "teacher:TeacherLabels",
        "kwargs": {"n_features": 8, "n_classes": 4},
    },
    "loss": "teacher:cross_entropy",
    "plan": {"budgets": ["2e6", 4e6], "tokens_per_param": [1, 5000], "min_steps": 10},
    "train": {"batch": 32, "lr": 0.01, "eval_units": 2048},
    "predict": {"budgets": ["1e8"]},
}


@dataclass
class Checkout:
    """A working copy of the workflow, as a user has it, with one study besides the demo."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)  # of the environment, beside ours

    @property
    def config_file(self) -> Path:
        return self.path / "config" / "studies" / "tiny.yaml"

    @property
    def study(self) -> Path:
        return self.path / "results" / "tiny"

    def configure(self, change=None, name: str = "tiny.yaml") -> Path:
        """Write the study's configuration, changed by a function, and return its path."""
        config = json.loads(json.dumps(TINY))
        if change:
            change(config)
        path = self.config_file.with_name(name)
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def snakemake(self, *arguments: str, config: str | None = "config/studies/tiny.yaml"):
        """Run snakemake as a person would, and return the finished process."""
        command = ["snakemake", *arguments, *(["--configfile", config] if config else [])]
        return subprocess.run(
            command, cwd=self.path, env=environment() | self.variables, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        )  # fmt: skip

    def succeed(self, *arguments: str, **keywords) -> str:
        """Run snakemake, which has to succeed, and return what it printed."""
        done = self.snakemake(*arguments, **keywords)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def refuse(self, *arguments: str, **keywords) -> str:
        """Run snakemake, which has to fail without a traceback, and return what it printed."""
        done = self.snakemake(*arguments, **keywords)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def records(self) -> dict[str, dict]:
        """All run records by id."""
        return {
            path.stem: json.loads(path.read_text())
            for path in sorted((self.study / "runs").glob("*.json"))
        }


def environment() -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    return clean | {"PATH": os.pathsep.join([scripts, clean["PATH"]])}


def jobs_of(output: str, rule: str = "train") -> int:
    """How many jobs of a rule Snakemake started, according to what it printed."""
    return len(re.findall(rf"^(?:local)?(?:rule|checkpoint) {rule}:$", output, re.MULTILINE))


def bring_records(source: Checkout, results: Path, but: int = 1) -> list[str]:
    """Copy the finished records of a study to another results folder; return those left out."""
    (results / "runs").mkdir(parents=True, exist_ok=True)
    ids = list(source.records())
    for run_id in ids[but:]:
        shutil.copy2(source.study / "runs" / f"{run_id}.json", results / "runs")
    return ids[:but]


def copy_checkout(source: Path, target: Path, parts: tuple[str, ...] | None) -> Checkout:
    # With what Python compiled: it goes by the times of the sources, which are copied as well.
    if parts is None:
        shutil.copytree(source, target)
        return Checkout(target)
    target.mkdir(parents=True)
    for part in parts:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        else:
            shutil.copy2(source / part, target / part)
    made = Checkout(target)
    made.configure()
    return made
