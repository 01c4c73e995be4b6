"""Where modules come from is the same in every process, and however they were installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flops_fit.study.study import Target
from flops_fit.user_code import installed_package, module_places
from flops_fit.user_code.module_places import ModulePlaces
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import CodeInUse, code_in_use

MODEL = "import lib_of_{0}\n\n\nclass Net:\n    def f(self):\n        {1}\n        return x\n"


@pytest.fixture
def environment(monkeypatch) -> Iterator[None]:
    """Forget what is looked up and loaded by a test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()
    for one in (installed_package._distributions, installed_package._name_and_version):
        one.cache_clear()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def model_of(folder: Path) -> CodeInUse:
    target = Target(path="model_of_mine:Net", kwargs={}, version=1)
    code = UserCode(
        model=target, size_param="width", sizes=(1,), loss="math:sqrt", optimizer="adamw",
        dataset=Target(path="math:sqrt", kwargs={}, version=1), folder=folder, source="study.yaml",
    )  # fmt: skip
    return code_in_use(code, imported=())


class EditableFinder:
    """As setuptools leaves it in an environment for a package that it maps to a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(
            name, self.folder / "__init__.py", submodule_search_locations=[str(self.folder)]
        )


@pytest.mark.usefixtures("environment")
def test_a_package_that_a_finder_maps_is_the_same_before_and_after_it_is_imported(tmp_path):
    """Snakemake's own process imports nothing, the plan and the trainer do."""
    lib = tmp_path / "elsewhere" / "source"
    write(lib, {"__init__.py": "", "late.py": "x = 1\n"})
    write(tmp_path, {"model_of_mine.py": MODEL.format("mine", "from lib_of_mine.late import x")})
    sys.meta_path.append(EditableFinder("lib_of_mine", lib))
    before = model_of(tmp_path)
    assert "lib_of_mine.late" in before.files
    importlib.import_module("lib_of_mine")
    assert model_of(tmp_path) == before
    write(lib, {"late.py": "x = 2\n"})
    assert model_of(tmp_path).fingerprints != before.fingerprints


@pytest.mark.usefixtures("environment")
def test_packages_without_an_init_are_found_within_others(tmp_path):
    write(tmp_path, {
        "model_of_mine.py": MODEL.format("ours", "from lib_of_ours.deep.deeper import x"),
        "lib_of_ours/deep/deeper/x.py": "x = 1\n",
    })  # fmt: skip
    before = model_of(tmp_path)
    assert "lib_of_ours.deep.deeper.x" in before.files
    write(tmp_path, {"lib_of_ours/deep/deeper/x.py": "x = 2\n"})
    assert model_of(tmp_path).fingerprints != before.fingerprints


def install(folder: Path, url: dict | None = None, installer: str = "pip") -> ModulePlaces:
    """Install a package as pip does, into a folder on the search path."""
    write(folder, {
        "lib_of_others/__init__.py": "x = 1\n",
        "Lib_Of_Others-1.5.dist-info/METADATA": "Name: lib-of-others\nVersion: 1.5\n",
        "Lib_Of_Others-1.5.dist-info/RECORD": "lib_of_others/__init__.py,,\n",
        "Lib_Of_Others-1.5.dist-info/INSTALLER": f"{installer}\n",
        **({"Lib_Of_Others-1.5.dist-info/direct_url.json": json.dumps(url)} if url else {}),
    })  # fmt: skip
    sys.path.append(str(folder))
    return ModulePlaces(folder=folder)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("folder", ["site-packages", "target"])
@pytest.mark.parametrize(
    ("url", "installer", "version"),
    [
        (None, "pip", "1.5"),
        ({"url": "file:///work", "dir_info": {}}, "conda", "1.5"),
        ({"url": "u", "vcs_info": {"vcs": "git", "commit_id": "abc"}}, "pip", "1.5 (abc)"),
        ({"url": "u", "archive_info": {"hash": "sha256=1"}}, "pip", "1.5 (sha256=1)"),
    ],
)
def test_what_is_installed_counts_by_its_version(tmp_path, folder, url, installer, version):
    place = install(tmp_path / folder, url, installer).of("lib_of_others")
    assert (place.own, place.package) == (None, f"lib-of-others=={version}")


@pytest.mark.usefixtures("environment")
def test_what_is_installed_from_a_folder_or_by_hand_is_the_users_own(tmp_path, monkeypatch):
    """Also where site-packages lies below Python's own library, as in conda's environments."""
    folder = tmp_path / "site-packages"
    monkeypatch.setattr(module_places, "_standard_library", lambda: (tmp_path,))
    places = install(folder, {"url": "file:///home/me/lib", "dir_info": {}})
    write(folder, {"by_hand.py": "x = 1\n"})
    assert places.of("lib_of_others").own == folder / "lib_of_others" / "__init__.py"
    assert places.of("by_hand").own == folder / "by_hand.py"


@pytest.mark.usefixtures("environment")
def test_what_flops_fit_brings_is_never_the_users_own(tmp_path):
    write(tmp_path, {"accelerate/__init__.py": ""})
    sys.path.insert(0, str(tmp_path))
    assert ModulePlaces(folder=tmp_path).of("accelerate").own is None
