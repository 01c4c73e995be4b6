"""Create .venv where there is none and install the pinned requirements into it.

    python3 envs/install.py [--tests] [--venv .venv]

An environment that exists is kept, and so is a torch in it that lies in the supported range
(pyproject.toml): a user's CUDA or CPU build is his own choice. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ENVS = Path(__file__).resolve().parent
WRITTEN_HERE = "Written by envs/install.py of flops-fit, which may overwrite it."
FIND_TORCH = (
    "import importlib.metadata as m\n"
    "try: print(m.version('torch'))\n"
    "except m.PackageNotFoundError: print('')"
)


def supported_torch() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the supported range of torch, lower bound inclusive, upper exclusive."""
    text = (ENVS.parent / "pyproject.toml").read_text(encoding="utf-8")
    low, high = re.search(r'"torch>=([\d.]+),<([\d.]+)"', text).groups()
    return release(low), release(high)


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: 2.13.0+cu128 is (2, 13, 0)."""
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split("."))


def venv_python(venv: Path) -> Path:
    """Return the interpreter of a virtual environment, made where there is none."""
    python = venv / "bin" / "python"
    if not python.exists():
        if sys.version_info[:2] < (3, 11):  # noqa: UP036 - this runs before anything is checked
            sys.exit(
                f"error: {sys.executable} is Python {sys.version.split()[0]}, expected 3.11 or "
                "newer; name one, for example: make demo PYTHON=python3.11"
            )
        print(f"creating {venv}", flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False)
        if made.returncode:
            shutil.rmtree(venv, ignore_errors=True)
            sys.exit(
                f"error: {sys.executable} -m venv failed; on Debian and Ubuntu the package "
                "python3-venv is what it needs"
            )
    has_pip = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
    if has_pip.returncode:
        sys.exit(f"error: {venv} has no pip; remove it (rm -r {venv}) and run make again")
    version = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    if tuple(map(int, version)) < (3, 11):
        sys.exit(
            f"error: {venv} has Python {'.'.join(version)}, expected 3.11 or newer; "
            f"remove it (rm -r {venv}) and name another Python: make demo PYTHON=python3.11"
        )
    return python


def requirements(torch: str) -> str:
    """Return the text of requirements.txt, with the line of torch left out if one is kept."""
    lines = (ENVS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if torch:
        lines = [line for line in lines if not line.startswith("torch==")]
    return "\n".join(lines) + "\n"


def write_command(venv: Path) -> None:
    """Write the command `flops-fit` into the environment, unless it has another one.

    It runs the code of this folder. An installation (pip install -e .) brings its own, and stays.
    """
    command = venv / "bin" / "flops-fit"
    if command.exists() and WRITTEN_HERE not in command.read_text(encoding="utf-8"):
        return
    library = shlex.quote(str(ENVS.parent / "workflow"))
    python = shlex.quote(str(venv.absolute() / "bin" / "python"))
    command.write_text(
        f"#!/bin/sh\n# {WRITTEN_HERE}\n"
        f"export PYTHONPATH={library}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f'exec {python} -m flops_fit.cli "$@"\n',
        encoding="utf-8",
    )
    command.chmod(0o755)


def main() -> None:
    """Install what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ENVS.parent / ".venv")
    parser.add_argument("--tests", action="store_true", help="also what the tests need")
    options = parser.parse_args()
    python = venv_python(options.venv)
    torch = subprocess.run(
        [python, "-c", FIND_TORCH], capture_output=True, text=True, check=True
    ).stdout.strip()
    low, high = supported_torch()
    if torch and not low <= release(torch) < high:
        sys.exit(
            f"error: {options.venv} has torch {torch}, expected "
            f">={'.'.join(map(str, low))},<{'.'.join(map(str, high))}; install another one there, "
            "or remove that environment"
        )
    if torch:
        print(f"keeping torch {torch} of {options.venv}", flush=True)
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    if options.tests:
        command += ["-r", ENVS / "requirements-test.txt"]
    # Beside requirements.txt, so that its relative names hold.
    descriptor, name = tempfile.mkstemp(".txt", "requirements-", ENVS, text=True)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(requirements(torch) + (f"torch=={torch}\n" if torch else ""))
        done = subprocess.run([*command, "-r", name], check=False)
    finally:
        os.unlink(name)
    if not done.returncode:
        write_command(options.venv)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
