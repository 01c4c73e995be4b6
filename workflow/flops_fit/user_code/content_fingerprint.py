"""A hash of a dataset's content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flops_fit.user_code.dataset_contract import units_per_sample

_FINGERPRINT_SAMPLES = 256


def content_fingerprint(splits: dict[str, Any]) -> str:
    """Return a hash of a dataset's content.

    A dataset may provide a better one as its attribute ``content_fingerprint``. Otherwise the
    length and 256 evenly spaced samples of each split are hashed.
    """
    own = [getattr(dataset, "content_fingerprint", None) for dataset in splits.values()]
    if all(own):
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:12]
    digest = hashlib.sha256()
    for name, dataset in splits.items():
        length = len(dataset)
        digest.update(f"{name} {length} {units_per_sample(dataset)}\n".encode())
        count = min(length, _FINGERPRINT_SAMPLES)
        for i in range(count):
            _hash_value(digest, dataset[i * (length - 1) // max(count - 1, 1)])
    return digest.hexdigest()[:12]


def _hash_value(digest: Any, value: Any) -> None:
    import torch

    # Type, shape and length come first: without them [1, 23] and [12, 3] would hash alike.
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        if value.numel():
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}\n".encode())
        for key in sorted(value):
            _hash_value(digest, key)
            _hash_value(digest, value[key])
    elif isinstance(value, tuple | list):
        digest.update(f"list {len(value)}\n".encode())
        for item in value:
            _hash_value(digest, item)
    else:
        content = value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()
        layout = [str(getattr(value, name, "")) for name in ("dtype", "shape", "mode")]
        digest.update(f"{type(value).__name__} {layout} {len(content)}\n".encode())
        digest.update(content)
