"""Names that follow from content: ids of experiments, folders of datasets."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(content: Any) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of JSON-ready ``content``.

    Twelve digits are 48 bits: among 100 000 experiments two collide with probability 2e-5, and the
    plan refuses rows that share an id.
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
