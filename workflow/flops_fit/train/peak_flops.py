"""Model FLOPs utilisation (MFU)."""

from __future__ import annotations

from flops_fit.study.hardware import peak_flops


def mfu(flops_per_second: float, device_name: str, precision: str, devices: int) -> float | None:
    """Return model FLOPs utilisation: the model's FLOPs per second over the devices' peak.

    The FLOPs are those that training needs, without recomputation (Chowdhery et al. 2022,
    arXiv 2204.02311, appendix B).
    """
    peak = peak_flops(device_name, precision)
    return None if peak is None else flops_per_second / (peak * devices)
