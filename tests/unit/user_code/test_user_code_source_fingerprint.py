"""Source fingerprints follow what a target uses, wherever that lies, and nothing else."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from flops_fit.study.study import Target
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import CodeInUse, code_in_use

FAMILY = {
    "fam/__init__.py": "VERSION = 1\n",
    "fam/models/__init__.py": "from .net import Net\n",
    "fam/models/net.py": """
from torch import nn
from fam.parts import act as activations
from fam.parts.norm import scale
from fam import registry

WIDTH = 4
UNUSED = 5


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = WIDTH * width

    def forward(self, x):
        from fam.parts.late import finish

        return finish(activations.act(scale(x)) * registry.KINDS["soft"])


def unrelated(x):
    return x
""",
    "fam/parts/__init__.py": "",
    "fam/parts/act.py": "def act(x):\n    return gain() * x\n\n\ndef gain():\n    return 2\n",
    "fam/parts/norm.py": "def scale(x):\n    return x / 3\n",
    "fam/parts/late.py": "from fam.parts.deep import last as finish\n",
    "fam/parts/deep.py": "def last(x):\n    return x\n",
    "fam/registry.py": "KINDS = {}\n\n\ndef register(f):\n    KINDS[str(f)] = f\n    return f\n",
    "fam/kinds.py": "from fam.registry import register\n\n@register\ndef soft(x):\n    return x\n",
    "fam/tools.py": "def plot():\n    return 1\n",
    "data_of_mine.py": "class Data:\n    pass\n",
    "loss_of_mine.py": "def loss(outputs, targets):\n    return outputs\n",
}


@pytest.fixture
def family(tmp_path) -> Iterator[Callable[..., CodeInUse]]:
    """Write the files, with changes to some, and return the code in use."""
    before = set(sys.modules)

    def look(changes: Mapping[str, str] = {}, *, imported=(), model="fam.models:Net") -> CodeInUse:
        for name, text in {**FAMILY, **changes}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        code = UserCode(
            model=Target(path=model, kwargs={}, version=1), size_param="width", sizes=(1,),
            dataset=Target(path="data_of_mine:Data", kwargs={}, version=1),
            loss="loss_of_mine:loss", optimizer="adamw", folder=tmp_path, source="study.yaml",
        )  # fmt: skip
        return code_in_use(code, imported=imported)

    yield look
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def with_change(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FAMILY[name]
    return {name: FAMILY[name].replace(old, new)}


SEEN = {
    "the model itself": with_change("fam/models/net.py", "WIDTH * width", "WIDTH + width"),
    "a constant that it uses": with_change("fam/models/net.py", "WIDTH = 4", "WIDTH = 8"),
    "a module beside its folder": with_change("fam/parts/act.py", "gain() * x", "gain() + x"),
    "what that one calls": with_change("fam/parts/act.py", "return 2", "return 3"),
    "an imported function": with_change("fam/parts/norm.py", "x / 3", "x / 4"),
    "an import inside a method": with_change("fam/parts/deep.py", "return x", "return -x"),
    "where a name comes from": with_change(
        "fam/parts/late.py", "fam.parts.deep import last", "fam.parts.act import act"
    ),
    "another library's function": with_change(
        "fam/models/net.py", "from torch import nn", "import torch.nn.utils as nn"
    ),
    "a table that it reads": with_change("fam/registry.py", "KINDS = {}", "KINDS = {'a': 1}"),
}
NOT_SEEN = {
    "a class with a docstring that it does not use": {
        "fam/models/net.py": FAMILY["fam/models/net.py"]
        + '\n\nclass Other(nn.Module):\n    """Unused."""\n\n    rate = 1\n'
    },
    "an unrelated function": with_change("fam/models/net.py", "return x\n", "return x + 1\n"),
    "a new function": {
        "fam/models/net.py": FAMILY["fam/models/net.py"] + "\n\ndef g():\n    g()\n"
    },
    "a constant that it does not use": with_change("fam/models/net.py", "UNUSED = 5", "UNUSED = 6"),
    "a comment": with_change("fam/parts/norm.py", "x / 3", "(x /\n        3)  # a third"),
    "a docstring": with_change("fam/parts/norm.py", "return", '"""A third."""\n    return'),
    "a module that nothing imports": with_change("fam/tools.py", "return 1", "return 2"),
    "an unrelated import": with_change("fam/models/net.py", "WIDTH = 4", "import os\nWIDTH = 4"),
    "a script's own part": {
        "fam/parts/act.py": FAMILY["fam/parts/act.py"]
        + "\nif __name__ == '__main__':\n    gain()\n"
    },
    "a type": with_change(
        "fam/models/net.py",
        "WIDTH = 4",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import fam.tools\nWIDTH = 4",
    ),
}


@pytest.mark.parametrize("change", SEEN)
def test_what_the_model_uses_counts(family, change):
    before, after = family().fingerprints, family(SEEN[change]).fingerprints
    assert before["model"] != after["model"]
    assert {before[part] == after[part] for part in ("dataset", "loss")} == {True}


@pytest.mark.parametrize("change", NOT_SEEN)
def test_what_it_does_not_use_does_not(family, change):
    assert family().fingerprints == family(NOT_SEEN[change]).fingerprints


def test_a_fingerprint_says_how_it_was_made(family):
    for fingerprint in family().fingerprints.values():
        assert fingerprint.startswith("2-")
        assert len(fingerprint) == 14


REGISTERED = with_change(
    "fam/models/net.py", "from fam import registry", "from fam import registry, kinds"
)


def test_what_registers_itself_on_import_counts(family):
    before = family(REGISTERED)
    after = family(REGISTERED | with_change("fam/kinds.py", "return x", "return x * x"))
    assert before.fingerprints["model"] != after.fingerprints["model"]
    plain = REGISTERED | {"fam/kinds.py": "def soft(x):\n    return x\n"}
    changed = REGISTERED | {"fam/kinds.py": "def soft(x):\n    return x * x\n"}
    assert family(plain).fingerprints == family(changed).fingerprints


@pytest.mark.parametrize(
    "acting",
    [
        "import fam.registry\nfam.registry.KINDS['hard'] = {}\n",
        "from fam.registry import KINDS\nKINDS.update(hard={})\n",
        "from fam.registry import register\nhard = register(lambda x: {})\n",
        "from fam.registry import KINDS\nfor name in 'ab':\n    KINDS[name] = {}\n",
        "import fam.parts.act\nfam.parts.act.gain = lambda: {}\n",
    ],
)
def test_what_changes_others_on_import_counts(family, acting):
    one, other = (REGISTERED | {"fam/kinds.py": acting.format(n)} for n in (1, 2))
    assert family(one).fingerprints["model"] != family(other).fingerprints["model"]


def test_subclasses_that_a_base_class_takes_note_of_count(family):
    base = "class Base:\n    def __init_subclass__(cls):\n        pass\n"
    kind = "from fam.registry import Base\n\n\nclass Kind(Base):\n    rate = {}\n"
    changes = REGISTERED | {"fam/registry.py": FAMILY["fam/registry.py"] + base}
    one, other = (changes | {"fam/kinds.py": kind.format(n)} for n in (1, 2))
    assert family(one).fingerprints["model"] != family(other).fingerprints["model"]


@pytest.mark.parametrize(
    "importing",
    [
        'importlib.import_module("fam.parts." + "tanh")',
        '__import__("fam.parts.tanh")',
        'exec("import fam.parts.tanh")',
    ],
)
def test_modules_with_computed_names_count_once_they_were_imported(family, importing):
    changes = with_change("fam/models/net.py", "WIDTH * width", f"{importing} and width")
    changes["fam/models/net.py"] = "import importlib\n" + changes["fam/models/net.py"]
    tanh = {"fam/parts/tanh.py": "def tanh(x):\n    return x\n"}
    assert family(changes | tanh).imported == ()
    before = family(changes | tanh, imported=["fam.parts.tanh"])
    assert before.imported == ("fam.parts.tanh",)
    tanh = {"fam/parts/tanh.py": "def tanh(x):\n    return -x\n"}
    after = family(changes | tanh, imported=["fam.parts.tanh"])
    assert before.fingerprints["model"] != after.fingerprints["model"]
    assert before.fingerprints["loss"] == after.fingerprints["loss"]


def test_what_was_really_imported_is_read_from_this_process(family, tmp_path):
    changes = with_change("fam/models/net.py", "WIDTH * width", '__import__("fam.tools") and 1')
    family(changes)
    sys.path.append(str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module("fam.models").Net(1)
    found = family(changes, imported=None).imported  # and the modules of these tests
    assert [name for name in found if name.startswith("fam")] == ["fam.tools"]


def test_the_evaluation_mode_of_a_model_is_no_computed_import(family):
    changes = with_change("fam/models/net.py", "WIDTH * width", "self.eval() and width")
    assert family(changes, imported=["fam.tools"]).imported == ()


def test_star_imports_and_modules_handed_on_count(family):
    star = with_change(
        "fam/models/net.py", "from fam.parts.norm import scale", "from fam.parts.norm import *"
    )
    edited = with_change("fam/parts/norm.py", "x / 3", "x / 5")
    assert family(star).fingerprints["model"] != family(star | edited).fingerprints["model"]
    whole = with_change("fam/models/net.py", "WIDTH * width", "getattr(activations, 'gain')()")
    edited = with_change("fam/parts/act.py", "return 2", "return 4")
    assert family(whole).fingerprints["model"] != family(whole | edited).fingerprints["model"]


def test_installed_packages_count_by_name_and_version(family, tmp_path):
    """A real installed package: hypothesis, of which the environment has one version."""
    from importlib.metadata import version

    changes = with_change("fam/models/net.py", "WIDTH * width", "hypothesis.note(width)")
    changes["fam/models/net.py"] = "import hypothesis\n" + changes["fam/models/net.py"]
    found = family(changes)
    assert found.packages == {"hypothesis": version("hypothesis")}
    assert family().packages == {}
    assert all(name.startswith(("fam", "data_of", "loss_of")) for name in found.files)


def test_an_editable_install_is_the_users_own_code(family, tmp_path):
    """As `pip install -e` leaves it: a path file in the environment's site-packages."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "lib_of_mine").mkdir(parents=True)
    source = elsewhere / "lib_of_mine" / "__init__.py"
    source.write_text("def wide(x):\n    return x\n")
    changes = with_change("fam/models/net.py", "WIDTH * width", "lib_of_mine.wide(width)")
    changes["fam/models/net.py"] = "import lib_of_mine\n" + changes["fam/models/net.py"]
    sys.path.append(str(elsewhere))  # what the path file does
    try:
        before = family(changes)
        source.write_text("def wide(x):\n    return x + 1\n")
        after = family(changes)
    finally:
        sys.path.remove(str(elsewhere))
    assert before.packages == {}
    assert before.fingerprints["model"] != after.fingerprints["model"]


def test_targets_without_python_source_have_none(family):
    assert family(model="math:sqrt").fingerprints["model"] is None
    assert family(model="no_such_module:Net").fingerprints["model"] is None


def test_nothing_is_imported_to_find_out(tmp_path):
    """In a fresh process, as Snakemake's is: neither torch nor the user's code."""
    (tmp_path / "boom.py").write_text("raise SystemExit('was imported')\nclass Net: pass\n")
    script = """
import sys
from pathlib import Path
from flops_fit.study.study import Target
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import code_in_use
one = Target(path="boom:Net", kwargs={}, version=1)
code = UserCode(model=one, size_param="n", sizes=(1,), dataset=one, loss="boom:Net",
                optimizer="torch.optim:SGD", folder=Path(sys.argv[1]), source="s")
print(code_in_use(code, imported=()).fingerprints["model"], "torch" in sys.modules)
"""
    workflow = Path(__file__).resolve().parents[3] / "workflow"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(workflow)},
    )  # fmt: skip
    fingerprint, torch_loaded = done.stdout.split()
    assert fingerprint.startswith("2-")
    assert torch_loaded == "False"
