"""Hardware by name: peak FLOP/s of GPUs, and the settings that price a plan with them."""

from __future__ import annotations

from pydantic import model_validator

from flops_fit.study.section import Section, key
from flops_fit.study.values import Positive, choice, number, sentence

# Dense bf16 and fp16 tensor-core FLOP/s from the vendor's data sheets, most specific name first.
_PEAKS = (
    ("H200", 989.4e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989.4e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("A10G", 70e12),
    ("L4", 121e12),
    ("V100", 125e12),  # fp16 alone
)
PRECISIONS_WITH_PEAK = ("bf16", "fp16")
_BY_CHOICE = {name.lower().replace(" ", "-"): name for name, _ in _PEAKS}


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return a device's peak in FLOP/s, or None where it is not known.

    Parameters
    ----------
    device_name
        As torch and the driver name it, for example ``NVIDIA H100 80GB HBM3``.
    precision
        The study's ``train.precision``; only bf16 and fp16 have a peak here.
    """
    if precision not in PRECISIONS_WITH_PEAK:
        return None
    words = device_name.replace("-", " ").split()
    for name, peak in _PEAKS:
        if all(word in words for word in name.split()):
            return peak if precision == "fp16" or name != "V100" else None
    return None


class HardwareSettings(Section):
    """What the price of a plan assumes instead of what was measured here."""

    flops_per_second: Positive | None = key(
        "FLOP/s that one process (one GPU) gets done in training.",
        "FLOP/s",
        default=None,
    )
    gpu: choice(*_BY_CHOICE) | None = key(
        "Type of the GPUs, whose peak at train.precision (bf16 or fp16) is known; with mfu.",
        "choice",
        default=None,
        expected=f"one of {', '.join(_BY_CHOICE)}; of others, give flops_per_second",
    )
    mfu: number(gt=0, le=1) | None = key(
        "Share of the GPU's peak that training reaches (model FLOPs utilisation).",
        "share",
        default=None,
    )

    @model_validator(mode="after")
    def _check(self) -> HardwareSettings:
        by_gpu = {"gpu": self.gpu, "mfu": self.mfu}
        given = [name for name, value in by_gpu.items() if value is not None]
        if (self.flops_per_second is None) == (not given) or len(given) == 1:
            found = [name for name, value in self if value is not None]
            raise sentence(
                f"found {' and '.join(found) or 'nothing'}, expected flops_per_second alone, or "
                "gpu and mfu together"
            )
        return self

    def speed_of_process(self, precision: str) -> float | None:
        """Return the FLOP/s of one process; None where the GPU has no known peak at a precision."""
        if self.flops_per_second is not None:
            return self.flops_per_second
        peak = peak_flops(_BY_CHOICE[self.gpu], precision)
        return None if peak is None else self.mfu * peak

    def __str__(self) -> str:
        if self.flops_per_second is not None:
            return f"{self.flops_per_second:.3g} FLOP/s for each process"
        return f"an MFU of {self.mfu:g} on {_BY_CHOICE[self.gpu]}"
