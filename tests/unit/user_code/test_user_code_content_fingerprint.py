"""Content fingerprints see values, types and shapes."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.user_code.content_fingerprint import (
    check_content,
    content_fingerprint,
    measure_content,
    repeatable_splits,
)
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.zoo.text import ByteText


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


# Compared with what was measured before -------------------------------------------------------


class Computed(Samples):
    """Other numbers at each reading, as random augmentation or another processor gives."""

    def __init__(self, change, n: int = 40):
        super().__init__([(torch.linspace(-1, 1, 50) + i, torch.tensor(i % 3)) for i in range(n)])
        self.change = change

    def __getitem__(self, index):
        x, y = self.samples[index]
        return self.change(x), y


def meta_of(splits: dict, *, version_0_1: bool = False) -> DatasetMeta:
    content = measure_content(splits)
    return DatasetMeta(
        target="my:Data", kwargs={}, version=1, unit="sample", units_per_sample=1,
        units_train=len(splits["train"]), units_validation=len(splits["validation"]),
        content_fingerprint=content.fingerprint,
        splits={} if version_0_1 else repeatable_splits(content, measure_content(splits)),
    )  # fmt: skip


def computed(change, n: int = 40, validation=lambda x: x) -> dict:
    return {"train": Computed(change, n), "validation": Computed(validation, 2)}


def rounded(x):
    return torch.nextafter(x, torch.tensor(9.0))


def test_numbers_may_be_rounded_in_another_way_on_another_processor():
    meta = meta_of(computed(lambda x: x))
    now = computed(rounded)
    assert content_fingerprint(now) != meta.content_fingerprint
    assert check_content(lambda: now, meta, "data") == meta.content_fingerprint
    assert check_content(lambda: computed(lambda x: x), meta, "data") == meta.content_fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.flip(0), lambda x: x * 1.001, lambda x: x.double(), lambda x: x.reshape(5, 10),
        lambda x: torch.where(x == x[0], torch.nan, x), lambda x: x.roll(1),
        lambda x: torch.cat([x[[1, 0]], x[2:]]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: x.numpy(), lambda x: {"x": x}])
def test_numbers_that_changed_are_refused(change, wrap):
    meta = meta_of(computed(lambda x: wrap(x.clone())))
    with pytest.raises(UserError, match="data: the train split is not the one that was planned"):
        check_content(lambda: computed(lambda x: wrap(change(x))), meta, "data")


def test_single_numbers_may_be_rounded_but_not_changed():
    pairs = [(0.1 * i, i) for i in range(30)]
    splits = {"train": Samples(pairs), "validation": Samples(pairs)}
    meta = meta_of(splits)
    check_content(
        lambda: splits | {"train": Samples([(x * (1 + 1e-15), y) for x, y in pairs])}, meta, ""
    )
    for other in ([(x + 0.01, y) for x, y in pairs], [(x, y + 1) for x, y in pairs]):
        with pytest.raises(UserError, match="the train split"):
            check_content(partial(dict, splits, train=Samples(other)), meta, "")


def test_augmentation_that_was_alike_by_chance_is_not_taken_for_other_data():
    flips = iter([0, 0, 0, 0, 0, 1, 1, 1])  # two readings of two samples, and two later ones
    splits = computed(lambda x: x, validation=lambda x: x.flip(0) if next(flips) else x)
    meta = meta_of(splits)
    assert meta.splits["validation"].fingerprint is not None
    check_content(lambda: splits, meta, "data")


@pytest.mark.parametrize("version_0_1", [False, True])
def test_only_the_length_of_augmented_samples_is_compared(version_0_1):
    def noisy(x):
        return x + torch.rand(1)

    meta = meta_of(computed(noisy), version_0_1=version_0_1)
    check_content(lambda: computed(noisy), meta, "data")
    with pytest.raises(UserError, match=r"train split .* found 41 samples, expected 40; put the"):
        check_content(lambda: computed(noisy, 41), meta, "data")


def test_whole_numbers_of_version_0_1_are_compared_and_rounding_is_not():
    meta = meta_of(computed(lambda x: x), version_0_1=True)
    check_content(lambda: computed(rounded), meta, "data")
    splits = {name: Samples(tensors(5)) for name in ("train", "validation")}
    meta = meta_of(splits, version_0_1=True)
    check_content(lambda: splits, meta, "data")
    with pytest.raises(UserError, match="data: its content is not the one that was planned"):
        check_content(lambda: splits | {"train": Samples(tensors(5)[::-1])}, meta, "data")


def test_no_more_than_256_samples_are_read_twice():
    read = []
    splits = computed(lambda x: read.append(1) or x, 3000)
    meta = meta_of(splits)
    for change, times in ((lambda x: x, 1), (lambda x: x.flip(0), 2)):
        read.clear()
        now = computed(lambda x, change=change: change(read.append(1) or x), 3000)
        with contextlib.suppress(UserError):
            check_content(now.copy, meta, "data")
        assert len(read) == times * 256


def test_bytes_that_changed_in_place_are_seen_although_the_dataset_has_a_fingerprint(tmp_path):
    root, folder = tmp_path / "texts", tmp_path / "data"
    root.mkdir()
    for i in range(60):
        (root / f"{i}.txt").write_text(f"text {i} of sixty\n" * 20)
    settings = {"root": root, "seq_len": 8}
    ByteText.prepare(folder, **settings)

    def opened():
        return {name: ByteText(name, folder, **settings) for name in ("train", "validation")}

    meta = meta_of(opened())
    check_content(opened, meta, "data")
    file = folder / "train.bin"
    file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(UserError, match="the train split is not the one that was planned"):
        check_content(opened, meta, "data")
