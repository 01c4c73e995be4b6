"""Trunks need a schedule whose runs share their beginning."""

from __future__ import annotations

import json

import pytest
from flops_fit.errors import UserError
from hand_computed import FILE, small_study

WSD = {"train.schedule": "wsd", "train.warmup_steps": 9, "plan.trunks": True}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train.schedule": "cosine"}, "train.schedule: found 'cosine' with plan.trunks, expect"),
        ({"train.warmup_steps": None}, "train.warmup_steps: found null with plan.trunks, expect"),
        (
            {"plan.target": 1e10, "plan.spend": 1e8, "plan.budgets": None},
            "plan.trunks: found true beside target, expected a grid",
        ),
    ],
)  # fmt: skip
def test_what_rules_out_trunks_is_said(changes, sentence):
    with pytest.raises(UserError) as caught:
        small_study({**WSD, **changes})
    assert str(caught.value).startswith(f"{FILE}: {sentence}")
    assert "\n" not in str(caught.value)


def test_a_study_without_trunks_does_not_speak_of_them():
    config = json.loads(small_study().to_json())["config"]
    assert "trunks" not in config["plan"]
    later = {"warmup_steps", "decay_fraction", "decay_shape"}
    assert not later & set(config["train"])
    config = json.loads(small_study(WSD).to_json())["config"]
    assert config["plan"]["trunks"] is True
    assert config["train"]["warmup_steps"] == 9
