"""The fingerprints of version 0.1 stay what they were, to compare with its records."""

from __future__ import annotations

from flops_fit.user_code.file_fingerprint import file_fingerprint

SOURCE = """
import math


class Model:
    def __init__(self, width, rate=0.5):
        self.width = width
        self.rate = rate

    def forward(self, x):
        return math.exp(x) * self.rate
"""

SAME_SOURCE = '''
"""What this module is for."""
import math  # for exp


class Model:
    """A model.

    With a long story.
    """

    def __init__(self,
                 width, rate=5e-1):
        "Short."
        self.width = (width)
        self.rate = rate

    def forward(self, x):
        # why this is so
        return (math.exp(x)
                * self.rate)
'''


def test_file_fingerprints_see_code_and_nothing_else(tmp_path, user_module):
    def of(text: str) -> str:
        return file_fingerprint(f"{user_module(text)}:Model", tmp_path, "model")

    first = of(SOURCE)
    assert len(first) == 12
    assert of(SOURCE) == of(SAME_SOURCE) == first
    others = [
        SOURCE.replace("0.5", "0.25"),
        SOURCE.replace("math.exp(x)", "math.expm1(x)"),
        SOURCE.replace("self.width = width", "self.width = width + 1"),
        SOURCE + "\nEPSILON = 1e-5\n",
        SOURCE.replace("return math", "x = 'no docstring'\n        return math"),
    ]
    fingerprints = [of(text) for text in others]
    assert first not in fingerprints
    assert len(set(fingerprints)) == len(others)


def test_fingerprints_in_earlier_records_stay_true(tmp_path, user_module):
    """A study that goes on after an update must not see other code where there is none."""
    assert file_fingerprint(f"{user_module(SOURCE)}:Model", tmp_path, "model") == "a6fa58a1e8f9"
    zoo = {
        "flops_fit.zoo.gpt:GPT": "525b8f24939b",
        "flops_fit.zoo.text:PythonSources": "aaa164055ac7",
        "flops_fit.zoo.losses:next_token": "947389d7a33a",
    }
    assert {path: file_fingerprint(path, tmp_path, "zoo") for path in zoo} == zoo


def test_the_source_is_that_of_the_module_that_defines_the_target(tmp_path, user_module):
    original = user_module(SOURCE)
    passed_on = user_module(f"from {original} import Model\nunrelated = 1\n")
    fingerprints = {
        file_fingerprint(f"{name}:Model", tmp_path, "model") for name in (original, passed_on)
    }
    assert len(fingerprints) == 1


def test_a_target_without_python_source_has_no_fingerprint(tmp_path):
    assert file_fingerprint("math:sqrt", tmp_path, "loss") is None


def test_file_fingerprints_follow_imports_from_the_modules_own_folder(tmp_path, user_module):
    def of(layers: str) -> str:
        (tmp_path / "layers_of_mine.py").write_text(layers)
        name = user_module("import layers_of_mine\n\nclass Model: ...\n")
        return file_fingerprint(f"{name}:Model", tmp_path, "model")

    first = of("RATE = 1\n")
    assert of("RATE = 1  # the same\n") == first
    assert of("RATE = 2\n") != first
