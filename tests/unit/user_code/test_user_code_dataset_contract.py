"""Every breach of the dataset's contract is a sentence that says what to do."""

from __future__ import annotations

import pytest
from flops_fit.user_code.dataset_contract import (
    open_dataset,
    prepare_dataset,
    unit_name,
    units_per_sample,
)
from user_code_examples import code_of, sentence

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
