"""What a target reaches in code as people write it: registries, lazy modules, star imports."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from flops_fit.study.study import Target
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import CodeInUse, code_in_use

ACTS = "def act(x):\n    return x\n\n\ndef gain():\n    return 2\n"
BIG = "class Big:\n    size = 1\n"
BY_NAME = "\n\ndef Net(width, name='Big'):\n    return {}(width)\n"
NOTING = "class Base:\n    def __init_subclass__(cls):\n        KINDS[cls.__name__] = cls\n"
REGISTRY = (
    "KINDS = {}\n\n\ndef register(f):\n    KINDS[f.__name__] = f\n    return f\n\n\n" + NOTING
)
FROM_KINDS = "from fam.registry import KINDS\nfrom fam import kinds\n\n\nNet = KINDS['k']\n"
SIZE = ("size = 1", "size = 2")
RETURN = ("return x", "return -x")

# Name -> (files below fam/, the edited one, what is replaced there, by what); model.py has Net.
MATTERS = {
    "a flag that chooses an import": (
        {"model.py": "FAST = 1\nif FAST:\n    from .acts import act\nelse:\n    from .slow import "
                     "act\n\n\nclass Net:\n    f = act\n", "acts.py": ACTS, "slow.py": ACTS},
        "model.py", "FAST = 1", "FAST = 0"),
    "a name looked up in globals()": (
        {"model.py": "from .nets import Big" + BY_NAME.format("globals()[name]"), "nets.py": BIG},
        "nets.py", *SIZE),
    "a name that is evaluated": (
        {"model.py": "from .nets import *" + BY_NAME.format("eval(name)"), "nets.py": BIG},
        "nets.py", *SIZE),
    "an evaluated name of the module itself": (
        {"model.py": BIG + BY_NAME.format("eval(name)")}, "model.py", *SIZE),
    "a name looked up in a package's __dict__": (
        {"model.py": "from fam import nets" + BY_NAME.format("nets.__dict__[name]"),
         "nets/__init__.py": "from .big import Big\n", "nets/big.py": BIG}, "nets/big.py", *SIZE),
    "a name looked up in sys.modules": (
        {"model.py": "import sys\n" + BIG + BY_NAME.format("getattr(sys.modules[__name__], name)")},
        "model.py", *SIZE),
    "a package's name that hides its module": (
        {"model.py": "from fam.nets import big as Net\n",
         "nets/__init__.py": "from .other import Big as big\n",
         "nets/big.py": "x = 1\n", "nets/other.py": BIG}, "nets/other.py", *SIZE),
    "a target's dotted name": (
        {"model.py": "from fam import nets as Net\n", "nets/__init__.py": "", "nets/big.py": BIG},
        "nets/big.py", *SIZE),
    "a subclass that an attribute's base takes note of": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY,
         "kinds.py": "from fam import registry\n\n\nclass k(registry.Base):\n    size = 1\n"},
        "kinds.py", *SIZE),
    "a subclass that a re-exported base takes note of": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY, "core.py": "from .registry import Base\n",
         "kinds.py": "from fam.core import *\n\nB = Base\n\n\nclass k(B):\n    size = 1\n"},
        "kinds.py", *SIZE),
    "a subclass that __subclasses__() finds": (
        {"model.py": "from fam import kinds\nfrom fam.base import Base\n\nNet = "
                     "Base.__subclasses__()[0]\n", "base.py": "class Base:\n    pass\n",
         "kinds.py": "from fam.base import Base\n\n\nclass k(Base):\n    size = 1\n"},
        "kinds.py", *SIZE),
    "a method that registers itself": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY, "kinds.py": "from fam.registry import "
         "register\n\n\nclass Kinds:\n    @register\n    def k(x):\n        return x\n"},
        "kinds.py", *RETURN),
    "a registration in the body of a class": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY, "kinds.py": "from fam.registry import "
         "KINDS\n\n\nclass Kinds:\n    KINDS['k'] = lambda x: 'return x'\n"},
        "kinds.py", *RETURN),
    "a registration in a condition": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY, "kinds.py": "from fam.registry import "
         "register\n\nif register(lambda x: 'return x'):\n    pass\n"}, "kinds.py", *RETURN),
    "an attribute that setattr sets": (
        {"model.py": "import fam.patch\nfrom fam.nets import Big as Net\n", "nets.py": BIG,
         "patch.py": "from .nets import Big\n\n_ = setattr(Big, 'size', 3)\n"},
        "patch.py", "3", "4"),
    "what a module does unless it is a script": (
        {"model.py": FROM_KINDS, "registry.py": REGISTRY, "kinds.py": "from fam.registry import "
         "KINDS\n\nif __name__ != '__main__':\n    KINDS['k'] = 1\n"},
        "kinds.py", "= 1", "= 2"),
    "star imports in a circle": (
        {"__init__.py": "from .model import *\n", "acts.py": ACTS,
         "model.py": "from . import *\nfrom .acts import *\n\nclass Net:\n    a = act(len('a'))\n"},
        "acts.py", *RETURN),
    "a module that a star import brings": (
        {"model.py": "from .parts import *\n\n\nclass Net:\n    a = acts.act\n",
         "parts/__init__.py": "__all__ = ['acts']\n", "parts/acts.py": ACTS},
        "parts/acts.py", *RETURN),
    "the last of two star imports": (
        {"model.py": "from .a import *\nfrom .b import *\n\n\nclass Net:\n    a = act\n",
         "a.py": ACTS, "b.py": ACTS}, "b.py", *RETURN),
    "a star import after a definition": (
        {"model.py": "act = 0\n\nfrom .b import *\n\n\nclass Net:\n    a = act\n", "b.py": ACTS},
        "b.py", *RETURN),
    "a name that a pattern captures": (
        {"model.py": "match {'a': 3}:\n    case {'a': depth}:\n        pass\n\nclass Net:\n"
                     "    a = depth\n"}, "model.py", "3", "4"),
    "a module that cannot be parsed": (
        {"model.py": "try:\n    from .bad import Net\nexcept SyntaxError:\n    Net = int\n",
         "bad.py": "class Net(:\n"}, "bad.py", "(:", ":\n    pass"),
    "an expression that is too long to be parsed": (
        {"model.py": "class Net:\n    a = " + " + ".join("1" * 3000) + "\n"},
        "model.py", "a = 1", "a = 2"),
    "the end of a long chain of imports": (
        {"model.py": "import fam.m0\n\n\nclass Net:\n    a = fam.m0.f\n", "m600.py": "f = 1\n",
         **{f"m{i}.py": f"import fam.m{i + 1} as n\n\n\ndef f():\n    return n.f\n"
            for i in range(600)}}, "m600.py", "f = 1", "f = 2"),
}  # fmt: skip
DOES_NOT = {
    "the text below an attribute": (
        {"model.py": "class Net:\n    a = 1\n    'the one'\n"}, "model.py", "the one", "the first"),
    "an unused function beside a star import": (
        {"model.py": "from .acts import *\n\n\nclass Net:\n    a = act\n", "acts.py": ACTS},
        "acts.py", "return 2", "return 3"),
    "an unused function of a module that its package imports": (
        {"model.py": "from fam import parts\n\n\nclass Net:\n    a = parts.acts.act\n",
         "parts/__init__.py": "from . import acts\n", "parts/acts.py": ACTS},
        "parts/acts.py", "return 2", "return 3"),
}  # fmt: skip


def look(
    folder: Path, files: Mapping[str, str], model: str, imported: tuple[str, ...] | None = ()
) -> CodeInUse:
    """Write the files and return the code in use."""
    for name, text in {"__init__.py": "", **files}.items():
        (folder / "fam" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fam" / name).write_text(text)
    code = UserCode(
        model=Target(path=model, kwargs={"act": "gain"}, version=1), size_param="width", sizes=(1,),
        dataset=Target(path="math:sqrt", kwargs={}, version=1), loss="math:sqrt",
        optimizer="adamw", folder=folder, source="study.yaml",
    )  # fmt: skip
    return code_in_use(code, imported=imported)


def before_and_after(folder: Path, case: tuple) -> Iterator[str | None]:
    files, edited, old, new = case
    assert old in files[edited]
    dotted = "import nets as Net" in files["model.py"]
    model = "fam.model:Net.big.Big" if dotted else "fam.model:Net"
    for one in (files, files | {edited: files[edited].replace(old, new, 1)}):
        yield look(folder, one, model).fingerprints["model"]


@pytest.mark.parametrize("case", MATTERS)
def test_an_edit_that_may_change_what_the_model_does_is_seen(tmp_path, case):
    before, after = before_and_after(tmp_path, MATTERS[case])
    assert None not in (before, after)
    assert before != after


@pytest.mark.parametrize("case", DOES_NOT)
def test_an_edit_that_cannot_is_not(tmp_path, case):
    before, after = before_and_after(tmp_path, DOES_NOT[case])
    assert before == after


def test_a_name_that_importlib_computes_counts_in_a_module_that_is_known_otherwise(tmp_path):
    model = (
        "from importlib import import_module as load\nfrom fam.acts import act\n\n\n"
        "class Net:\n    def __init__(self, name):\n"
        "        self.f = getattr(load('fam.acts'), name)\n        act(1)\n"
    )
    files = {"model.py": model, "acts.py": ACTS}
    sys.path.append(str(tmp_path))
    try:
        look(tmp_path, files, "fam.model:Net")
        __import__("fam.model").model.Net("gain")
        before = look(tmp_path, files, "fam.model:Net", None)
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "fam"]:
            del sys.modules[name]
    assert [name for name in before.imported if name.startswith("fam")] == ["fam.acts"]
    assert before.alone["model"] == look(tmp_path, files, "fam.model:Net").fingerprints["model"]
    assert before.alone["module fam.acts"] is not None
    files["acts.py"] = ACTS.replace("return 2", "return 3")
    after = look(tmp_path, files, "fam.model:Net", before.imported)
    assert before.fingerprints["model"] != after.fingerprints["model"]
