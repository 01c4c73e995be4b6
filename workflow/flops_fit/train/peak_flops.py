"""Peak FLOP/s of GPUs: the denominator of model FLOPs utilisation (MFU)."""

from __future__ import annotations

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


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return a device's peak in FLOP/s, or None where it is not known.

    Parameters
    ----------
    device_name
        As torch names it, for example ``NVIDIA H100 80GB HBM3``.
    precision
        The study's ``train.precision``; only bf16 and fp16 have a peak here.
    """
    if precision not in ("bf16", "fp16"):
        return None
    words = device_name.replace("-", " ").split()
    for name, peak in _PEAKS:
        if all(word in words for word in name.split()):
            return peak if precision == "fp16" or name != "V100" else None
    return None


def mfu(flops_per_second: float, device_name: str, precision: str, devices: int) -> float | None:
    """Return model FLOPs utilisation: the model's FLOPs per second over the devices' peak.

    The FLOPs are those that training needs, without recomputation (Chowdhery et al. 2022,
    arXiv 2204.02311, appendix B).
    """
    peak = peak_flops(device_name, precision)
    return None if peak is None else flops_per_second / (peak * devices)
