"""The user's code is held to its contracts, and every breach is a sentence that says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.study.study import Target
from flops_fit.user_code import targets
from flops_fit.user_code.targets import (
    BuildError,
    UserCode,
    check_importable,
    content_fingerprint,
    import_target,
    loss_function,
    loss_sum_and_count,
    model_factory,
    named_error,
    open_dataset,
    prepare_dataset,
    source_fingerprint,
    unit_name,
    units_per_sample,
)
from hand_computed import small_study

GOOD = """
import torch
from torch import nn


class Model(nn.Linear):
    def __init__(self, width, depth=1):
        super().__init__(width, depth)


class Data(torch.utils.data.Dataset):
    units_per_sample = 3
    unit = "token"

    def __init__(self, split, folder, length=4):
        self.split, self.folder, self.length = split, folder, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.tensor([float(index)]), torch.tensor(index)


def loss(outputs, targets):
    return (outputs - targets).square().mean()


def optimizer(model, lr, weight_decay):
    return torch.optim.SGD(model.parameters(), lr)


number = 3
"""


def code_of(folder: Path, name: str, **changes) -> UserCode:
    """The user's code with everything in one module; `changes` are other import paths or values."""
    model, dataset = changes.pop("model", "Model"), changes.pop("dataset", "Data")
    return UserCode(
        **{
            "model": Target(path=f"{name}:{model}", kwargs=changes.pop("kwargs", {}), version=1),
            "size_param": "width",
            "sizes": (1, 2, 3),
            "dataset": Target(
                path=f"{name}:{dataset}", kwargs=changes.pop("dataset_kwargs", {}), version=1
            ),
            "loss": f"{name}:loss",
            "optimizer": "adamw",
            "folder": folder,
            "source": "my.yaml",
            **changes,
        }
    )


def sentence(call, *arguments, error=UserError) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Import paths ------------------------------------------------------------------------------------


def test_targets_are_found_in_the_environment_and_in_the_folder(tmp_path, user_module):
    import math

    assert import_target("math:sqrt", tmp_path, "loss") is math.sqrt
    name = user_module("class A:\n    class B:\n        @staticmethod\n        def c(): return 7\n")
    assert import_target(f"{name}:A.B.c", tmp_path, "loss")() == 7
    user_module("def f(): return 8", "package_of_mine.part")
    assert import_target("package_of_mine.part:f", tmp_path, "loss")() == 8


def test_the_environment_comes_before_the_folder(tmp_path, user_module):
    """A file of the user's that is called like a library must not replace it for the others."""
    user_module("raise RuntimeError", "fractions")
    from fractions import Fraction

    sys.modules.pop("fractions")
    try:
        found = import_target("fractions:Fraction", tmp_path, "loss")
        assert found(1, 2) == Fraction(1, 2)
    finally:
        sys.modules["fractions"] = sys.modules[Fraction.__module__]


def test_a_missing_module_says_where_it_was_searched(tmp_path):
    assert sentence(import_target, "no_such_module:Model", tmp_path, "model.target") == (
        "model.target: found no module 'no_such_module' for 'no_such_module:Model'; expected it in "
        f"the environment of {sys.executable} or as a file in {tmp_path}"
    )


@pytest.mark.parametrize("module", ["json.no_such_part", "math.no_such_part", "a..b", "json..b"])
def test_a_missing_part_of_a_package_is_a_missing_module(tmp_path, module):
    message = sentence(import_target, f"{module}:name", tmp_path, "loss")
    assert message.startswith("loss: found no module ")
    assert f" for '{module}:name'" in message


def test_a_module_that_imports_a_missing_one_names_it(tmp_path, user_module):
    name = user_module("import no_such_library")
    assert sentence(import_target, f"{name}:Model", tmp_path, "model.target") == (
        f"model.target: {name!r} imports 'no_such_library', which is not installed in the "
        f"environment of {sys.executable}"
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("def broken(:", "SyntaxError: "),
        ("from math import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        # a script without `if __name__ == "__main__"` that parses its arguments
        ("import sys\nsys.exit(2)", "SystemExit: 2"),
    ],
)
def test_a_module_that_fails_at_import_says_how(tmp_path, user_module, text, cause):
    name = user_module(text)
    message = sentence(import_target, f"{name}:Model", tmp_path, "loss")
    assert message.startswith(f"loss: importing {name!r} failed with {cause}")
    assert message.endswith(f"try `python -c 'import {name}'` in {tmp_path}")


def test_a_missing_attribute_names_those_that_exist(tmp_path, user_module):
    name = user_module("_hidden = 1\ndef first(): ...\nclass Second: ...\n")
    assert sentence(import_target, f"{name}:Modle", tmp_path, "model.target") == (
        f"model.target: {name!r} ({tmp_path / name}.py) has no 'Modle'; "
        "expected one of its public names: first, Second"
    )
    assert sentence(import_target, f"{name}:Second.part", tmp_path, "loss").startswith(
        f"loss: {name!r} ({tmp_path / name}.py) has no 'part'"
    )
    empty = user_module("")
    assert sentence(import_target, f"{empty}:Model", tmp_path, "loss").endswith("it has none")


def test_what_cannot_be_called_is_no_target(tmp_path, user_module):
    name = user_module(GOOD)
    assert sentence(import_target, f"{name}:number", tmp_path, "loss") == (
        f"loss: '{name}:number' is int, expected a callable"
    )


# What needs no data ------------------------------------------------------------------------------


def test_good_code_passes(tmp_path, user_module):
    name = user_module(GOOD)
    code = code_of(tmp_path, name, kwargs={"depth": 2}, optimizer=f"{name}:optimizer")
    check_importable(code)
    assert model_factory(code)(5).weight.shape == (2, 5)
    dataset = open_dataset(code, "train", tmp_path)
    assert (dataset.split, dataset.folder, len(dataset)) == ("train", tmp_path, 4)
    assert (units_per_sample(dataset), unit_name(dataset)) == (3, "token")
    assert loss_function(code)(torch.ones(2), torch.zeros(2)) == 1


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model": "Missing"}, "model.target"),
        ({"dataset": "Missing"}, "dataset.target"),
        ({"loss": "no_such_module:loss"}, "loss"),
        ({"optimizer": "no_such_module:optimizer"}, "train.optimizer"),
    ],
)
def test_each_missing_target_is_found_before_anything_is_prepared(
    tmp_path, user_module, changes, key
):
    code = code_of(tmp_path, user_module(GOOD), **changes)
    assert sentence(check_importable, code).startswith(f"my.yaml: {key}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"size_param": "widht"},
            "my.yaml: model.size_param: '{}:Model' takes no argument 'widht'; expected one of "
            "width, depth",
        ),
        (
            {"kwargs": {"height": 2}},
            "my.yaml: model.kwargs: '{}:Model' takes no argument 'height'; expected some of width, "
            "depth",
        ),
        (
            {"kwargs": {"width": 2}},
            "my.yaml: model.kwargs: found the size parameter 'width', expected it in model.sizes "
            "alone",
        ),
    ],
)
def test_arguments_that_the_model_does_not_take_are_refused(
    tmp_path, user_module, changes, message
):
    name = user_module(GOOD)
    assert sentence(check_importable, code_of(tmp_path, name, **changes)) == message.format(name)


def test_a_model_that_takes_anything_is_left_to_building(tmp_path, user_module):
    name = user_module(GOOD + "\ndef anything(**kwargs):\n    return Model(kwargs['size'])\n")
    code = code_of(tmp_path, name, model="anything", size_param="size", kwargs={"more": 1})
    check_importable(code)
    assert model_factory(code)(4).weight.shape == (1, 4)


# Model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("raise ValueError('width must be\\n even')", "failed with ValueError: width must be even"),
        ("return None", "returned NoneType, expected a torch.nn.Module"),
        ("return 3", "returned int, expected a torch.nn.Module"),
        ("return torch.nn.ReLU()", "has no parameters, expected a model that can be trained"),
    ],
)
def test_a_model_that_does_not_build_names_the_size(tmp_path, user_module, body, cause):
    name = user_module(f"import torch\ndef Model(width):\n    {body}\n")
    build = model_factory(code_of(tmp_path, name))
    message = sentence(build, 2, error=BuildError)
    assert message.startswith("my.yaml: model")
    assert f"{name}:Model(width=2) {cause}" in message


# Dataset -----------------------------------------------------------------------------------------

DATASETS = """
import torch
from torch.utils.data import Dataset, IterableDataset

from flops_fit.errors import UserError


class Good(Dataset):
    def __init__(self, split, folder):
        pass

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.ones(2), torch.ones(2)


class Endless(IterableDataset):
    def __init__(self, split, folder):
        pass

    def __iter__(self):
        yield torch.ones(2), torch.ones(2)


class Sized(Endless):
    def __len__(self):
        return 4


class NoLength(Dataset):
    def __init__(self, split, folder):
        pass

    def __getitem__(self, index):
        return torch.ones(2), torch.ones(2)


class BrokenLength(Good):
    def __len__(self):
        raise NotImplementedError


class NoSamples:
    def __init__(self, split, folder):
        pass

    def __len__(self):
        return 4


class NoGetItem(Dataset):
    def __init__(self, split, folder):
        pass

    def __len__(self):
        return 4


class BrokenSample(Good):
    def __getitem__(self, index):
        raise OSError("no such picture")


class Empty(Good):
    def __len__(self):
        return 0


class NoValidation(Good):
    def __init__(self, split, folder):
        self.length = {"train": 4, "validation": 0}[split]

    def __len__(self):
        return self.length


class Single(Good):
    def __getitem__(self, index):
        return torch.ones(2)


class Triple(Good):
    def __getitem__(self, index):
        return 1, 2, 3


class Dictionary(Good):
    def __getitem__(self, index):
        return {"input": 1, "target": 2}


class ZeroUnits(Good):
    units_per_sample = 0


class HalfUnits(Good):
    units_per_sample = 2.5


class TrueUnits(Good):
    units_per_sample = True


class Raises(Good):
    def __init__(self, split, folder):
        raise FileNotFoundError("corpus.txt")


class Explains(Good):
    def __init__(self, split, folder):
        raise UserError("corpus.txt is missing; download it")


def nothing(split, folder):
    return None


def plain_list(split, folder):
    return [(1, 2)]
"""


@pytest.mark.parametrize(
    ("name", "split", "cause"),
    [
        ("Endless", "train", "is an IterableDataset, expected a map-style dataset"),
        ("Sized", "train", "is an IterableDataset, expected a map-style dataset"),
        ("NoLength", "train", "returned NoLength without __len__, expected a map-style"),
        ("BrokenLength", "train", "has no usable length: NotImplementedError"),
        ("NoSamples", "train", "returned NoSamples without __getitem__, expected a map-style"),
        ("NoGetItem", "train", "[0] failed with NotImplementedError"),
        ("BrokenSample", "validation", "[0] failed with OSError: no such picture"),
        ("Empty", "train", "is empty, expected at least one sample in each split"),
        ("NoValidation", "validation", "is empty, expected at least one sample in each split"),
        ("Single", "train", "[0] is Tensor, expected a pair (input, target)"),
        ("Triple", "train", "[0] is tuple of 3, expected a pair (input, target)"),
        ("Dictionary", "train", "[0] is dict, expected a pair (input, target)"),
        ("ZeroUnits", "train", ".units_per_sample is 0, expected a whole number of at least 1"),
        ("HalfUnits", "train", ".units_per_sample is 2.5, expected a whole number of at least 1"),
        ("TrueUnits", "train", ".units_per_sample is True, expected a whole number of at least 1"),
        ("Raises", "train", "failed with FileNotFoundError: corpus.txt"),
        ("nothing", "train", "returned NoneType without __getitem__, expected a map-style"),
    ],
)
def test_each_breach_of_the_datasets_contract_is_a_sentence(
    tmp_path, user_module, name, split, cause
):
    module = user_module(DATASETS)
    code = code_of(tmp_path, module, dataset=name)
    message = sentence(open_dataset, code, split, tmp_path)
    key = f"my.yaml: dataset.target: {module}:{name}(split={split!r})"
    assert message.startswith(key)
    assert message[len(key) :].lstrip().startswith(cause)


def test_the_advice_for_an_iterable_dataset(tmp_path, user_module):
    code = code_of(tmp_path, user_module(DATASETS), dataset="Endless")
    assert "in the classmethod prepare(folder, ...)" in sentence(
        open_dataset, code, "train", tmp_path
    )


def test_a_dataset_may_explain_itself(tmp_path, user_module):
    code = code_of(tmp_path, user_module(DATASETS), dataset="Explains")
    assert sentence(open_dataset, code, "train", tmp_path) == (
        "my.yaml: dataset: corpus.txt is missing; download it"
    )


def test_an_unknown_argument_of_a_dataset_is_named(tmp_path, user_module):
    code = code_of(tmp_path, user_module(DATASETS), dataset="Good", dataset_kwargs={"lenght": 3})
    assert "unexpected keyword argument 'lenght'" in sentence(open_dataset, code, "train", tmp_path)


@pytest.mark.parametrize("name", ["Good", "NoValidation", "plain_list"])
def test_a_plain_dataset_counts_samples(tmp_path, user_module, name):
    code = code_of(tmp_path, user_module(DATASETS), dataset=name)
    dataset = open_dataset(code, "train", tmp_path)
    assert (units_per_sample(dataset), unit_name(dataset)) == (1, "sample")


PREPARED = """
from flops_fit.errors import UserError


class Works:
    @classmethod
    def prepare(cls, folder, **kwargs):
        (folder / "done").write_text(f"{cls.__name__} {sorted(kwargs.items())}")


class Fails:
    @classmethod
    def prepare(cls, folder):
        raise OSError("disk full")


class Explains:
    @classmethod
    def prepare(cls, folder):
        raise UserError("no corpus at /x; set root")


class HasNone:
    pass
"""


def test_prepare_works_in_its_folder_with_its_arguments(tmp_path, user_module):
    name = user_module(PREPARED)
    prepare_dataset(
        code_of(tmp_path, name, dataset="Works", dataset_kwargs={"b": 2, "a": 1}), tmp_path
    )
    assert (tmp_path / "done").read_text() == "Works [('a', 1), ('b', 2)]"
    prepare_dataset(code_of(tmp_path, name, dataset="HasNone"), tmp_path)


def test_a_prepare_that_fails_is_a_sentence(tmp_path, user_module):
    name = user_module(PREPARED)
    assert sentence(prepare_dataset, code_of(tmp_path, name, dataset="Fails"), tmp_path) == (
        f"my.yaml: dataset: {name}:Fails.prepare failed with OSError: disk full"
    )
    assert sentence(prepare_dataset, code_of(tmp_path, name, dataset="Explains"), tmp_path) == (
        "my.yaml: dataset: no corpus at /x; set root"
    )


# Loss --------------------------------------------------------------------------------------------


def test_a_mean_becomes_a_sum():
    for mean in (torch.tensor(2.5), torch.tensor([2.5])):
        total, count = loss_sum_and_count(mean, 12)
        assert (total.shape, total.item(), count) == ((), 30.0, 12)
        assert type(count) is int


@pytest.mark.parametrize("count", [3, 3.0, np.int64(3), torch.tensor(3), torch.tensor([3.0])])
def test_a_sum_and_its_count_are_taken_as_they_are(count):
    weight = torch.tensor(2.0, requires_grad=True)
    for pair in ((weight * 4, count), [weight * 4, count]):
        total, found = loss_sum_and_count(pair, 12)
        assert (total.shape, total.item()) == ((), 8.0)
        assert (found.shape, found.item(), found.requires_grad) == ((), 3, False)
    (gradient,) = torch.autograd.grad(total, weight)
    assert gradient == 4


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (torch.ones(3), "returned a tensor of shape (3,)"),
        (torch.ones(2, 1), "returned a tensor of shape (2, 1)"),
        (torch.ones(0), "returned a tensor of shape (0,)"),
        (1.5, "returned float"),
        (None, "returned NoneType"),
        ({"loss": torch.tensor(1.0)}, "returned dict"),
        ((torch.tensor(1.0),), "returned 1 values"),
        ((torch.tensor(1.0), 2, 3), "returned 3 values"),
        ((1.0, 2), "the first of the pair is no scalar tensor"),
        ((torch.ones(2), 2), "the first of the pair is no scalar tensor"),
        ((torch.tensor(1.0), torch.ones(2)), "the second of the pair is no number"),
        ((torch.tensor(1.0), None), "the second of the pair is no number"),
        ((torch.tensor(1.0), "2"), "the second of the pair is no number"),
    ],
)
def test_what_is_no_loss_is_a_sentence(value, cause):
    assert sentence(loss_sum_and_count, value, 12, "my loss") == (
        f"my loss: {cause}, expected a scalar (the mean over the batch's units) or a pair (sum, "
        "count)"
    )


# Fingerprints ------------------------------------------------------------------------------------

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


def test_source_fingerprints_see_code_and_nothing_else(tmp_path, user_module):
    def of(text: str) -> str:
        return source_fingerprint(f"{user_module(text)}:Model", tmp_path, "model")

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


def test_the_source_is_that_of_the_module_that_defines_the_target(tmp_path, user_module):
    original = user_module(SOURCE)
    passed_on = user_module(f"from {original} import Model\nunrelated = 1\n")
    fingerprints = {
        source_fingerprint(f"{name}:Model", tmp_path, "model") for name in (original, passed_on)
    }
    assert len(fingerprints) == 1


def test_a_target_without_python_source_has_no_fingerprint(tmp_path):
    assert source_fingerprint("math:sqrt", tmp_path, "loss") is None


class Samples:
    def __init__(self, samples, units=1):
        self.samples, self.units_per_sample = samples, units

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def content(samples: list, units: int = 1, validation: tuple = ((1, 2),)) -> str:
    splits = {"train": Samples(samples, units), "validation": Samples(list(validation))}
    return content_fingerprint(splits)


def tensors(n: int) -> list:
    return [(torch.arange(4) + i, torch.tensor(i)) for i in range(n)]


def test_equal_content_has_one_fingerprint():
    assert content(tensors(5)) == content(tensors(5))
    assert len(content(tensors(5))) == 12


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tensors(5), tensors(6)),
        (tensors(5), tensors(5)[::-1]),
        (tensors(5), [(x.float(), y) for x, y in tensors(5)]),
        (tensors(5), [(x.reshape(2, 2), y) for x, y in tensors(5)]),
        (tensors(5), [*tensors(4), (torch.arange(4), torch.tensor(4))]),
        ([(torch.tensor([0.0]), 1)], [(torch.tensor([-0.0]), 1)]),
        ([(torch.tensor(1.0, dtype=torch.bfloat16), 1)], [(torch.tensor(2.0).bfloat16(), 1)]),
        ([(1, 23)], [(12, 3)]),
        ([("a", "bc")], [("ab", "c")]),
        ([([1], [2, 3])], [([1, 2], [3])]),
        ([({"a": 1}, 0)], [({"a": 2}, 0)]),
        ([({"a": 1}, 0)], [({"b": 1}, 0)]),
        ([(np.zeros((2, 3)), 0)], [(np.zeros((3, 2)), 0)]),
        ([(np.zeros(2), 0)], [(np.zeros(4, dtype=np.float32), 0)]),
        ([(np.zeros(2), 0)], [(np.ones(2), 0)]),
        ([(torch.zeros(0), 0)], [(torch.zeros(0, 2), 0)]),
    ],
)  # fmt: skip
def test_other_content_has_another_fingerprint(one, other):
    assert content(one) != content(other)


def test_units_and_the_other_split_count_as_well():
    first = content(tensors(5))
    assert content(tensors(5), units=2) != first
    assert content(tensors(5), validation=((1, 3),)) != first


def test_the_ends_of_a_long_split_are_among_the_samples_that_are_looked_at():
    first = content(tensors(1000))
    for changed in (0, 999):
        samples = tensors(1000)
        samples[changed] = (torch.zeros(4, dtype=torch.int64), torch.tensor(-1))
        assert content(samples) != first


def test_a_dataset_that_knows_its_content_is_believed():
    def of(train: str | None, validation: str, length: int = 2) -> str:
        splits = {"train": Samples(tensors(length)), "validation": Samples(tensors(2))}
        splits["train"].content_fingerprint = train
        splits["validation"].content_fingerprint = validation
        return content_fingerprint(splits)

    assert of("a", "b") == of("a", "b")
    assert of("a", "b") == of("a", "b", length=3)
    assert len({of("a", "b"), of("a", "c"), of("b", "b"), of("b", "a"), of(None, "b")}) == 5
    assert of(None, "b") != of(None, "b", length=3)  # one split that knows is not enough


# Where the code is named -------------------------------------------------------------------------


def test_a_study_and_a_spec_name_the_same_code(tmp_path):
    from flops_fit.plan.plan import make_plan
    from hand_computed import dataset_meta, measures

    study = small_study(
        {"model.kwargs": {"a": 1}, "dataset.kwargs": {"b": 2}, "train.optimizer": "mine:optimizer"}
    )
    row = make_plan(study, measures(study), dataset_meta()).experiments[0]
    of_study = UserCode.of_study(study)
    of_spec = UserCode.of_spec(row.spec, study.folder, study.config_file)
    assert of_study.sizes == (50, 100, 200, 400)
    assert of_spec.sizes == (row.size,)
    for name in set(UserCode.__slots__) - {"sizes"}:
        assert getattr(of_study, name) == getattr(of_spec, name), name


def test_an_error_is_named_in_one_line():
    assert named_error(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert named_error(KeyError()) == "KeyError"
    assert len(named_error(ValueError("x" * 1000))) < 320


def test_source_fingerprints_follow_imports_from_the_modules_own_folder(tmp_path, user_module):
    def of(layers: str) -> str:
        (tmp_path / "layers_of_mine.py").write_text(layers)
        name = user_module("import layers_of_mine\n\nclass Model: ...\n")
        return source_fingerprint(f"{name}:Model", tmp_path, "model")

    first = of("RATE = 1\n")
    assert of("RATE = 1  # the same\n") == first
    assert of("RATE = 2\n") != first


@pytest.mark.parametrize("name", ["train", "plan", "fit"])
def test_a_users_module_may_be_called_like_one_of_our_scripts(tmp_path, monkeypatch, name):
    scripts = Path(targets.__file__).resolve().parents[2] / "scripts"
    monkeypatch.setattr(sys, "path", [str(scripts), *sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / f"{name}.py").write_text("def Mine(): ...\n")
    assert import_target(f"{name}:Mine", tmp_path, "model.target").__name__ == "Mine"
    monkeypatch.delitem(sys.modules, name)
