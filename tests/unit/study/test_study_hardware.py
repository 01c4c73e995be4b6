"""plan.hardware and plan.price_per_gpu_hour: what they mean, and what is refused."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.study.study import Study
from hand_computed import SMALL, small_study

FILE = "studies/small.yaml"


def study_with(plan: dict, precision: str = "bf16") -> Study:
    config = {
        **SMALL,
        "plan": SMALL["plan"] | plan,
        "train": SMALL["train"] | {"precision": precision},
    }
    return Study.from_config(config, FILE)


def test_flops_per_second_are_those_of_a_process():
    hardware = study_with({"hardware": {"flops_per_second": "2e14"}}, "no").plan.hardware
    assert hardware.speed_of_process("no") == 2e14


def test_a_share_of_the_peak_of_a_gpu():
    hardware = study_with({"hardware": {"gpu": "h100", "mfu": 0.4}}).plan.hardware
    assert hardware.speed_of_process("bf16") == pytest.approx(0.4 * 989.4e12)
    slower = study_with({"hardware": {"gpu": "h100-pcie", "mfu": 0.4}}).plan.hardware
    assert slower.speed_of_process("bf16") == pytest.approx(0.4 * 756e12)


def test_prices_are_no_part_of_studies_without_them():
    text = small_study().to_json()
    assert "hardware" not in text
    assert "price" not in text


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"hardware": {"gpu": "h1000", "mfu": 0.4}}, "plan.hardware.gpu: found 'h1000', expected"),
        ({"hardware": {"gpu": "h100", "mfu": 1.1}}, "plan.hardware.mfu: found 1.1, expected"),
        ({"hardware": {"gpu": "h100", "mfu": 0}}, "plan.hardware.mfu: found 0.0, expected"),
        ({"hardware": {"gpu": "h100"}}, "found gpu, expected flops_per_second alone, or gpu and"),
        ({"hardware": {}}, "plan.hardware: found nothing, expected flops_per_second alone"),
        (
            {"hardware": {"gpu": "h100", "mfu": 0.4, "flops_per_second": 1e14}},
            "found flops_per_second and gpu and mfu, expected flops_per_second alone",
        ),
        ({"hardware": {"flops_per_second": 0}}, "flops_per_second: found 0.0, expected"),
        ({"hardware": "h100"}, "plan.hardware: found 'h100', expected {flops_per_second:}"),
        ({"price_per_gpu_hour": -1}, "plan.price_per_gpu_hour: found -1.0, expected"),
    ],
)
def test_what_cannot_be_meant_is_refused(plan, said):
    with pytest.raises(UserError) as refused:
        study_with(plan)
    assert FILE in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(("gpu", "precision"), [("h100", "no"), ("v100", "bf16")])
def test_a_gpu_without_a_known_peak_is_refused(gpu, precision):
    with pytest.raises(UserError, match=r"plan\.hardware\.gpu: found .* no peak is known"):
        study_with({"hardware": {"gpu": gpu, "mfu": 0.3}}, precision)
