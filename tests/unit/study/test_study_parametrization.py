"""The zoo's GPT in muP is trained with the learning rates of muP, or not at all."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from hand_computed import FILE, small_study

MUP = {
    "model.target": "flops_fit.zoo.mup:GPT",
    "model.size_param": "d_model",
    "model.kwargs": {"base_width": 32},
    "train.lr_scaling": {"power": -1, "reference_size": 32},
}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"train.lr_scaling": {}},
            "train.lr_scaling: found {power: 0, reference_size: 1, apply: matrices}, expected",
        ),
        (
            {"train.lr_scaling.reference_size": 64},
            "train.lr_scaling: found {power: -1, reference_size: 64, apply: matrices}, expected "
            "{power: -1, reference_size: 32, apply: matrices}: in muP the learning rates of "
            "matrices fall as base_width / d_model",
        ),
        (
            {"model.size_param": "n_layer"},
            "model.size_param: found 'n_layer', expected d_model: muP is about widths",
        ),
    ],
)
def test_mup_without_its_learning_rates_is_refused(changes, found):
    with pytest.raises(UserError) as caught:
        small_study({**MUP, **changes})
    assert str(caught.value).startswith(f"{FILE}: {found}")
    small_study(MUP)
    standard = {"model.kwargs": {"base_width": 32, "parametrization": "standard"}}
    small_study({**MUP, **standard, **changes})
