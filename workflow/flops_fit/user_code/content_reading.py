"""What a reading of a split finds: hashes of its samples, and sums of their floating-point numbers.

Another processor, or another version of a library, may round the last bit of a number that a
dataset computes in another way. The sums tell that from data that changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flops_fit.user_code.dataset_contract import units_per_sample
from flops_fit.user_code.dataset_meta import SplitMeta

_SAMPLES = 256
_ROUNDING = 1e-5  # of a sum; some float32 operations in a row err by less than a tenth of that
_GOLDEN = (5**0.5 - 1) / 2  # spreads the weights of a sum evenly over 1 to 2, in no order


class SplitReading:
    """The length and 256 evenly spaced samples of a split.

    Parameters
    ----------
    together
        Hash that is fed the same as the split's own.
    """

    def __init__(self, name: str, dataset: Any, together: Any) -> None:
        self._all = (together, hashlib.sha256())
        self._exact = hashlib.sha256()
        self._floats: list[float] = []
        self._singles: list[float] = []
        self._tolerances: list[float] = []
        length, self.units_per_sample = len(dataset), units_per_sample(dataset)
        self._add(f"{name} {length} {self.units_per_sample}\n".encode())
        count = min(length, _SAMPLES)
        for i in range(count):
            self._add_value(dataset[i * (length - 1) // max(count - 1, 1)])
            if self._singles:  # one sum for all of a sample
                self._add_sum(np.array(self._singles), np.finfo(float).eps)
                self._singles = []
        self.meta = SplitMeta(
            samples=length,
            fingerprint=self._all[1].hexdigest()[:12],
            exact=self._exact.hexdigest()[:12],
            floats=self._floats,
        )

    def agrees(self, then: SplitMeta) -> bool:
        """Return whether the split is what it was, but for the rounding of its numbers."""
        now = self.meta
        if now.samples != then.samples:
            return False
        if then.fingerprint in (None, now.fingerprint):
            return True
        return then.exact == now.exact and self._nearly(then.floats)

    def _nearly(self, floats: Sequence[float]) -> bool:
        if len(floats) != len(self._floats):
            return False
        differences = np.abs(np.subtract(floats, self._floats))
        return bool(np.all(differences <= self._tolerances))

    def _add(self, content: Any, *, exact: bool = True) -> None:
        for digest in (*self._all, self._exact) if exact else self._all:
            digest.update(content)

    def _add_value(self, value: Any) -> None:
        import torch

        # Type, shape and length come first: without them [1, 23] and [12, 3] would hash alike.
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            is_float = value.is_floating_point()
            self._add(f"{value.dtype}{tuple(value.shape)}".encode())
            if value.numel():
                content = value.reshape(-1).view(torch.uint8).numpy().tobytes()
                self._add(content, exact=not is_float)
                if is_float:
                    self._add_sum(value.double().numpy(), torch.finfo(value.dtype).eps)
        elif isinstance(value, dict):
            self._add(f"dict {len(value)}\n".encode())
            for key in sorted(value):
                self._add_value(key)
                self._add_value(value[key])
        elif isinstance(value, tuple | list):
            self._add(f"list {len(value)}\n".encode())
            for item in value:
                self._add_value(item)
        else:
            self._add_other(value)

    def _add_other(self, value: Any) -> None:
        content = value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()
        layout = [str(getattr(value, name, "")) for name in ("dtype", "shape", "mode")]
        is_array = isinstance(value, np.ndarray | np.generic)
        is_float = value.dtype.kind == "f" if is_array else isinstance(value, float)
        header = f"{type(value).__name__} {layout} "
        self._add(f"{header}{len(content)}\n".encode(), exact=not is_float)
        self._add(content, exact=not is_float)
        if is_float:
            self._exact.update(header.encode())
            if np.ndim(value) == 0:
                self._singles.append(float(value))
            else:
                self._add_sum(np.asarray(value, dtype=float), np.finfo(value.dtype).eps)

    def _add_sum(self, values: np.ndarray, eps: float) -> None:
        values = values.reshape(-1)
        finite = np.isfinite(values)
        self._exact.update(finite.tobytes())
        values = np.where(finite, values, 0.0)
        weights = 1 + (_GOLDEN * np.arange(values.size)) % 1  # the order of the numbers counts
        with np.errstate(over="ignore"):
            found = np.nan_to_num(weights @ values)
            size = np.nan_to_num(weights @ np.abs(values))
        self._floats.append(float(f"{found:.9g}"))
        self._tolerances.append(max(_ROUNDING, 2 * eps) * float(size))
