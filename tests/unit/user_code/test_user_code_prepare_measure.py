"""What is measured before anything is planned: the dataset's meta.json and every size."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.study.study import Study
from flops_fit.user_code.content_fingerprint import content_fingerprint, measure_content
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.flops import SizeMeasure
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare
from hand_computed import SMALL, changed

MODULE = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        if width == 13:
            raise ValueError("unlucky")
        self.table = nn.Embedding(10, width)
        self.hidden = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):  # (B, T) -> (B, T, 10)
        return self.head(self.hidden(self.table(x)))


class ReadsAValue(Model):
    def forward(self, x):
        return super().forward(x if x.max().item() > 0 else x + 1)


class BuildsByValue(Model):
    def __init__(self, width):
        super().__init__(width)
        self.scale = self.head.bias.abs().max().item()


class Data(torch.utils.data.Dataset):
    unit = "token"
    units_per_sample = 6

    def __init__(self, split, folder, length=5):
        self.split = split
        self.length = length if split == "train" else 2
        self.offset = int((folder / "offset").read_text())

    @classmethod
    def prepare(cls, folder, length=5):
        (folder / "offset").write_text("3")

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        x = (torch.arange(6) + index + self.offset) % 10
        return x, (x + 1) % 10


class Ragged(Data):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x[: 6 - index], y[: 6 - index]


class LongValidation(Data):
    @property
    def units_per_sample(self):
        return 6 if self.split == "train" else 12


class Unprepared(Data):
    @classmethod
    def prepare(cls, folder, length=5):
        (folder / "half").write_text("begun")
        raise OSError("disk full")


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def pair(outputs, targets):
    return loss(outputs, targets) * targets.numel(), targets.numel()


def pair_in_a_list(outputs, targets):
    return list(pair(outputs, targets))


def vector(outputs, targets):
    return nn.functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), reduction="none"
    )


def triple(outputs, targets):
    return (*pair(outputs, targets), 3)


def half_pair(outputs, targets):
    return loss(outputs, targets), None


def number(outputs, targets):
    return 3.0


def mean_square(outputs, targets):
    return (outputs - targets).square().mean()
"""


@pytest.fixture
def study(tmp_path, user_module):
    name = user_module(MODULE)

    def make(model: str = "Model", data: str = "Data", loss: str = "loss", **changes) -> Study:
        paths = {
            "model.target": f"{name}:{model}",
            "dataset.target": f"{name}:{data}",
            "loss": f"{name}:{loss}",
            "model.sizes": [8, 16, 24],
        }
        return Study.from_config(
            changed(SMALL, {**paths, **{k.replace("__", "."): v for k, v in changes.items()}}),
            tmp_path / "my.yaml",
        )

    return make


def refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# meta.json ---------------------------------------------------------------------------------------


def test_what_prepare_writes_down(study, tmp_path):
    folder = tmp_path / "data"
    settings = study(dataset__kwargs={"length": 7}, dataset__version=4)
    prepare(settings, folder / "meta.json")
    written = json.loads((folder / "meta.json").read_text())
    target = settings.dataset.path
    data = import_module(target.partition(":")[0]).Data
    splits = {split: data(split, folder, length=7) for split in ("train", "validation")}
    measured = measure_content(splits).splits
    assert measured["train"].fingerprint != measured["validation"].fingerprint
    assert written == {
        "target": target, "kwargs": {"length": 7}, "version": 4, "unit": "token",
        "units_per_sample": 6, "units_train": 42, "units_validation": 12,
        "content_fingerprint": content_fingerprint(splits),
        "splits": {
            split: {"samples": samples, "fingerprint": one.fingerprint, "exact": one.exact,
                    "floats": []}
            for (split, one), samples in zip(measured.items(), (7, 2), strict=True)
        },
    }  # fmt: skip


def test_the_plan_reads_what_prepare_wrote(study, tmp_path):
    written = prepare(study(), tmp_path / "data" / "meta.json")
    assert DatasetMeta.load(tmp_path / "data" / "meta.json") == written


def test_each_split_is_counted_in_its_own_units(study, tmp_path):
    written = prepare(study(data="LongValidation"), tmp_path / "data" / "meta.json")
    assert (written.units_per_sample, written.units_train) == (6, 30)
    assert written.units_validation == 24


def test_a_preparation_that_fails_leaves_no_meta(study, tmp_path):
    message = refusal(prepare, study(data="Unprepared"), tmp_path / "data" / "meta.json")
    assert message.endswith("Unprepared.prepare failed with OSError: disk full")
    assert not (tmp_path / "data" / "meta.json").exists()


def test_a_missing_loss_is_found_before_the_data_are_prepared(study, tmp_path):
    message = refusal(prepare, study(loss="missing"), tmp_path / "data" / "meta.json")
    assert ": loss: " in message
    assert not (tmp_path / "data").exists()


# Sizes -------------------------------------------------------------------------------------------


@pytest.fixture
def data_folder(tmp_path) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "offset").write_text("1")
    return folder


def closed_form(width: int) -> SizeMeasure:
    """Matrices w x w and w x 10, 6 FLOPs per weight and token; a table of 10 w; 10 biases."""
    matrices = width * width + 10 * width
    return SizeMeasure(
        n_params=matrices + 10 + 10 * width,
        n_params_non_embedding=matrices + 10,
        flops_per_unit=6.0 * matrices,
    )


@pytest.mark.parametrize("loss", ["loss", "pair", "pair_in_a_list"])
def test_every_size_is_measured_on_the_studys_own_data(study, data_folder, loss):
    expected = {width: closed_form(width) for width in (8, 16, 24)}
    assert measure_sizes(study(loss=loss), data_folder) == expected


def test_one_sample_is_enough(study, data_folder):
    settings = study(dataset__kwargs={"length": 1})
    assert measure_sizes(settings, data_folder)[16] == closed_form(16)


@pytest.mark.parametrize("model", ["ReadsAValue", "BuildsByValue"])
def test_a_model_that_the_meta_device_refuses_is_named_once(study, data_folder, caplog, model):
    settings = study(model=model)
    measures = measure_sizes(settings, data_folder)
    assert [measure.flops_per_unit for measure in measures.values()] == [
        closed_form(width).flops_per_unit for width in (8, 16, 24)
    ]
    (warning,) = caplog.messages
    assert warning.startswith(
        f"{settings.config_file}: {settings.model.target.path} or {settings.loss.path} cannot run "
        "on the meta device (RuntimeError: "
    )
    assert "\n" not in warning


def test_a_model_that_the_meta_device_takes_is_measured_in_silence(study, data_folder, caplog):
    measure_sizes(study(), data_folder)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"loss": "vector"}, "returned a tensor of shape (12,), expected a scalar"),
        ({"loss": "triple"}, "returned 3 values, expected a scalar"),
        ({"loss": "half_pair"}, "the second of the pair is not a number, expected a scalar"),
        ({"loss": "number"}, "returned float, expected a scalar"),
        ({"loss": "mean_square"}, "mean_square failed with RuntimeError: "),
        ({"data": "Ragged"}, "do not make a batch (RuntimeError: stack expects each tensor"),
        ({"model__sizes": [8, 13, 24]}, "Model(width=13) failed with ValueError: unlucky; expect"),
        ({"model__size_param": "depth"}, "model.size_param: "),
    ],
)
def test_code_that_does_not_fit_together_is_a_sentence(
    study, data_folder, tmp_path, changes, cause
):
    message = refusal(measure_sizes, study(**changes), data_folder)
    assert message.startswith(f"{tmp_path}/my.yaml: ")
    assert cause in message
    if "loss" in changes:
        assert "Model(width=8): " in message
