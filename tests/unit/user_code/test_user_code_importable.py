"""What is wrong with import paths and arguments is found before any data is prepared."""

from __future__ import annotations

import pytest
import torch
from flops_fit.user_code.dataset_contract import open_dataset, unit_name, units_per_sample
from flops_fit.user_code.importable import check_importable
from flops_fit.user_code.loss_contract import loss_function
from flops_fit.user_code.model_contract import BuildError, model_factory
from user_code_examples import GOOD, code_of, sentence


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
