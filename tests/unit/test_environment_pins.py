"""One set of pins: pip, conda and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "envs" / name).read_text().splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {match[1]: match[2] for match in found if match}


def supported(section) -> dict[str, Requirement]:
    return {requirement.name: requirement for requirement in map(Requirement, section)}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_file_has_the_same_versions():
    dependencies = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())["dependencies"]
    conda = dict(line.split("==") for line in dependencies[-1]["pip"])
    assert conda == pins("requirements.txt")
    assert f"python {PROJECT['requires-python']}" in dependencies


def test_pins_lie_in_the_supported_ranges_and_nothing_is_missing():
    for file, section in (
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-test.txt", PROJECT["optional-dependencies"]["test"]),
    ):
        ranges = supported(section)
        pinned = pins(file)
        assert set(pinned) == set(ranges)
        for name, version in pinned.items():
            assert ranges[name].specifier.contains(Version(version)), name


def test_constraints_leave_torch_to_the_one_in_use():
    constraints = pins("constraints.txt")
    assert not {"torch", "sympy", "networkx", "filelock", "fsspec", "jinja2"} & set(constraints)
    assert not set(constraints) & {name.lower() for name in pins("requirements.txt")}
