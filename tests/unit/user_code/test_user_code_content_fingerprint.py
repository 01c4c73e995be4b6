"""Content fingerprints see values, types and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flops_fit.user_code.content_fingerprint import content_fingerprint


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


def test_fingerprints_in_earlier_records_stay_true():
    assert content(tensors(5)) == "28b7468bae56"
    nested = ({"b": np.zeros((2, 3)), "a": [1, "x"]}, torch.tensor(1.0).bfloat16())
    assert content([nested] * 600, 3, tuple(tensors(1000))) == "5d0d45cb9506"


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
