"""MFU is null where the peak is not known, never a guess."""

from __future__ import annotations

import pytest
from flops_fit.train.peak_flops import mfu, peak_flops


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("NVIDIA H100 80GB HBM3", "no", None),
        ("NVIDIA L40S", "bf16", 362e12),
        ("NVIDIA L4", "bf16", 121e12),
        ("cpu", "bf16", None),
        ("Some New Card", "bf16", None),
    ],
)
def test_peaks_by_the_names_that_torch_gives(device, precision, peak):
    assert peak_flops(device, precision) == peak


def test_mfu_is_per_device():
    assert mfu(2 * 312e12 * 0.4, "NVIDIA A100-SXM4-80GB", "bf16", 2) == pytest.approx(0.4)
    assert mfu(1e12, "cpu", "no", 2) is None
