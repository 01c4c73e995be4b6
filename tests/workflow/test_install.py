"""`make` on a machine where the user brought an environment of his own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT, environment


def wheel_of_torch(folder: Path, version: str) -> Path:
    """A real wheel that stands for a user's own build of torch."""
    path = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("torch/__init__.py", f"__version__ = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = [
            "torch/__init__.py",
            *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD")),
        ]
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    return path


@pytest.fixture
def fresh(tmp_path) -> Path:
    """The files that the installation needs, in a folder of their own."""
    folder = tmp_path / "fresh clone"  # a path with a space, as users have
    folder.mkdir()
    shutil.copytree(ROOT / "envs", folder / "envs")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    return folder


def make(folder: Path, target: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", target, f"PYTHON={sys.executable}"], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=900,
    )  # fmt: skip


def test_an_environment_and_a_supported_torch_of_the_user_are_kept(fresh, tmp_path):
    python = fresh / ".venv" / "bin" / "python"
    mark = fresh / ".venv" / "made-by-the-user"
    mark.write_text("mine")
    wheel = wheel_of_torch(tmp_path, "2.9.1+own")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    done = make(fresh, ".venv/.flops-fit")
    assert done.returncode == 0, done.stdout
    assert "keeping torch 2.9.1+own" in done.stdout
    assert mark.read_text() == "mine"
    code = (
        "import importlib.metadata as m\n"
        "print(*map(m.version, ['torch', 'snakemake', 'accelerate']))"
    )
    versions = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    pins = (ROOT / "envs" / "requirements.txt").read_text()
    torch, snakemake, accelerate = versions.stdout.split()
    assert torch == "2.9.1+own"
    assert f"snakemake=={snakemake}\n" in pins
    assert f"accelerate=={accelerate}\n" in pins
    again = make(fresh, ".venv/.flops-fit")
    assert "up to date" in again.stdout


def test_a_torch_outside_of_the_supported_range_is_named_and_left_alone(fresh, tmp_path):
    python = fresh / ".venv" / "bin" / "python"
    wheel = wheel_of_torch(tmp_path, "1.13.1")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    done = make(fresh, ".venv/.flops-fit")
    assert done.returncode != 0
    assert "has torch 1.13.1, expected >=2.6,<3" in done.stdout
    assert "Traceback" not in done.stdout
    assert (fresh / ".venv" / "lib").exists()
    assert not (fresh / ".venv" / ".flops-fit").exists()
