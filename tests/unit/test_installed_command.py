"""envs/install.py: the command that it writes into an environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

INSTALL = Path(__file__).resolve().parents[2] / "envs" / "install.py"


def installer():
    spec = importlib.util.spec_from_file_location("install", INSTALL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(folder):
    """A folder with a space in its name and this interpreter in its bin/."""
    venv = folder / "my venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    return venv


def test_the_command_runs_from_anywhere(tmp_path):
    venv = environment(tmp_path)
    installer().write_command(venv)
    installer().write_command(venv)
    command = venv / "bin" / "flops-fit"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    helped = subprocess.run(
        [command, "predict", "--help"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert helped.returncode == 0
    assert "compute in FLOPs" in helped.stdout
    wrong = subprocess.run(
        [command, "predict", "no where.json", "1e9"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: no where.json: cannot be read")


def test_the_command_of_an_installation_stays(tmp_path):
    venv = environment(tmp_path)
    command = venv / "bin" / "flops-fit"
    command.write_text("#!/usr/bin/python3\n# pip's own\n")
    installer().write_command(venv)
    assert command.read_text() == "#!/usr/bin/python3\n# pip's own\n"
